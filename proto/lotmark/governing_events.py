"""Events by which a party changes keys, roots and, with others, parties and rules."""

import secrets
from collections.abc import Sequence
from typing import Protocol

from lotmark.event import NONCE_SIZE
from lotmark.governance import (
    approval_statement,
    joining_statement,
    proposal_bytes,
    proposal_hash,
)
from lotmark.key_grant import (
    KeyGrant,
    RootSet,
    grant_to_message,
    lane_closure_statement,
    revocation_statement,
    root_rotation_statement,
    statement,
)
from lotmark.package_change import change_approval_statement, change_bytes, change_hash
from lotmark.v1 import contracts_pb2, event_pb2, governance_pb2

DEVICE = "governance"


class Signer(Protocol):
    """A private key, wherever it is kept; one read from a key file is one."""

    @property
    def public(self) -> bytes:
        """The public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature over a message."""
        ...


class GoverningEvents:
    """Makes events of one chain; each is signed by roots and may be in anybody's batch."""

    def __init__(self, chain_id: bytes, *, now_ms: int) -> None:
        self._chain_id = chain_id
        self._now_ms = now_ms

    def register(self, grant: KeyGrant, key: Signer, roots: Sequence[Signer]) -> bytes:
        """Return the event that registers a key."""
        return self._event(key_registration=registration(self._chain_id, grant, key, roots))

    def revoke(
        self,
        party: str,
        key: bytes,
        roots: Sequence[Signer],
        *,
        compromised_since_ms: int = 0,
        reason: str = "",
    ) -> bytes:
        """Return the event that revokes a key.

        Raises:
            MalformedError: The key, the party or the time is no such thing.
        """
        signed = revocation_statement(
            chain_id=self._chain_id,
            key=key,
            compromised_since_ms=compromised_since_ms,
            party=party,
        )
        body = governance_pb2.KeyRevocation(
            key=key,
            party=party,
            compromised_since_ms=compromised_since_ms,
            reason=reason,
            roots=signatures(signed, roots),
        )
        return self._event(key_revocation=body)

    def close_lane(self, party: str, key: bytes, lane: int, roots: Sequence[Signer]) -> bytes:
        """Return the event that closes a lane.

        Raises:
            MalformedError: The key, the party or the lane is no such thing.
        """
        signed = lane_closure_statement(chain_id=self._chain_id, key=key, lane=lane, party=party)
        body = governance_pb2.LaneClosure(
            key=key, lane=lane, party=party, roots=signatures(signed, roots)
        )
        return self._event(lane_closure=body)

    def rotate_roots(
        self,
        party: str,
        *,
        generation: int,
        threshold: int,
        new: Sequence[Signer],
        old: Sequence[Signer],
    ) -> bytes:
        """Return the event by which `new` become a party's roots, by the word of `old` ones too.

        Raises:
            MalformedError: The party is none, or the generation does not fit.
        """
        roots = RootSet(threshold=threshold, keys=tuple(sorted(key.public for key in new)))
        signed = root_rotation_statement(
            chain_id=self._chain_id, party=party, generation=generation, roots=roots
        )
        both = {key.public: key for key in (*old, *new)}
        body = governance_pb2.RootRotation(
            party=party,
            generation=generation,
            threshold=threshold,
            keys=roots.keys,
            signatures=signatures(signed, list(both.values())),
        )
        return self._event(root_rotation=body)

    def propose(
        self, proposal: governance_pb2.Proposal, party: str, roots: Sequence[Signer]
    ) -> bytes:
        """Return the event that opens a proposal.

        Raises:
            MalformedError: The party is none.
        """
        hashed = proposal_hash(self._chain_id, proposal_bytes(proposal))
        body = governance_pb2.GovernanceProposal(
            proposal=proposal, party=party, roots=self._approval(hashed, party, roots)
        )
        return self._event(governance_proposal=body)

    def approve(self, proposal: bytes, party: str, roots: Sequence[Signer]) -> bytes:
        """Return the event by which a party approves the proposal of a hash.

        Raises:
            MalformedError: The party is none, or the hash has another size.
        """
        body = governance_pb2.GovernanceApproval(
            proposal=proposal, party=party, roots=self._approval(proposal, party, roots)
        )
        return self._event(governance_approval=body)

    def propose_package(
        self, change: contracts_pb2.PackageChange, party: str, roots: Sequence[Signer]
    ) -> bytes:
        """Return the event that proposes a change of rule packages.

        Raises:
            MalformedError: The party is none.
        """
        hashed = change_hash(self._chain_id, change_bytes(change))
        body = contracts_pb2.PackageProposal(
            change=change, party=party, roots=self._change_approval(hashed, party, roots)
        )
        return self._event(package_proposal=body)

    def bring_package_part(self, data: bytes) -> bytes:
        """Return the event that brings a part of a package that is proposed."""
        return self._event(package_part=contracts_pb2.PackagePart(data=data))

    def approve_package(self, proposal: bytes, party: str, roots: Sequence[Signer]) -> bytes:
        """Return the event by which a party approves the change of rule packages of a hash.

        Raises:
            MalformedError: The party is none, or the hash has another size.
        """
        body = contracts_pb2.PackageApproval(
            proposal=proposal, party=party, roots=self._change_approval(proposal, party, roots)
        )
        return self._event(package_approval=body)

    def _change_approval(
        self, hashed: bytes, party: str, roots: Sequence[Signer]
    ) -> list[governance_pb2.KeySignature]:
        signed = change_approval_statement(chain_id=self._chain_id, proposal=hashed, party=party)
        return signatures(signed, roots)

    def _approval(
        self, hashed: bytes, party: str, roots: Sequence[Signer]
    ) -> list[governance_pb2.KeySignature]:
        signed = approval_statement(chain_id=self._chain_id, proposal=hashed, party=party)
        return signatures(signed, roots)

    def _event(self, **body: object) -> bytes:
        event = event_pb2.Event(
            nonce=secrets.token_bytes(NONCE_SIZE),
            device=DEVICE,
            time=event_pb2.TimeInterval(start_ms=self._now_ms, end_ms=self._now_ms),
            capture_mode=event_pb2.CAPTURE_MODE_MANUAL,
            **body,  # type: ignore[arg-type]  # checked by protobuf
        )
        return event.SerializeToString(deterministic=True)


def signatures(signed: bytes, keys: Sequence[Signer]) -> list[governance_pb2.KeySignature]:
    """Return each key's signature over a statement, ascending by key."""
    return [
        governance_pb2.KeySignature(key=key.public, signature=key.sign(signed))
        for key in sorted(keys, key=lambda key: key.public)
    ]


def registration(
    chain_id: bytes, grant: KeyGrant, key: Signer, roots: Sequence[Signer]
) -> governance_pb2.KeyRegistration:
    """Return what registers a key: its grant, its possession, and its party's roots."""
    signed = statement(grant, chain_id)
    return governance_pb2.KeyRegistration(
        grant=grant_to_message(grant), possession=key.sign(signed), roots=signatures(signed, roots)
    )


def addition(
    chain_id: bytes,
    *,
    party: str,
    role: int,
    threshold: int,
    roots: Sequence[Signer],
    ca_pem: str,
    keys: Sequence[tuple[KeyGrant, Signer]],
) -> governance_pb2.PartyAddition:
    """Return what a party asks for that wants to join, signed by all its roots.

    Raises:
        MalformedError: The party is none.
    """
    root_set = RootSet(threshold=threshold, keys=tuple(sorted(key.public for key in roots)))
    signed = joining_statement(
        chain_id=chain_id, party=party, role=role, roots=root_set, ca_pem=ca_pem
    )
    return governance_pb2.PartyAddition(
        party=party,
        role=governance_pb2.PartyRole.ValueType(role),
        threshold=threshold,
        roots=root_set.keys,
        ca=ca_pem,
        acceptances=signatures(signed, roots),
        keys=[registration(chain_id, grant, key, roots) for grant, key in keys],
    )
