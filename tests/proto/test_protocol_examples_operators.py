"""Section 2 of docs/protocol.md on operators, recomputed from its text alone."""

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from tests.proto.protocol_examples import (
    CHAIN_ID,
    example_bytes,
    example_fields,
    joined_text,
    leaf_hash,
    sha256,
    str8,
    verify,
    what_follows,
)

SCALAR = int.from_bytes(sha256(b"T1-STATOR operator"))
PRIVATE = ec.derive_private_key(SCALAR, ec.SECP256R1())
RP_ID, ORIGIN = b"t1-stator.example", b"https://sign.t1-stator.example"
CREDENTIAL_ID = sha256(b"T1-STATOR operator credential")[:20]


def cose_key() -> bytes:
    numbers = PRIVATE.public_key().public_numbers()
    head = bytes.fromhex("a5010203262001215820")
    return head + numbers.x.to_bytes(32) + b"\x22\x58\x20" + numbers.y.to_bytes(32)


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def holds(data: bytes, client_data: bytes, signature: bytes) -> None:
    PRIVATE.public_key().verify(signature, data + sha256(client_data), ec.ECDSA(SHA256()))


def test_the_grant_is_made_of_these_fields_and_the_roots_sign_it() -> None:
    times = (1_767_600_000_000).to_bytes(8) + (1_893_456_000_000).to_bytes(8)
    expected = b"".join(
        [
            b"lotmark/operator-reg/v1\n",
            CHAIN_ID,
            times,
            cose_key(),
            b"\x00\x14",
            CREDENTIAL_ID,
            *(str8(text) for text in ("T1-STATOR", "winding-inspector", RP_ID.decode())),
            len(ORIGIN).to_bytes(2),
            ORIGIN,
            b"\x02\x02\x03",
        ]
    )

    assert example_bytes("operator.grant") == expected
    for label, raw in what_follows("operator.grant").items():
        if label.startswith("signature of"):
            verify(label.removeprefix("signature of "), expected, raw)


def test_the_possession_signs_the_hash_of_the_grant() -> None:
    follows = what_follows("operator.grant")
    challenge = sha256(example_bytes("operator.grant"))
    client_data = follows["possession: client data"]

    assert follows["challenge of its possession: SHA-256"] == challenge
    assert json.loads(client_data)["challenge"] == base64url(challenge)
    holds(follows["possession: authenticator data"], client_data, follows["possession: signature"])


def test_the_revocation_is_made_of_these_fields_and_the_roots_sign_it() -> None:
    since = (1_767_600_055_000).to_bytes(8)
    expected = b"lotmark/operator-revoke/v1\n" + CHAIN_ID + since + b"\x00\x14" + CREDENTIAL_ID

    assert example_bytes("operator.revocation") == expected + str8("T1-STATOR")
    for label, raw in what_follows("operator.revocation").items():
        verify(label.removeprefix("signature of "), example_bytes("operator.revocation"), raw)


def test_an_operator_signs_chain_meaning_and_event() -> None:
    event_id = leaf_hash(example_bytes("event.1"))
    signed = b"lotmark/operator/v1\n" + CHAIN_ID + b"\x03" + event_id

    assert example_bytes("operator.challenge") == signed
    assert what_follows("operator.challenge") == {"challenge: SHA-256": sha256(signed)}


def test_the_event_holds_the_assertion_over_that_challenge() -> None:
    fields = {label.strip(): raw for label, raw in example_fields("operator.signature")}
    client_data = joined_text("operator.client_data")
    data = fields["1 authenticator_data"][2:]
    challenge = what_follows("operator.challenge")["challenge: SHA-256"]

    assert fields["1 event_id"][2:] == leaf_hash(example_bytes("event.1"))
    assert fields["3 credential_id"][2:] == CREDENTIAL_ID
    assert data == sha256(RP_ID) + b"\x05" + (2).to_bytes(4)
    assert client_data == (
        b'{"type":"webauthn.get","challenge":"' + base64url(challenge).encode()
        + b'","origin":"' + ORIGIN + b'","crossOrigin":false}'
    )  # fmt: skip
    assert fields["2 client_data_json"].endswith(client_data)
    holds(data, client_data, fields["3 signature"][2:])


@pytest.mark.parametrize("at", [0, 32, 36])
def test_another_byte_of_the_authenticator_data_is_another_signature(at: int) -> None:
    fields = {label.strip(): raw for label, raw in example_fields("operator.signature")}
    data = bytearray(fields["1 authenticator_data"][2:])
    data[at] ^= 1

    with pytest.raises(InvalidSignature):
        holds(bytes(data), joined_text("operator.client_data"), fields["3 signature"][2:])
