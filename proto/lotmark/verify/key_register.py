"""Which key may do what at which height: followed from the genesis through events about keys.

The same rules as the transition's, written once more for those who check it without running it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from google.protobuf.message import DecodeError

from lotmark.batch import BatchHeader
from lotmark.errors import MalformedError, SignatureError
from lotmark.genesis import Genesis
from lotmark.key_grant import (
    NEVER,
    NO_KEY,
    ROTATION_OVERLAP_MS,
    KeyGrant,
    KeyPurpose,
    grant_from_message,
    revocation_statement,
    statement,
    verify_possession,
    verify_roots,
)
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2, governance_pb2


def parse_event(raw: bytes) -> event_pb2.Event:
    """Return the message of an event's bytes.

    Raises:
        MalformedError: They are none.
    """
    try:
        return event_pb2.Event.FromString(raw)
    except DecodeError as error:
        raise MalformedError(f"{len(raw)} bytes are no protobuf event") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredKey:
    """A key, whether or not it is in force."""

    purpose: KeyPurpose
    party: str
    holder: str
    from_height: int
    revoked_height: int = NEVER
    compromised_since_ms: int = 0
    not_before_ms: int
    not_after_ms: int
    event_types: tuple[int, ...] = ()  # empty: all

    def judge(self, *, height: int, time_ms: int) -> Outcome:
        """Judge whether it is in force in the block of `height` and `time_ms`."""
        if self.revoked_height <= height:
            return Outcome.KEY_REVOKED
        if self.from_height > height or time_ms < self.not_before_ms:
            return Outcome.KEY_NOT_YET_VALID
        if time_ms >= self.not_after_ms:
            return Outcome.KEY_EXPIRED
        return Outcome.ACCEPTED


class KeyRegister:
    """All keys of a ledger up to the event that was taken in last."""

    def __init__(self, genesis: Genesis, chain_id: bytes) -> None:
        """Begin with the keys of a genesis."""
        self._genesis = genesis
        self._chain_id = chain_id
        self._keys: dict[bytes, RegisteredKey] = {}
        for party in genesis.parties:
            for root in party.roots:
                self._keys[root] = RegisteredKey(
                    purpose=KeyPurpose.ROOT,
                    party=party.id,
                    holder="root",
                    from_height=0,
                    not_before_ms=0,
                    not_after_ms=NEVER,
                )
        for first in genesis.keys:
            self._keys[first.grant.key] = _registered(first.grant, from_height=0)

    @property
    def keys(self) -> Mapping[bytes, RegisteredKey]:
        """Every key that was ever registered."""
        return self._keys

    def judge_signer(self, header: BatchHeader, *, height: int, time_ms: int) -> Outcome:
        """Judge what a batch header says of its chain and signer."""
        if header.chain_id != self._chain_id:
            return Outcome.CHAIN_UNKNOWN
        key = self._keys.get(header.signer)
        if key is None:
            return Outcome.KEY_UNKNOWN
        if key.party != header.party:
            return Outcome.KEY_PARTY_MISMATCH
        if key.purpose is not KeyPurpose.BATCH:
            return Outcome.KEY_PURPOSE_WRONG
        return key.judge(height=height, time_ms=time_ms)

    def take(self, event: event_pb2.Event, *, height: int, time_ms: int) -> None:
        """Take in an event that the ledger accepted; one that is not about keys changes nothing.

        Args:
            event: The event.
            height: Of the block that holds it; what it says is in force from the next one on.
            time_ms: Of that block.

        Raises:
            ProtocolError: The ledger should have refused it.
        """
        match event.WhichOneof("body"):
            case "key_registration":
                self._register(event.key_registration, height, time_ms)
            case "key_revocation":
                self._revoke(event.key_revocation, height)

    def _register(self, body: governance_pb2.KeyRegistration, height: int, time_ms: int) -> None:
        grant = grant_from_message(body.grant)
        if grant.purpose is not KeyPurpose.BATCH:
            raise MalformedError(
                f"{grant.purpose.name.lower()} key {grant.key.hex()} is registered by an event;"
                " only batch keys are"
            )
        verify_possession(grant, self._chain_id, body.possession)
        self._verify_roots(grant.party, statement(grant, self._chain_id), body.roots)
        if grant.key in self._keys:
            raise MalformedError(f"key {grant.key.hex()} is registered a second time")
        if grant.replaces != NO_KEY:
            old = self._keys.get(grant.replaces)
            if old is None or (old.party, old.purpose) != (grant.party, grant.purpose):
                raise MalformedError(
                    f"key {grant.key.hex()} replaces {grant.replaces.hex()}, which is no"
                    f" {grant.purpose.name.lower()} key of {grant.party}"
                )
            until_ms = min(old.not_after_ms, time_ms + ROTATION_OVERLAP_MS)
            self._keys[grant.replaces] = replace(old, not_after_ms=until_ms)
        self._keys[grant.key] = _registered(grant, from_height=height + 1)

    def _revoke(self, body: governance_pb2.KeyRevocation, height: int) -> None:
        key = self._keys.get(body.key)
        usable = key is not None and key.party == body.party and key.revoked_height == NEVER
        if key is None or not usable or key.purpose is not KeyPurpose.BATCH:
            raise MalformedError(
                f"key {body.key[:32].hex()} is revoked, but {body.party!a} has no such batch key"
            )
        signed = revocation_statement(
            chain_id=self._chain_id,
            key=body.key,
            compromised_since_ms=body.compromised_since_ms,
            party=body.party,
        )
        self._verify_roots(body.party, signed, body.roots)
        self._keys[body.key] = replace(
            key,
            revoked_height=height + 1,
            compromised_since_ms=body.compromised_since_ms,
        )

    def _verify_roots(
        self, party_id: str, signed: bytes, signatures: Iterable[governance_pb2.KeySignature]
    ) -> None:
        party = self._genesis.party(party_id)
        if party is None:
            raise SignatureError(f"{party_id!a} is no party of the genesis")
        pairs = [(each.key, each.signature) for each in signatures]
        verify_roots(signed, pairs, party.roots, party.threshold)


def _registered(grant: KeyGrant, *, from_height: int) -> RegisteredKey:
    return RegisteredKey(
        purpose=grant.purpose,
        party=grant.party,
        holder=grant.holder,
        from_height=from_height,
        not_before_ms=grant.not_before_ms,
        not_after_ms=grant.not_after_ms,
        event_types=grant.event_types,
    )
