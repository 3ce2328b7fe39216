"""Checkpoints as note texts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import binary, builds, characters, integers, lists, sampled_from, text

from lotmark.checkpoint import Checkpoint, parse_checkpoint
from lotmark.errors import MalformedError
from lotmark.merkle import EMPTY_ROOT, Frontier, leaf_hash

GOLDEN = Path(__file__).parent / "golden/checkpoint.txt"
ROOT_TEXT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
EXAMPLE = f"example.com/behind-the-sofa\n20852163\n{ROOT_TEXT}\n"

one_line = text(characters(exclude_categories=["Cc", "Cs"]), min_size=1)
checkpoints = builds(
    Checkpoint,
    one_line,
    integers(0, 2**64 - 1),
    binary(min_size=32, max_size=32),
    lists(one_line, max_size=2).map(tuple),
)


def test_the_example_of_the_specification_is_read() -> None:
    checkpoint = parse_checkpoint(EXAMPLE)

    assert checkpoint.origin == "example.com/behind-the-sofa"
    assert checkpoint.size == 20852163
    assert checkpoint.root.hex().startswith("0ac5186a91863e8e")
    assert checkpoint.extensions == ()
    assert checkpoint.text() == EXAMPLE


def test_golden_checkpoint() -> None:
    tree = Frontier()
    tree.extend([leaf_hash(bytes([index])) for index in range(13)])
    origin = f"lotmark.invalid/plant.example/{'ab' * 32}"

    checkpoint = Checkpoint(origin, tree.size, tree.root())

    assert checkpoint.text().encode() == GOLDEN.read_bytes()


def test_extension_lines_of_other_logs_are_kept() -> None:
    assert parse_checkpoint(f"{EXAMPLE}one\ntwo words\n").extensions == ("one", "two words")


@given(checkpoint=checkpoints)
def test_what_is_written_is_read_again(checkpoint: Checkpoint) -> None:
    assert parse_checkpoint(checkpoint.text()) == checkpoint


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("", "three or more lines"),
        ("a\n0\n", "three or more lines"),
        (f"a\n0\n{ROOT_TEXT}", "three or more lines"),
        (f"a\n0\n{ROOT_TEXT}\nextension", "each with a newline"),
        (f"\n0\n{ROOT_TEXT}\n", "is empty"),
        (f"a\n0\n{ROOT_TEXT}\n\n", "is empty"),
        (f"a\n0\n{ROOT_TEXT}\n\nb\n", "is empty"),
        (f"a\n\n{ROOT_TEXT}\n", "decimal"),
        (f"a\n01\n{ROOT_TEXT}\n", "decimal"),
        (f"a\n-1\n{ROOT_TEXT}\n", "decimal"),
        (f"a\n+1\n{ROOT_TEXT}\n", "decimal"),
        (f"a\n1 \n{ROOT_TEXT}\n", "decimal"),
        (f"a\n1_0\n{ROOT_TEXT}\n", "decimal"),
        (f"a\n\u0661\n{ROOT_TEXT}\n", "decimal"),
        (f"a\n{2**64}\n{ROOT_TEXT}\n", "above"),
        (f"a\n{'9' * 5000}\n{ROOT_TEXT}\n", "decimal"),
        ("a\n0\n\n", "0 bytes"),
        ("a\n0\nAAAA\n", "3 bytes"),
        (f"a\n0\n{ROOT_TEXT[:-1]}\n", "base64"),
        (f"a\n0\n {ROOT_TEXT}\n", "base64"),
        (f"a\n0\n{ROOT_TEXT[:-2]}J=\n", "one base64 text"),
        (f"a\n0\n{ROOT_TEXT.replace('/', '_')}\n", "base64"),
        (f"a\tb\n0\n{ROOT_TEXT}\n", r"U\+0009"),
        (f"a\n0\n{ROOT_TEXT}\nb\r\n", r"U\+000D"),
        (f"\ud800\n0\n{ROOT_TEXT}\n", "surrogate"),
    ],
)
def test_malformed_checkpoints_are_refused(bad: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        parse_checkpoint(bad)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions", "reason"),
    [
        ("", 0, EMPTY_ROOT, (), "is empty"),
        ("a\nb", 0, EMPTY_ROOT, (), "several"),
        ("a", 0, EMPTY_ROOT, ("",), "is empty"),
        ("a", -1, EMPTY_ROOT, (), "size -1"),
        ("a", 2**64, EMPTY_ROOT, (), "size 18446744073709551616"),
        ("a", 0, EMPTY_ROOT[:31], (), "31 bytes"),
    ],
)
def test_a_checkpoint_that_could_not_be_read_again_is_refused(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(MalformedError, match=reason):
        Checkpoint(origin, size, root, extensions)


@given(note_text=text(max_size=100))
def test_any_string_is_a_checkpoint_or_malformed(note_text: str) -> None:
    parse_or_refuse(note_text)


@given(
    checkpoint=checkpoints,
    at=integers(min_value=0),
    change=text(max_size=2) | sampled_from(["\n", "0", "=", " ", "\ud800"]),
    cut=integers(0, 3),
)
def test_changed_checkpoints_are_checkpoints_or_malformed(
    checkpoint: Checkpoint, at: int, change: str, cut: int
) -> None:
    whole = checkpoint.text()
    at %= len(whole) + 1

    parse_or_refuse(whole[:at] + change + whole[at + cut :])


def parse_or_refuse(note_text: str) -> None:
    try:
        checkpoint = parse_checkpoint(note_text)
    except MalformedError:
        return
    assert checkpoint.text() == note_text
