"""Bodies of events about operators, for `new_event`: registration, revocation, signature."""

from collections.abc import Iterable

from lotmark.ed25519 import PrivateKey
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
from lotmark.v1 import governance_pb2, operators_pb2
from lotmark.webauthn import Assertion, AssertionRefused, signed_challenge


def registration(
    chain_id: bytes, grant: OperatorGrant, possession: Assertion, roots: Iterable[PrivateKey]
) -> operators_pb2.OperatorRegistration:
    """Return the body of the event that registers a credential.

    Raises:
        AssertionRefused: The credential has not signed this grant.
    """
    verify_possession(grant, chain_id, possession)
    return operators_pb2.OperatorRegistration(
        grant=grant_to_message(grant),
        possession=assertion_to_message(possession),
        roots=_signatures(roots, statement(grant, chain_id)),
    )


def revocation(
    chain_id: bytes,
    credential_id: bytes,
    *,
    party: str,
    reason: str,
    compromised_since_ms: int,
    roots: Iterable[PrivateKey],
) -> operators_pb2.OperatorRevocation:
    """Return the body of the event that revokes a credential.

    Raises:
        MalformedError: The credential id or the party is no such thing.
    """
    signed = revocation_statement(
        chain_id=chain_id,
        credential_id=credential_id,
        compromised_since_ms=compromised_since_ms,
        party=party,
    )
    return operators_pb2.OperatorRevocation(
        credential_id=credential_id,
        party=party,
        compromised_since_ms=compromised_since_ms,
        reason=reason,
        roots=_signatures(roots, signed),
    )


def signature(
    chain_id: bytes,
    credential_id: bytes,
    assertion: Assertion,
    *,
    event_id: bytes,
    meaning: OperatorMeaning,
) -> operators_pb2.OperatorSignature:
    """Return the body of the event by which an operator signs another.

    Whether the credential may, and its key holds, only the ledger can say.

    Raises:
        AssertionRefused: The operator signed something else.
    """
    expected, found = (
        signature_challenge(chain_id, meaning, event_id),
        signed_challenge(assertion.client_data_json),
    )
    if found != expected:
        raise AssertionRefused(
            Outcome.CHALLENGE_MISMATCH,
            f"the operator signed {found.hex()}; for event {event_id.hex()} with the meaning"
            f" {meaning.name.lower()} it is {expected.hex()}",
        )
    return operators_pb2.OperatorSignature(
        event_id=event_id,
        meaning=operators_pb2.OperatorMeaning.ValueType(meaning),
        credential_id=credential_id,
        assertion=assertion_to_message(assertion),
    )


def _signatures(roots: Iterable[PrivateKey], signed: bytes) -> list[governance_pb2.KeySignature]:
    """Return the signatures of root keys in the order that the ledger asks for."""
    return [
        governance_pb2.KeySignature(key=key.public, signature=key.sign(signed))
        for key in sorted(roots, key=lambda key: key.public)
    ]
