"""Events about operators, ready to be submitted: registration, revocation, signature."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from lotmark.ed25519 import PrivateKey
from lotmark.event import NONCE_SIZE
from lotmark.operator_grant import (
    OperatorGrant,
    OperatorMeaning,
    assertion_to_message,
    grant_to_message,
    revocation_statement,
    signature_challenge,
    statement,
    verify_possession,
)
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2, governance_pb2, operators_pb2
from lotmark.webauthn import Assertion, AssertionRefused, signed_challenge


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSource:
    """Which system makes the events, and when, by its clock."""

    chain_id: bytes
    device: str
    time_ms: int
    uncertainty_us: int  # of that time

    def event(self, **body: object) -> bytes:
        """Return the bytes of an event with this one body."""
        message = event_pb2.Event(
            nonce=os.urandom(NONCE_SIZE),
            device=self.device,
            time=event_pb2.TimeInterval(
                start_ms=self.time_ms, end_ms=self.time_ms, uncertainty_us=self.uncertainty_us
            ),
            capture_mode=event_pb2.CAPTURE_MODE_MANUAL,
            **body,  # type: ignore[arg-type]  # checked by protobuf
        )
        return message.SerializeToString(deterministic=True)


def registration(
    source: EventSource, grant: OperatorGrant, possession: Assertion, roots: Iterable[PrivateKey]
) -> bytes:
    """Return the event that registers a credential.

    Raises:
        AssertionRefused: The credential has not signed this grant.
    """
    verify_possession(grant, source.chain_id, possession)
    body = operators_pb2.OperatorRegistration(
        grant=grant_to_message(grant),
        possession=assertion_to_message(possession),
        roots=_signatures(roots, statement(grant, source.chain_id)),
    )
    return source.event(operator_registration=body)


def revocation(
    source: EventSource,
    credential_id: bytes,
    *,
    party: str,
    reason: str,
    compromised_since_ms: int,
    roots: Iterable[PrivateKey],
) -> bytes:
    """Return the event that revokes a credential.

    Raises:
        MalformedError: The credential id or the party is no such thing.
    """
    signed = revocation_statement(
        chain_id=source.chain_id,
        credential_id=credential_id,
        compromised_since_ms=compromised_since_ms,
        party=party,
    )
    body = operators_pb2.OperatorRevocation(
        credential_id=credential_id,
        party=party,
        compromised_since_ms=compromised_since_ms,
        reason=reason,
        roots=_signatures(roots, signed),
    )
    return source.event(operator_revocation=body)


def signature(
    source: EventSource,
    credential_id: bytes,
    assertion: Assertion,
    *,
    event_id: bytes,
    meaning: OperatorMeaning,
) -> bytes:
    """Return the event by which an operator signs another.

    Whether the credential may, and its key holds, only the ledger can say.

    Raises:
        AssertionRefused: The operator signed something else.
    """
    expected, found = (
        signature_challenge(source.chain_id, meaning, event_id),
        signed_challenge(assertion.client_data_json),
    )
    if found != expected:
        raise AssertionRefused(
            Outcome.CHALLENGE_MISMATCH,
            f"the operator signed {found.hex()}; for event {event_id.hex()} with the meaning"
            f" {meaning.name.lower()} it is {expected.hex()}",
        )
    body = operators_pb2.OperatorSignature(
        event_id=event_id,
        meaning=operators_pb2.OperatorMeaning.ValueType(meaning),
        credential_id=credential_id,
        assertion=assertion_to_message(assertion),
    )
    return source.event(operator_signature=body)


def _signatures(roots: Iterable[PrivateKey], signed: bytes) -> list[governance_pb2.KeySignature]:
    """Return the signatures of root keys in the order that the ledger asks for."""
    return [
        governance_pb2.KeySignature(key=key.public, signature=key.sign(signed))
        for key in sorted(roots, key=lambda key: key.public)
    ]
