"""What the journal keeps over closing, pruning and reopening, and whom it lets in."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark_consensus.errors import (
    ForeignJournal,
    IndexPruned,
    JournalCorrupt,
    JournalFailed,
    JournalLocked,
)
from lotmark_consensus.journal import Journal
from lotmark_consensus.ordering import BLOCK_SIZE_MAX, Ordered
from lotmark_consensus.segment import HEAD_SIZE, HEADER_SIZE

CHAIN_ID = bytes(range(32))
APPENDER = Path(__file__).with_name("journal_appender.py")

# Chain id 00..1f, first index 1, marker a0..a7; blocks "alpha", "" and 00 ff 00 at terms 1, 1, 2
# and times 1000, 2000, 3000; the last two written by one append.
GOLDEN_HEADER = (
    "4c4f544d41524b4a 00000001"
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    "0000000000000001 a0a1a2a3a4a5a6a7 fddd2f6f"
)
GOLDEN_RECORDS = (
    "0000002d 63aaba2f a0a1a2a3a4a5a6a7 0000000000000001 0000000000000000"
    "0000000000000001 00000000000003e8 616c706861"
    "00000028 29a1cc6c a0a1a2a3a4a5a6a7 0000000000000002 0000000000000001"
    "0000000000000001 00000000000007d0"
    "0000002b a67f0031 a0a1a2a3a4a5a6a7 0000000000000003 0000000000000001"
    "0000000000000002 0000000000000bb8 00ff00"
)


def record(index: int, block: bytes) -> Ordered:
    return Ordered(index=index, term=1 + index // 3, time_ms=index * 1000, block=block)


def records(first_index: int, blocks: list[bytes]) -> list[Ordered]:
    return [record(index, block) for index, block in enumerate(blocks, first_index)]


APPEND = st.lists(st.binary(max_size=60), min_size=1, max_size=4)
STEPS = st.lists(st.one_of(APPEND, st.just("reopen"), st.floats(0, 1)), max_size=25)


@settings(deadline=None, max_examples=40)
@given(steps=STEPS)
def test_what_was_appended_is_read_back_over_reopening_and_pruning(
    steps: list[list[bytes] | str | float],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "journal"
        journal = Journal(folder, CHAIN_ID, segment_size_max=300)
        expected: list[Ordered] = []
        for step in steps:
            if isinstance(step, list):
                added = records(len(expected) + 1, step)
                journal.append_many(added)
                expected += added
            elif isinstance(step, float):
                below_index = round(step * (len(expected) + 2))
                lowest_index = max(below_index, journal.first_index)
                journal.prune(below_index)
                assert journal.first_index <= lowest_index
            else:
                journal.close()
                journal = Journal(folder, CHAIN_ID, segment_size_max=300)
                assert journal.torn_tail is None

            assert journal.last_index == len(expected)
            for from_index in range(journal.first_index, len(expected) + 2):
                assert list(journal.read(from_index)) == expected[from_index - 1 :]
            journal.scrub()
        journal.close()


def test_golden_bytes_are_read_as_these_records(tmp_path: Path) -> None:
    (tmp_path / f"{1:020d}.segment").write_bytes(bytes.fromhex(GOLDEN_HEADER + GOLDEN_RECORDS))

    journal = Journal(tmp_path, CHAIN_ID)

    assert [(r.index, r.term, r.time_ms, r.block) for r in journal.read(1)] == [
        (1, 1, 1000, b"alpha"),
        (2, 1, 2000, b""),
        (3, 2, 3000, b"\x00\xff\x00"),
    ]
    journal.close()


def test_these_records_are_written_as_golden_bytes(tmp_path: Path) -> None:
    path = tmp_path / f"{1:020d}.segment"
    path.write_bytes(bytes.fromhex(GOLDEN_HEADER))
    journal = Journal(tmp_path, CHAIN_ID)

    journal.append_many(records(1, [b"alpha"]))
    journal.append_many(records(2, [b"", b"\x00\xff\x00"]))

    assert path.read_bytes() == bytes.fromhex(GOLDEN_HEADER + GOLDEN_RECORDS)
    journal.close()


def test_a_new_segment_is_begun_at_the_bound_and_named_by_its_first_index(tmp_path: Path) -> None:
    journal = Journal(tmp_path, CHAIN_ID, segment_size_max=HEADER_SIZE + 2 * (HEAD_SIZE + 10))

    for index in range(1, 6):
        journal.append_many([record(index, bytes(10))])

    names = sorted(path.name for path in tmp_path.glob("*.segment"))
    assert names == [f"{first:020d}.segment" for first in (1, 3, 5)]
    journal.close()


def test_the_largest_block_fits_and_one_append_may_exceed_a_segment(tmp_path: Path) -> None:
    blocks = [b"\x01" * BLOCK_SIZE_MAX, b"\x02" * BLOCK_SIZE_MAX]
    journal = Journal(tmp_path, CHAIN_ID, segment_size_max=1000)

    journal.append_many(records(1, blocks))
    journal.close()

    journal = Journal(tmp_path, CHAIN_ID)
    assert [found.block for found in journal.read(1)] == blocks
    journal.close()


def test_an_append_of_more_buffers_than_one_call_takes_is_whole(tmp_path: Path) -> None:
    added = records(1, [index.to_bytes(2) for index in range(3000)])
    journal = Journal(tmp_path, CHAIN_ID)

    journal.append_many(added)

    assert journal.fsyncs == 1
    assert list(journal.read(1)) == added
    journal.close()


def test_pruning_deletes_only_segments_wholly_below_and_never_the_last(tmp_path: Path) -> None:
    journal = Journal(tmp_path, CHAIN_ID, segment_size_max=HEADER_SIZE + 2 * (HEAD_SIZE + 10))
    for index in range(1, 7):
        journal.append_many([record(index, bytes(10))])

    journal.prune(4)
    assert journal.first_index == 3
    journal.prune(1000)
    assert journal.first_index == 5
    with pytest.raises(IndexPruned, match="index 4 is pruned, 5 is the first kept"):
        journal.read(4)
    assert [found.index for found in journal.read(5)] == [5, 6]
    journal.close()


def test_a_reader_that_pruning_overtakes_is_told_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path, CHAIN_ID, segment_size_max=HEADER_SIZE + HEAD_SIZE)
    for index in range(1, 5):
        journal.append_many([record(index, b"")])
    reading = journal.read(1)
    assert next(reading).index == 1

    journal.prune(4)

    with pytest.raises(IndexPruned, match="index 2 is pruned"):
        list(reading)
    journal.close()


def test_reading_ends_where_it_was_durable_when_it_began(tmp_path: Path) -> None:
    journal = Journal(tmp_path, CHAIN_ID)
    journal.append_many([record(1, b"one")])

    reading = journal.read(1)
    journal.append_many([record(2, b"two")])

    assert [found.index for found in reading] == [1]
    journal.close()


def test_opening_reads_only_the_last_segment(tmp_path: Path) -> None:
    journal = Journal(tmp_path, CHAIN_ID, segment_size_max=HEADER_SIZE + HEAD_SIZE)
    for index in range(1, 4):
        journal.append_many([record(index, b"")])
    journal.close()
    (tmp_path / f"{1:020d}.segment").write_bytes(b"not a segment")

    journal = Journal(tmp_path, CHAIN_ID)

    assert journal.last_index == 3
    with pytest.raises(JournalCorrupt):
        journal.scrub()
    journal.close()


def test_a_half_made_segment_is_removed_when_opening(tmp_path: Path) -> None:
    (tmp_path / f"{7:020d}.unfinished").write_bytes(b"LOTM")

    journal = Journal(tmp_path, CHAIN_ID)

    assert [path.name for path in tmp_path.glob("*.unfinished")] == []
    assert list(journal.read(1)) == []
    journal.close()


def test_a_folder_of_another_chain_is_refused_and_left_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, CHAIN_ID)
    journal.append_many([record(1, b"theirs")])
    journal.close()

    with pytest.raises(ForeignJournal, match=CHAIN_ID.hex()):
        Journal(tmp_path, bytes(32))

    journal = Journal(tmp_path, CHAIN_ID)
    assert [found.block for found in journal.read(1)] == [b"theirs"]
    journal.close()


def test_a_second_process_is_refused_by_name_until_the_first_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, str(APPENDER), str(tmp_path), CHAIN_ID.hex(), "10"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:  # noqa: S603 - our own file
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"

        with pytest.raises(JournalLocked, match=f"held by process {holder.pid}"):
            Journal(tmp_path, CHAIN_ID)

        holder.kill()
    journal = Journal(tmp_path, CHAIN_ID)
    assert journal.last_index >= 1
    journal.close()


def test_a_second_journal_in_the_same_process_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path, CHAIN_ID)

    with pytest.raises(JournalLocked):
        Journal(tmp_path, CHAIN_ID)

    journal.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(JournalFailed, match="file/journal: Not a directory"):
        Journal(tmp_path / "file" / "journal", CHAIN_ID)
