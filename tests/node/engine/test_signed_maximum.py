"""The signed maximum outlives a torn write and refuses to go back."""

import hashlib
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark_node.engine.errors import Regression, StoreCorrupt
from lotmark_node.engine.signed_maximum import SignedMaximum

SLOT_SIZE = 512


def root(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8)).digest()


def raised(path: Path, *sizes: int) -> None:
    with closing(SignedMaximum(path)) as maximum:
        for size in sizes:
            maximum.raise_to(size, root(size))


def read(path: Path) -> tuple[int, bytes]:
    with closing(SignedMaximum(path)) as maximum:
        return maximum.size, maximum.root


def test_a_new_file_has_signed_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "maximum") == (0, bytes(32))
    assert read(tmp_path / "maximum") == (0, bytes(32)), "opening alone changes nothing"


@pytest.mark.parametrize("count", range(1, 6))
def test_the_newest_size_is_read_back(tmp_path: Path, count: int) -> None:
    raised(tmp_path / "maximum", *range(10, 10 + count))

    assert read(tmp_path / "maximum") == (9 + count, root(9 + count))


def test_reopening_between_writes_keeps_the_slots_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "maximum"
    for size in range(5, 12):
        raised(path, size)
        assert read(path)[0] == size
        slots = path.read_bytes()
        assert slots.count(root(size)) == 1
        if size > 5:
            assert root(size - 1) in slots, "the slot before the newest is still there"


def test_writes_of_one_session_take_the_slots_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "maximum"
    raised(path, 5, 6, 7, 8)

    slots = path.read_bytes()

    assert (root(7) in slots, root(8) in slots) == (True, True)


def test_the_same_tree_may_be_signed_again_and_nothing_less(tmp_path: Path) -> None:
    with closing(SignedMaximum(tmp_path / "maximum")) as maximum:
        maximum.raise_to(7, root(7))
        maximum.raise_to(7, root(7))
        with pytest.raises(Regression, match="size 7, but size 7 was signed"):
            maximum.raise_to(7, root(8))
        with pytest.raises(Regression, match="size 6, but size 7 was signed"):
            maximum.raise_to(6, root(6))
        assert (maximum.size, maximum.root) == (7, root(7))
    assert read(tmp_path / "maximum") == (7, root(7))


@given(torn_size=st.integers(0, 44), filler=st.sampled_from([b"\0", b"\xff", b"\x5a"]))
def test_a_torn_write_leaves_what_was_signed_before(
    tmp_path_factory: pytest.TempPathFactory, torn_size: int, filler: bytes
) -> None:
    path = tmp_path_factory.mktemp("torn") / "maximum"
    raised(path, 5, 6)
    whole = path.read_bytes()
    raised(path, 7)
    newest = path.read_bytes()
    at = next(at for at in (0, SLOT_SIZE) if whole[at : at + 44] != newest[at : at + 44])
    torn = newest[at : at + torn_size] + filler * (SLOT_SIZE - torn_size)
    path.write_bytes(newest[:at] + torn + newest[at + SLOT_SIZE :])

    expected = 7 if torn_size == 44 else 6
    assert read(path) == (expected, root(expected))
    raised(path, 8)
    assert read(path) == (8, root(8)), "the next write goes over the torn slot"


@given(at=st.integers(0, 43), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_read_as_a_size(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("bit") / "maximum"
    raised(path, 5, 6)
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1 << bit
    path.write_bytes(raw)

    assert read(path)[0] in {5, 6}


@pytest.mark.parametrize("raw", [b"\xff" * 1_024, b"x", bytes(1_024)])
def test_a_file_without_a_whole_slot_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "maximum"
    path.write_bytes(raw)

    with pytest.raises(StoreCorrupt, match="neither slot is whole"):
        SignedMaximum(path)


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    raised(tmp_path / "maximum", 1)

    assert (tmp_path / "maximum").stat().st_mode & 0o077 == 0
