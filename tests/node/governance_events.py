"""Events by which parties govern, made and signed for ledgers in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from lotmark.ed25519 import PrivateKey
from lotmark.governance import (
    approval_statement,
    joining_statement,
    proposal_bytes,
    proposal_hash,
)
from lotmark.key_grant import (
    KeyGrant,
    KeyPurpose,
    RootSet,
    grant_to_message,
    root_rotation_statement,
    statement,
)
from lotmark.v1 import governance_pb2
from lotmark_node.state_machine.ledger_state import LedgerState
from tests.node.ledger_in_memory import LedgerInMemory, event
from tests.proto.sample_genesis import GOLDEN, ROOT_LABELS, grant, private_key

NEW_PARTY = "T2-CU-JX"
DAY_MS = 86_400_000


class Ledger(Protocol):
    """A ledger in memory, or one that a node runs."""

    @property
    def chain_id(self) -> bytes: ...

    @property
    def state(self) -> LedgerState: ...


def roots_of(party: str) -> list[PrivateKey]:
    """Return the root keys that a party begins with."""
    labels = ROOT_LABELS.get(party) or (f"{party} root 1", f"{party} root 2")
    return sorted((private_key(label) for label in labels), key=lambda key: key.public)


def signatures(roots: Sequence[PrivateKey], signed: bytes) -> list[governance_pb2.KeySignature]:
    """Return the signatures of keys, in order."""
    return [
        governance_pb2.KeySignature(key=key.public, signature=key.sign(signed))
        for key in sorted(roots, key=lambda key: key.public)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewParty:
    """A party that wants to join."""

    id: str = NEW_PARTY
    role: int = 2
    threshold: int = 2
    roots: Sequence[PrivateKey] = field(default_factory=lambda: roots_of(NEW_PARTY))
    ca_pem: str = (GOLDEN / f"ca-{NEW_PARTY}.pem").read_text()
    holder: str = "erp"

    def addition(self, chain_id: bytes) -> governance_pb2.PartyAddition:
        """Return what it asks for, signed by all its roots."""
        roots = RootSet(
            threshold=self.threshold, keys=tuple(sorted(key.public for key in self.roots))
        )
        signed = joining_statement(
            chain_id=chain_id, party=self.id, role=self.role, roots=roots, ca_pem=self.ca_pem
        )
        granted, key = grant(self.id, KeyPurpose.BATCH, self.holder)
        return governance_pb2.PartyAddition(
            party=self.id,
            role=governance_pb2.PartyRole.ValueType(self.role),
            threshold=self.threshold,
            roots=roots.keys,
            ca=self.ca_pem,
            acceptances=signatures(self.roots, signed),
            keys=[registration(granted, key, self.roots, chain_id)],
        )


def registration(
    granted: KeyGrant, key: PrivateKey, roots: Sequence[PrivateKey], chain_id: bytes
) -> governance_pb2.KeyRegistration:
    """Return the registration of a key."""
    signed = statement(granted, chain_id)
    return governance_pb2.KeyRegistration(
        grant=grant_to_message(granted),
        possession=key.sign(signed),
        roots=signatures(roots, signed),
    )


def new_cosigner(ledger: Ledger, party: str, node: str) -> governance_pb2.KeyRegistration:
    """Return the registration of a node's first cosign key."""
    granted, key = grant(party, KeyPurpose.COSIGN, node)
    return registration(granted, key, roots_of(party), ledger.chain_id)


def proposal(
    ledger: Ledger, expires_ms: int | None = None, /, **change: object
) -> governance_pb2.Proposal:
    """Return a proposal that ends in a day."""
    return governance_pb2.Proposal(
        expires_ms=ledger.state.time_ms + DAY_MS if expires_ms is None else expires_ms,
        **change,  # type: ignore[arg-type]  # by protobuf
    )


def hash_of(ledger: Ledger, asked: governance_pb2.Proposal) -> bytes:
    """Return what approvals name a proposal by."""
    return proposal_hash(ledger.chain_id, proposal_bytes(asked))


def proposing(
    ledger: Ledger,
    asked: governance_pb2.Proposal,
    party: str = "OEM-A",
    *,
    roots: Sequence[PrivateKey] | None = None,
) -> bytes:
    """Return the event that opens a proposal."""
    signed = _approval(ledger, hash_of(ledger, asked), party)
    body = governance_pb2.GovernanceProposal(
        proposal=asked,
        party=party,
        roots=signatures(roots_of(party) if roots is None else roots, signed),
    )
    return event(governance_proposal=body, device="registry", nonce=signed)


def approval(
    ledger: Ledger,
    hashed: bytes,
    party: str,
    *,
    roots: Sequence[PrivateKey] | None = None,
    signed_hash: bytes | None = None,
    nonce: bytes = b"",
) -> bytes:
    """Return the event by which a party approves; `signed_hash` is what its roots sign instead."""
    signed = _approval(ledger, hashed if signed_hash is None else signed_hash, party)
    body = governance_pb2.GovernanceApproval(
        proposal=hashed,
        party=party,
        roots=signatures(roots_of(party) if roots is None else roots, signed),
    )
    return event(governance_approval=body, device="registry", nonce=signed + nonce)


def _approval(ledger: Ledger, hashed: bytes, party: str) -> bytes:
    return approval_statement(chain_id=ledger.chain_id, proposal=hashed, party=party)


def rotation(
    ledger: LedgerInMemory,
    party: str,
    new: Sequence[PrivateKey],
    *,
    threshold: int = 1,
    generation: int = 1,
    signers: Sequence[PrivateKey] | None = None,
) -> bytes:
    """Return the event that gives a party other roots, signed by all old and new ones."""
    roots = RootSet(threshold=threshold, keys=tuple(sorted(key.public for key in new)))
    signed = root_rotation_statement(
        chain_id=ledger.chain_id, party=party, generation=generation, roots=roots
    )
    both = {key.public: key for key in (*roots_of(party), *new)}.values()
    body = governance_pb2.RootRotation(
        party=party,
        generation=generation,
        threshold=threshold,
        keys=roots.keys,
        signatures=signatures(list(both) if signers is None else signers, signed),
    )
    return event(root_rotation=body, device="registry", nonce=signed)


def successor(
    ledger: LedgerInMemory,
    party: str,
    purpose: KeyPurpose,
    node: str,
    *,
    label: str = "2nd",
    roots: Sequence[PrivateKey] | None = None,
) -> bytes:
    """Return the event that registers another key of a node in place of its first."""
    old = private_key(f"{party}/{node} {purpose.name}").public
    granted, key = grant(party, purpose, node, label=f"{party}/{node} {purpose.name} {label}")
    return ledger.registration_of(replace(granted, replaces=old), key, roots=roots)
