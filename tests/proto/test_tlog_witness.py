"""What is asked of witnesses, and what they answer, byte for byte."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import binary, builds, integers, lists, permutations

from lotmark.checkpoint import Checkpoint
from lotmark.cosignature import cosign, verify_cosignature
from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError
from lotmark.merkle import consistency_path, leaf_hash, root
from lotmark.signed_note import (
    COSIGNATURE_ED25519,
    Note,
    NoteSignature,
    sign_note,
    verifier_key,
)
from lotmark.tlog_witness import (
    ANSWER_SIZE_MAX,
    REQUEST_SIZE_MAX,
    AddCheckpoint,
    checkpoint_path,
    format_add_checkpoint,
    format_cosignatures,
    format_size,
    parse_add_checkpoint,
    parse_cosignatures,
    parse_size,
)
from tests.proto.damaged_bytes import damaged_or_arbitrary

GOLDEN = Path(__file__).parent / "golden"
LOG_KEY, WITNESS_KEY = PrivateKey.from_seed(bytes(32)), PrivateKey.from_seed(bytes([1]) * 32)
HASH = base64.b64encode(bytes(32)).decode()
TREE = [leaf_hash(bytes([index])) for index in range(13)]
TEXT = Checkpoint("log.example/1", len(TREE), root(TREE)).text()
NOTE = Note(TEXT, (sign_note(TEXT, "log.example/1", LOG_KEY),))
REQUEST = AddCheckpoint(5, tuple(consistency_path(TREE, 5)), NOTE)
RAW = format_add_checkpoint(REQUEST)
SPECIFICATION_EXAMPLE = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
"""  # noqa: E501  # lines of a published example

requests = builds(
    AddCheckpoint,
    integers(0, 13),
    lists(binary(min_size=32, max_size=32), max_size=4).map(tuple),
    permutations(NOTE.signatures * 2).map(lambda signatures: Note(TEXT, tuple(signatures))),
)


def cosignature() -> NoteSignature:
    return cosign(TEXT, name="witness.example/w1", private_key=WITNESS_KEY, time_s=1_766_448_000)


def test_golden_request() -> None:
    assert (GOLDEN / "tlog_witness_request.txt").read_bytes() == RAW


def test_golden_answer() -> None:
    answer = format_cosignatures([cosignature()], TEXT)

    assert (GOLDEN / "tlog_witness_answer.txt").read_bytes() == answer


def test_the_request_of_the_specification_is_read() -> None:
    request = parse_add_checkpoint(SPECIFICATION_EXAMPLE.encode())

    assert request.old_size == 20852014
    assert [value[:2].hex() for value in request.proof] == ["3e54", "8eb2", "e7ea", "ffa5"]
    assert request.note.text.startswith("example.com/behind-the-sofa\n20852163\n")
    assert len(request.note.signatures) == 2
    assert format_add_checkpoint(request) == SPECIFICATION_EXAMPLE.encode()


def test_a_first_request_states_size_zero_and_no_proof() -> None:
    raw = format_add_checkpoint(AddCheckpoint(0, (), NOTE))

    assert raw.startswith(f"old 0\n\n{TEXT}\n".encode())


@given(request=requests)
def test_what_is_formatted_is_parsed_again(request: AddCheckpoint) -> None:
    assert parse_add_checkpoint(format_add_checkpoint(request)) == request


CHECKPOINT = RAW.partition(b"\n\n")[2].decode()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "empty line"),
        ("old 0\n", "empty line"),
        (f"old 0\r\n\r\n{CHECKPOINT}", "decimal"),
        (f"\n{CHECKPOINT}", "'old'"),
        (f"old\n\n{CHECKPOINT}", "'old'"),
        (f" old 0\n\n{CHECKPOINT}", "'old'"),
        (f"Old 0\n\n{CHECKPOINT}", "'old'"),
        (f"old  0\n\n{CHECKPOINT}", "decimal"),
        (f"old 00\n\n{CHECKPOINT}", "decimal"),
        (f"old 05\n\n{CHECKPOINT}", "decimal"),
        (f"old +5\n\n{CHECKPOINT}", "decimal"),
        (f"old -1\n\n{CHECKPOINT}", "decimal"),
        (f"old 5 \n\n{CHECKPOINT}", "decimal"),
        (f"old \u0665\n\n{CHECKPOINT}", "ASCII"),
        (f"old 14\n\n{CHECKPOINT}", "the old size is 0 to that of the checkpoint, 13, and not 14"),
        (f"old {2**64}\n\n{CHECKPOINT}", "above"),
        (f"old 5\n{HASH[:-4]}\n\n{CHECKPOINT}", r"proof\[0\]"),
        (f"old 5\n{HASH}\nAAAA\n\n{CHECKPOINT}", r"proof\[1\] has 3 bytes"),
        (f"old 5\n {HASH}\n\n{CHECKPOINT}", "base64"),
        ("old 5\n" + f"{HASH}\n" * 64 + f"\n{CHECKPOINT}", "at most 63"),
        ("old 0\n\nlog.example/1\n5\n", "signature lines"),
        (f"old 0\n\nno checkpoint\n\n{CHECKPOINT.rpartition(chr(10) * 2)[2]}", "checkpoint"),
        (f"old 0\n\n{CHECKPOINT}" + "n" * REQUEST_SIZE_MAX, "at most"),
    ],
)
def test_malformed_requests_are_refused(raw: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        parse_add_checkpoint(raw.encode())


@given(raw=damaged_or_arbitrary(RAW))
def test_a_damaged_request_is_refused_or_is_exactly_what_it_says(raw: bytes) -> None:
    try:
        request = parse_add_checkpoint(raw)
    except MalformedError:
        return
    assert format_add_checkpoint(request) == raw


def test_an_answer_gives_back_the_cosignatures() -> None:
    vkey = verifier_key("witness.example/w1", COSIGNATURE_ED25519, WITNESS_KEY.public)

    (signature,) = parse_cosignatures(format_cosignatures([cosignature()], TEXT), TEXT)

    assert verify_cosignature(TEXT, signature, vkey) == 1_766_448_000


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"no line of a signature\n",
        b"\n" + format_cosignatures([cosignature()], TEXT),
        format_cosignatures([cosignature()], TEXT) + b"\n",
        format_cosignatures([cosignature()], TEXT)[:-1],
        b"another text\n\n" + format_cosignatures([cosignature()], TEXT),
        format_cosignatures([cosignature()] * 60, TEXT) * 2,
        b"a" * (ANSWER_SIZE_MAX + 1),
    ],
)
def test_an_answer_with_anything_but_signature_lines_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_cosignatures(raw, TEXT)


@given(raw=damaged_or_arbitrary(format_cosignatures([cosignature()], TEXT)))
def test_a_damaged_answer_is_refused_or_is_exactly_what_it_says(raw: bytes) -> None:
    try:
        signatures = parse_cosignatures(raw, TEXT)
    except MalformedError:
        return
    assert format_cosignatures(signatures, TEXT) == raw


@given(size=integers(0, 2**64 - 1))
def test_a_size_is_read_as_it_was_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    "raw",
    [b"", b"\n", b"5", b"5\n\n", b"05\n", b"-5\n", b" 5\n", b"5\r\n", b"\xd9\xa5\n", b"5" * 70_000],
)
def test_a_size_in_another_spelling_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_size(raw)


def test_the_path_for_monitors_is_the_hash_of_the_origin() -> None:
    assert checkpoint_path("example.com/behind-the-sofa") == (
        "/5fd2dc0beb4ce54da5050cf6d5c75248b023abad441c3cecde3976fbe9da4fe4/checkpoint"
    )
