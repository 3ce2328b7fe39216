"""Events about operators, made with an authenticator in software and the sample parties' roots."""

from collections.abc import Sequence

from lotmark.merkle import leaf_hash
from lotmark.operator_grant import (
    OperatorGrant,
    OperatorMeaning,
    assertion_to_message,
    grant_to_message,
    possession_challenge,
    revocation_statement,
    signature_challenge,
    statement,
)
from lotmark.v1 import event_pb2, operators_pb2
from lotmark.webauthn import Assertion
from lotmark_node.trial.software_authenticator import Authenticator
from tests.node.ledger_in_memory import LedgerInMemory, event, root_signatures
from tests.proto.sample_genesis import CREATED_MS

PARTY = "T1-STATOR"
DAY_MS = 86_400_000
MEANINGS = (OperatorMeaning.REVIEW, OperatorMeaning.APPROVE)
APPROVE = OperatorMeaning.APPROVE
DEVICE = Authenticator("operator 7")


def operator_grant(
    device: Authenticator = DEVICE,
    *,
    party: str = PARTY,
    meanings: Sequence[OperatorMeaning] = MEANINGS,
    not_before_ms: int = CREATED_MS,
    not_after_ms: int = CREATED_MS + DAY_MS,
) -> OperatorGrant:
    return OperatorGrant(
        party=party,
        credential_id=device.credential_id,
        relying_party=device.relying_party,
        role="welding-inspector",
        meanings=tuple(meanings),
        not_before_ms=not_before_ms,
        not_after_ms=not_after_ms,
    )


def registered(
    ledger: LedgerInMemory,
    grant: OperatorGrant | None = None,
    *,
    device: Authenticator = DEVICE,
    roots_of: str | None = None,
    possession: Assertion | None = None,
    nonce: str = "",
) -> bytes:
    """Return an event that registers a credential.

    Args:
        ledger: Where.
        grant: What it may do.
        device: That has it.
        roots_of: Another party whose roots sign.
        possession: Another assertion than the one over the grant.
        nonce: Makes another event of the same.
    """
    grant = grant or operator_grant(device)
    signed = statement(grant, ledger.chain_id)
    proof = possession or device.sign(possession_challenge(grant, ledger.chain_id))
    body = operators_pb2.OperatorRegistration(
        grant=grant_to_message(grant),
        possession=assertion_to_message(proof),
        roots=root_signatures(roots_of or grant.party, signed),
    )
    return event(operator_registration=body, device="registry", nonce=signed + nonce.encode())


def revoked(
    ledger: LedgerInMemory,
    device: Authenticator = DEVICE,
    *,
    party: str = PARTY,
    compromised_since_ms: int = 0,
) -> bytes:
    """Return an event that revokes a credential."""
    signed = revocation_statement(
        chain_id=ledger.chain_id,
        credential_id=device.credential_id,
        compromised_since_ms=compromised_since_ms,
        party=party,
    )
    body = operators_pb2.OperatorRevocation(
        credential_id=device.credential_id,
        party=party,
        compromised_since_ms=compromised_since_ms,
        reason="lost",
        roots=root_signatures(party, signed),
    )
    return event(operator_revocation=body, device="registry", nonce=signed)


def signature(
    ledger: LedgerInMemory,
    signed_event: bytes,
    *,
    meaning: OperatorMeaning = APPROVE,
    device: Authenticator = DEVICE,
    assertion: Assertion | None = None,
    nonce: str = "signature",
) -> bytes:
    """Return an event by which an operator signs another one."""
    event_id = leaf_hash(signed_event)
    made = assertion or device.sign(signature_challenge(ledger.chain_id, meaning, event_id))
    body = operators_pb2.OperatorSignature(
        event_id=event_id,
        meaning=operators_pb2.OperatorMeaning.ValueType(meaning),
        credential_id=device.credential_id,
        assertion=assertion_to_message(made),
    )
    return event(operator_signature=body, device="console", nonce=nonce)


def with_body(raw: bytes, **fields: object) -> bytes:
    """Return an event in whose operator signature fields are others, and nobody signed again."""
    message = event_pb2.Event.FromString(raw)
    for name, value in fields.items():
        setattr(message.operator_signature, name, value)
    return message.SerializeToString(deterministic=True)
