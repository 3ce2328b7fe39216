"""Admission answers: the bytes a node signs."""

import hashlib
from dataclasses import asdict, fields, replace

import pytest

from lotmark.admission import AdmissionAnswer
from lotmark.errors import SignatureError
from lotmark.outcome import Outcome
from tests.proto.sample_genesis import CREATED_MS, GOLDEN, private_key

KEY = private_key("admit")
CHAIN_ID = hashlib.sha256(b"chain").digest()
ACCEPTED = AdmissionAnswer(
    batch_id=hashlib.sha256(b"batch").digest(),
    accepted=True,
    reason=Outcome.ACCEPTED,
    admitted_at_ms=CREATED_MS,
    due_ms=CREATED_MS + 10_000,
    checkpoint_size=4_711,
    checkpoint_root=hashlib.sha256(b"root").digest(),
    node="OEM-A/n1",
)
REFUSED = replace(ACCEPTED, accepted=False, reason=Outcome.KEY_REVOKED, due_ms=0)


def test_the_golden_answers_still_have_their_bytes_and_signatures() -> None:
    lines = (GOLDEN / "admission.txt").read_text().splitlines()
    for line, answer in zip(lines, (ACCEPTED, REFUSED), strict=True):
        message, signature = line.split()
        assert answer.signed_message(CHAIN_ID) == bytes.fromhex(message)
        assert answer.sign(KEY, CHAIN_ID).signature == bytes.fromhex(signature)


def test_a_signed_answer_verifies_under_its_key_and_chain_alone() -> None:
    signed = ACCEPTED.sign(KEY, CHAIN_ID)

    signed.verify(KEY.public, CHAIN_ID)
    with pytest.raises(SignatureError):
        signed.verify(KEY.public, bytes(32))
    with pytest.raises(SignatureError):
        signed.verify(private_key("another").public, CHAIN_ID)
    with pytest.raises(SignatureError):
        ACCEPTED.verify(KEY.public, CHAIN_ID)


@pytest.mark.parametrize(
    "name", [each.name for each in fields(AdmissionAnswer) if each.name != "signature"]
)
def test_the_signature_covers_every_field(name: str) -> None:
    signed = ACCEPTED.sign(KEY, CHAIN_ID)
    value = getattr(signed, name)
    other = {bytes: bytes(32), bool: False, str: "OEM-A/n2"}.get(type(value), 7)
    assert other != value

    with pytest.raises(SignatureError):
        AdmissionAnswer(**{**asdict(signed), name: other}).verify(KEY.public, CHAIN_ID)
