"""Cosignatures of type 0x04."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import binary, integers

from lotmark.checkpoint import Checkpoint
from lotmark.cosignature import TIME_S_MAX, cosign, verify_cosignature
from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError, SignatureError
from lotmark.merkle import leaf_hash
from lotmark.signed_note import (
    COSIGNATURE_ED25519,
    ED25519,
    Note,
    NoteSignature,
    format_note,
    verifier_key,
)
from tests.shared_vectors import require_shared

GOLDEN = Path(__file__).parent / "golden/cosigned_checkpoint.txt"
NAME = "witness.example/w1"
KEY = PrivateKey.from_seed(bytes([4]) * 32)
VKEY = verifier_key(NAME, COSIGNATURE_ED25519, KEY.public)
TEXT = Checkpoint("log.example/1", 1, leaf_hash(b"entry")).text()
TIME_S = 1_679_315_147


def cosignature(time_s: int = TIME_S) -> NoteSignature:
    return cosign(TEXT, name=NAME, private_key=KEY, time_s=time_s)


def test_golden_cosigned_checkpoint() -> None:
    assert format_note(Note(TEXT, (cosignature(),))) == GOLDEN.read_bytes()


def test_the_signed_message_is_the_one_of_the_specification() -> None:
    by_hand = KEY.sign(b"cosignature/v1\ntime 1679315147\n" + TEXT.encode())

    assert cosignature().signature == bytes.fromhex("00000000641850cb") + by_hand


# The signer's key is not in the vector, so that its time is all it can show.
def test_the_time_of_a_foreign_cosignature_is_read() -> None:
    vector = json.loads(require_shared("vectors/c2sp-notes/vectors.json").read_text())
    vector = vector["cosignature_v1_timestamp"]
    foreign = base64.b64decode(vector["signature_base64"])[4:]

    with pytest.raises(SignatureError, match=f"at time {vector['unix_time']} s does not hold"):
        verify_cosignature(TEXT, NoteSignature(NAME, VKEY.key_id, foreign), VKEY)


@given(time_s=integers(0, TIME_S_MAX))
def test_a_cosignature_tells_its_time(time_s: int) -> None:
    assert verify_cosignature(TEXT, cosignature(time_s), VKEY) == time_s


@given(bit=integers(0, 72 * 8 - 1))
def test_a_changed_bit_is_refused(bit: int) -> None:
    changed = (int.from_bytes(cosignature().signature) ^ 1 << bit).to_bytes(72)

    with pytest.raises(SignatureError):
        verify_cosignature(TEXT, NoteSignature(NAME, VKEY.key_id, changed), VKEY)


@given(raw=binary(min_size=1, max_size=80))
def test_arbitrary_bytes_never_cosign(raw: bytes) -> None:
    with pytest.raises(SignatureError):
        verify_cosignature(TEXT, NoteSignature(NAME, VKEY.key_id, raw), VKEY)


def test_another_checkpoint_is_refused() -> None:
    other = Checkpoint("log.example/1", 2, leaf_hash(b"entry")).text()

    with pytest.raises(SignatureError, match=r"w1 at time 1679315147 s does not hold"):
        verify_cosignature(other, cosignature(), VKEY)


def test_a_plain_signature_of_the_same_key_is_no_cosignature() -> None:
    plain = NoteSignature(NAME, VKEY.key_id, KEY.sign(TEXT.encode()))

    with pytest.raises(SignatureError, match="64 bytes"):
        verify_cosignature(TEXT, plain, VKEY)


@pytest.mark.parametrize("key_id", [b"\0\0\0\0", verifier_key(NAME, ED25519, KEY.public).key_id])
def test_a_cosignature_by_another_key_id_is_refused(key_id: bytes) -> None:
    with pytest.raises(SignatureError, match=r"is by witness\.example/w1\+"):
        verify_cosignature(TEXT, NoteSignature(NAME, key_id, cosignature().signature), VKEY)


def test_a_key_for_plain_notes_is_refused() -> None:
    with pytest.raises(SignatureError, match="type 0x04"):
        verify_cosignature(TEXT, cosignature(), verifier_key(NAME, ED25519, KEY.public))


def test_a_time_beyond_the_format_is_refused() -> None:
    message = f"cosignature/v1\ntime {TIME_S_MAX + 1}\n{TEXT}".encode()
    late = (TIME_S_MAX + 1).to_bytes(8) + KEY.sign(message)

    with pytest.raises(SignatureError, match=r"over 2\^63 - 1"):
        verify_cosignature(TEXT, NoteSignature(NAME, VKEY.key_id, late), VKEY)
    for time_s in (-1, TIME_S_MAX + 1):
        with pytest.raises(MalformedError, match=f"time {time_s} s"):
            cosignature(time_s)


def test_only_checkpoints_are_cosigned() -> None:
    with pytest.raises(MalformedError, match="checkpoint"):
        cosign("some text\n", name=NAME, private_key=KEY, time_s=TIME_S)
