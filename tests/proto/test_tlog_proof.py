"""Proofs of inclusion as documents."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import binary, builds, integers, lists, none, sampled_from

from lotmark.checkpoint import Checkpoint, parse_checkpoint
from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError
from lotmark.merkle import inclusion_path, leaf_hash, root, verify_inclusion
from lotmark.signed_note import Note, format_note, parse_note, sign_note
from lotmark.tlog_proof import TlogProof, format_proof, parse_proof

GOLDEN = Path(__file__).parent / "golden/tlog_proof.txt"
SIZE_MAX = 10_000
HASH = base64.b64encode(bytes(32)).decode()

proofs = builds(
    TlogProof,
    integers(0, 2**64 - 1),
    lists(binary(min_size=32, max_size=32), max_size=3).map(tuple),
    binary(min_size=1, max_size=40),
    none() | binary(max_size=9),
)


def proof_in_a_small_log() -> TlogProof:
    tree = [leaf_hash(bytes([index])) for index in range(13)]
    text = Checkpoint("log.example/1", len(tree), root(tree)).text()
    signature = sign_note(text, "log.example/1", PrivateKey.from_seed(bytes(range(32))))
    note = format_note(Note(text, (signature,)))
    return TlogProof(5, tuple(inclusion_path(tree, 5)), note, b"opaque")


def test_golden_proof() -> None:
    assert format_proof(proof_in_a_small_log()) == GOLDEN.read_bytes()


def test_a_proof_carries_all_a_verifier_needs_but_the_keys() -> None:
    proof = parse_proof(GOLDEN.read_bytes(), size_max=SIZE_MAX)
    checkpoint = parse_checkpoint(parse_note(proof.checkpoint_note).text)

    verify_inclusion(
        leaf_hash(bytes([5])), proof.index, checkpoint.size, proof.path, checkpoint.root
    )
    assert proof.extra == b"opaque"


@given(proof=proofs)
def test_what_is_formatted_is_parsed_again(proof: TlogProof) -> None:
    assert parse_proof(format_proof(proof), size_max=SIZE_MAX) == proof


START = "c2sp.org/tlog-proof@v1\n"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "starts with the line"),
        ("c2sp.org/tlog-proof@v2\nindex 0\n\nnote", "starts with the line"),
        (f" {START}index 0\n\nnote", "starts with the line"),
        (START, "a line with its index"),
        (f"{START}\nnote", "a line with its index"),
        (f"{START}extra AAAA\n\nnote", "a line with its index"),
        (f"{START}index 0\nextra AAAA\n\nnote", "base64"),
        (f"{START}extra AAAA\nextra AAAA\nindex 0\n\nnote", "a line with its index"),
        (f"{START}extra AAA\nindex 0\n\nnote", "base64"),
        (f"{START}extra  AAAA\nindex 0\n\nnote", "base64"),
        (f"{START}index 00\n\nnote", "decimal"),
        (f"{START}index -1\n\nnote", "decimal"),
        (f"{START}index  1\n\nnote", "decimal"),
        (f"{START}index 1 \n\nnote", "decimal"),
        (f"{START}index {2**64}\n\nnote", "above"),
        (f"{START}index 0\n{HASH[:-4]}\n\nnote", r"path\[0\]"),
        (f"{START}index 0\n{HASH}\nAAAA\n\nnote", r"path\[1\] has 3 bytes"),
        (f"{START}index 0\n{HASH} \n\nnote", "base64"),
        (f"{START}index 0\n" + f"{HASH}\n" * 65 + "\nnote", "at most 64"),
        (f"{START}index 0\n\n", "checkpoint"),
        (f"{START}index 0\n{HASH}", "checkpoint"),
        (f"{START}index 0\r\n\nnote", "decimal"),
        (f"{START}index \u0661\n\nnote", "ASCII"),
        (f"{START}index 0\n\n" + "n" * SIZE_MAX, "at most 10000"),
    ],
)
def test_malformed_proofs_are_refused(raw: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        parse_proof(raw.encode(), size_max=SIZE_MAX)


@pytest.mark.parametrize(
    ("index", "path", "note", "reason"),
    [
        (-1, (), b"note", "index -1"),
        (2**64, (), b"note", "index 18446744073709551616"),
        (0, (bytes(31),), b"note", "31 bytes"),
        (0, (bytes(32),) * 65, b"note", "65 hashes"),
        (0, (), b"", "checkpoint"),
    ],
)
def test_a_proof_that_could_not_be_read_again_is_refused(
    index: int, path: tuple[bytes, ...], note: bytes, reason: str
) -> None:
    with pytest.raises(MalformedError, match=reason):
        TlogProof(index, path, note)


@given(raw=binary(max_size=120))
def test_arbitrary_bytes_are_a_proof_or_malformed(raw: bytes) -> None:
    parse_or_refuse(raw)
    parse_or_refuse(START.encode() + raw)


@given(
    proof=proofs,
    at=integers(min_value=0),
    change=binary(max_size=2) | sampled_from([b"\n", b"\n\n", b" ", b"extra ", b"="]),
    cut=integers(0, 3),
)
def test_changed_proofs_are_proofs_or_malformed(
    proof: TlogProof, at: int, change: bytes, cut: int
) -> None:
    raw = format_proof(proof)
    at %= len(raw) + 1

    parse_or_refuse(raw[:at] + change + raw[at + cut :])


def parse_or_refuse(raw: bytes) -> None:
    try:
        proof = parse_proof(raw, size_max=SIZE_MAX)
    except MalformedError:
        return
    assert format_proof(proof) == raw
