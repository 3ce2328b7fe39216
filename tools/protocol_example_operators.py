"""The worked examples of docs/protocol.md about operators: a credential, and what it signs."""

import hashlib
import json

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from lotmark.operator_grant import (
    OperatorGrant,
    OperatorMeaning,
    assertion_to_message,
    possession_challenge,
    revocation_statement,
    signature_challenge,
    statement,
    verify_possession,
)
from lotmark.v1 import event_pb2, operators_pb2
from lotmark.webauthn import Assertion, RelyingParty, base64url, verify_assertion
from tools.protocol_example_blocks import root_signatures
from tools.protocol_example_fields import (
    Block,
    Field,
    Part,
    cut,
    domain,
    following,
    message_fields,
    wrapped,
)
from tools.protocol_example_ledger import (
    CREATED_MS,
    KEYS_UNTIL_MS,
    SUPPLIER,
    ExampleLedger,
    example_event,
    seed,
)

LABEL = "T1-STATOR operator"
_RP_ID, _ORIGIN = "t1-stator.example", "https://sign.t1-stator.example"
_PRESENT_AND_VERIFIED = 0x05
_KEY = ec.derive_private_key(int.from_bytes(seed(LABEL)), ec.SECP256R1())


def operator_blocks(ledger: ExampleLedger) -> dict[str, Block]:
    """Return the statements about a credential, and its signature under the example's event 1."""
    chain, signed_event = ledger.chain_id, ledger.batch.event_ids[0]
    grant = _grant()
    granted = statement(grant, chain)
    possession = _assertion(possession_challenge(grant, chain), counter=1)
    verify_possession(grant, chain, possession)
    challenge = signature_challenge(chain, OperatorMeaning.APPROVE, signed_event)
    assertion = _assertion(challenge, counter=2)
    verify_assertion(assertion, challenge, grant.relying_party)
    revocation = revocation_statement(
        chain_id=chain,
        credential_id=grant.credential_id,
        compromised_since_ms=CREATED_MS + 55_000,
        party=SUPPLIER,
    )
    credential: Part = len(grant.credential_id), "credential id"
    return {
        "operator.grant": [
            *_grant_fields(granted, grant),
            following(possession_challenge(grant, chain), "challenge of its possession: SHA-256"),
            *_assertion_fields(possession, "possession: "),
            *root_signatures(SUPPLIER, granted),
        ],
        "operator.revocation": [
            *cut(
                revocation,
                domain("lotmark/operator-revoke/v1"),
                (32, "chain id"),
                ("u64", "compromised_since_ms"),
                ("u16", "credential id size"),
                credential,
                ("str8", "party"),
            ),
            *root_signatures(SUPPLIER, revocation),
        ],
        "operator.challenge": [
            *cut(
                b"lotmark/operator/v1\n" + chain + b"\x03" + signed_event,
                domain("lotmark/operator/v1"),
                (32, "chain id"),
                ("u8", "meaning"),
                (32, "event id"),
            ),
            following(challenge, "challenge: SHA-256"),
        ],
        "operator.client_data": wrapped(assertion.client_data_json),
        "operator.signature": [*message_fields(_event(grant, signed_event, assertion))],
    }


def _grant() -> OperatorGrant:
    numbers = _KEY.public_key().public_numbers()
    cose = bytes.fromhex(f"a5010203262001215820{numbers.x:064x}225820{numbers.y:064x}")
    return OperatorGrant(
        party=SUPPLIER,
        credential_id=seed(f"{LABEL} credential")[:20],
        relying_party=RelyingParty(rp_id=_RP_ID, origin=_ORIGIN, public_key=cose),
        role="winding-inspector",
        meanings=(OperatorMeaning.REVIEW, OperatorMeaning.APPROVE),
        not_before_ms=CREATED_MS,
        not_after_ms=KEYS_UNTIL_MS,
    )


def _assertion(challenge: bytes, *, counter: int) -> Assertion:
    """Return what the authenticator and its browser give; the signature is by RFC 6979."""
    data = hashlib.sha256(_RP_ID.encode()).digest() + bytes([_PRESENT_AND_VERIFIED])
    data += counter.to_bytes(4)
    client = {
        "type": "webauthn.get",
        "challenge": base64url(challenge),
        "origin": _ORIGIN,
        "crossOrigin": False,
    }
    client_data = json.dumps(client, separators=(",", ":")).encode()
    signed = data + hashlib.sha256(client_data).digest()
    signature = _KEY.sign(signed, ec.ECDSA(SHA256(), deterministic_signing=True))
    return Assertion(authenticator_data=data, client_data_json=client_data, signature=signature)


def _grant_fields(granted: bytes, grant: OperatorGrant) -> list[Field]:
    meanings: list[Part] = [("u8", "meaning")] * len(grant.meanings)
    return cut(
        granted,
        domain("lotmark/operator-reg/v1"),
        (32, "chain id"),
        ("u64", "not_before_ms"),
        ("u64", "not_after_ms"),
        (len(grant.relying_party.public_key), "COSE key"),
        ("u16", "credential id size"),
        (len(grant.credential_id), "credential id"),
        ("str8", "party"),
        ("str8", "role"),
        ("str8", "relying party id"),
        ("u16", "origin size"),
        (len(_ORIGIN), f'origin "{_ORIGIN}"'),
        ("u8", "count"),
        *meanings,
    )


def _assertion_fields(assertion: Assertion, what: str) -> list[Field]:
    return [
        following(assertion.authenticator_data, f"{what}authenticator data"),
        following(assertion.client_data_json, f"{what}client data"),
        following(assertion.signature, f"{what}signature"),
    ]


def _event(grant: OperatorGrant, signed_event: bytes, assertion: Assertion) -> event_pb2.Event:
    return example_event(
        4,
        operator_signature=operators_pb2.OperatorSignature(
            event_id=signed_event,
            meaning=operators_pb2.OPERATOR_MEANING_APPROVE,
            credential_id=grant.credential_id,
            assertion=assertion_to_message(assertion),
        ),
    )
