"""What is left of the journal after torn writes, flipped bits, missing files and kill -9."""

import logging
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from random import Random, SystemRandom

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark_consensus.errors import JournalCorrupt, JournalFull
from lotmark_consensus.journal import Journal
from lotmark_consensus.ordering import Ordered
from lotmark_consensus.segment import HEAD_SIZE, HEADER_SIZE, encode_records
from tests.consensus.test_refusing_disk import file_size_limit

CHAIN_ID = bytes(range(32))
SEGMENT_SIZE_MAX = 480  # so that the first append fills a segment and the others share the last
APPENDS = [[b"one" * 100], [b"two", b"three"], [b"4" * 40], [b"5" * 20], [b"six", b"", b"eight"]]
KILL_ROUNDS = 25
KILL_COPIES_MAX = 50_000  # of 8 bytes in a block


def opened(folder: Path) -> Journal:
    return Journal(folder, CHAIN_ID, segment_size_max=SEGMENT_SIZE_MAX)


def last_segment(folder: Path) -> Path:
    return max(folder.glob("*.segment"))


def append_all(folder: Path, appends: list[list[bytes]]) -> tuple[list[Ordered], list[int]]:
    """Return what was appended, and where the last segment ended after each append (0: before)."""
    written: list[Ordered] = []
    ends: list[tuple[Path, int]] = []
    with closing(opened(folder)) as journal:
        for blocks in appends:
            first_index = len(written) + 1
            added = [
                Ordered(index=index, term=1, time_ms=index, block=block)
                for index, block in enumerate(blocks, first_index)
            ]
            journal.append_many(added)
            written += added
            ends.append((last_segment(folder), last_segment(folder).stat().st_size))
    return written, [size if path == last_segment(folder) else 0 for path, size in ends]


def acknowledged_by(ends: list[int], appends: list[list[bytes]], size: int) -> int:
    """Return the last index whose append had ended when the last segment had `size` bytes."""
    return sum(len(blocks) for blocks, end in zip(appends, ends, strict=True) if end <= size)


def test_a_cut_at_every_byte_of_the_last_segment_keeps_all_that_was_fsynced_before_it(
    tmp_path: Path,
) -> None:
    written, ends = append_all(tmp_path / "whole", APPENDS)
    assert ends[0] == 0, "the first append must stand in an earlier segment"
    whole_size = last_segment(tmp_path / "whole").stat().st_size
    for size in range(HEADER_SIZE, whole_size + 1):
        folder = tmp_path / str(size)
        shutil.copytree(tmp_path / "whole", folder)
        with last_segment(folder).open("r+b") as file:
            file.truncate(size)

        with closing(opened(folder)) as journal:
            found = list(journal.read(1))
            assert found == written[: len(found)]
            assert len(found) >= acknowledged_by(ends, APPENDS, size)
            following = Ordered(index=len(found) + 1, term=2, time_ms=9, block=b"after the crash")
            journal.append_many([following])
        with closing(opened(folder)) as journal:
            assert journal.torn_tail is None
            assert list(journal.read(1)) == [*found, following]


def test_a_segment_shorter_than_its_header_is_damage_because_its_name_came_after(
    tmp_path: Path,
) -> None:
    append_all(tmp_path, APPENDS)
    with last_segment(tmp_path).open("r+b") as file:
        file.truncate(HEADER_SIZE - 1)

    with pytest.raises(JournalCorrupt, match="the header is damaged"):
        opened(tmp_path)


def test_a_flipped_bit_in_any_byte_is_found_and_costs_at_most_the_last_append(
    tmp_path: Path,
) -> None:
    written, ends = append_all(tmp_path / "whole", APPENDS)
    folder = tmp_path / "flipped"
    shutil.copytree(tmp_path / "whole", folder)
    for path in sorted(folder.glob("*.segment")):
        content = path.read_bytes()
        for offset in range(len(content)):
            flipped = bytearray(content)
            flipped[offset] ^= 1 << offset % 8
            path.write_bytes(flipped)
            if path == last_segment(folder) and offset >= ends[-2]:
                with closing(opened(folder)) as journal:
                    assert journal.torn_tail is not None
                    assert journal.torn_tail.offset <= offset
                    assert list(journal.read(1)) == written[: journal.torn_tail.index - 1]
                    assert journal.torn_tail.index > acknowledged_by(ends, APPENDS, ends[-2])
            else:
                with pytest.raises(JournalCorrupt) as damage, closing(opened(folder)) as journal:
                    journal.scrub()
                assert damage.value.path == path
                assert damage.value.offset <= offset
            path.write_bytes(content)


@settings(deadline=None, max_examples=150)
@given(
    blocks=st.lists(st.binary(max_size=80), min_size=1, max_size=5),
    lost=st.sets(st.integers(0, 40)),
    page_size=st.sampled_from([8, 16, 64]),
)
def test_an_unacknowledged_append_of_which_any_pages_were_lost_never_stops_the_start(
    blocks: list[bytes], lost: set[int], page_size: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written, ends = append_all(folder, [[b"acknowledged", b"too"], blocks])
        path = last_segment(folder)
        start = ends[0] or HEADER_SIZE
        content = bytearray(path.read_bytes())
        for page in lost:
            begin = start + page * page_size
            end = min(begin + page_size, len(content))
            content[begin:end] = bytes(max(end - begin, 0))
        path.write_bytes(content)

        with closing(opened(folder)) as journal:
            found = list(journal.read(1))

        assert found == written[: len(found)]
        assert len(found) >= 2


def copies(folder: Path) -> list[Path]:
    """Return what was kept of torn tails, oldest first."""
    return sorted(folder.glob("*.torn-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def test_a_tail_of_zeros_is_cut_off(tmp_path: Path) -> None:
    written, _ = append_all(tmp_path, APPENDS)
    size = last_segment(tmp_path).stat().st_size
    with last_segment(tmp_path).open("ab") as file:
        file.write(bytes(100_000))

    with closing(opened(tmp_path)) as journal:
        assert list(journal.read(1)) == written
    assert last_segment(tmp_path).stat().st_size == size
    assert copies(tmp_path) == [], "zeros were never written by anybody"


def test_a_torn_append_is_reported_by_place_and_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, ends = append_all(tmp_path, APPENDS)
    with last_segment(tmp_path).open("r+b") as file:
        file.truncate(ends[-1] - 1)

    with caplog.at_level(logging.WARNING), closing(opened(tmp_path)) as journal:
        torn = journal.torn_tail

    assert torn is not None
    assert torn.path == last_segment(tmp_path)
    assert (torn.index, torn.size) == (8, HEAD_SIZE + len(b"eight") - 1)
    assert [entry.message for entry in caplog.records] == ["torn append cut off the journal"]


def test_a_bit_that_flipped_in_the_last_acknowledged_record_costs_no_byte_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, ends = append_all(tmp_path, APPENDS)
    path = last_segment(tmp_path)
    content = bytearray(path.read_bytes())
    content[ends[-2]] ^= 1
    path.write_bytes(content)

    with caplog.at_level(logging.WARNING), closing(opened(tmp_path)) as journal:
        torn = journal.torn_tail

    assert torn is not None
    assert torn.kept_in == path.with_name(f"{path.name}.torn-{ends[-2]}-1")
    assert path.read_bytes() + torn.kept_in.read_bytes() == content
    assert torn.kept_in.stat().st_mode & 0o777 == 0o600
    assert caplog.records[0].__dict__["kept_in"] == str(torn.kept_in)
    with closing(opened(tmp_path)) as journal:
        assert journal.torn_tail is None
    assert copies(tmp_path) == [torn.kept_in]


def test_the_newest_four_torn_tails_are_kept_also_where_one_place_was_torn_again(
    tmp_path: Path,
) -> None:
    append_all(tmp_path, APPENDS)
    offset = last_segment(tmp_path).stat().st_size
    for number in range(6):
        with last_segment(tmp_path).open("ab") as file:
            file.write(b"torn %d" % number)
        opened(tmp_path).close()

    assert [path.read_bytes() for path in copies(tmp_path)] == [
        b"torn 2",
        b"torn 3",
        b"torn 4",
        b"torn 5",
    ]
    assert {path.name.split("-")[1] for path in copies(tmp_path)} == {str(offset)}


def test_nothing_is_cut_off_while_there_is_no_room_for_its_copy(tmp_path: Path) -> None:
    append_all(tmp_path, APPENDS)
    path = last_segment(tmp_path)
    with path.open("ab") as file:
        file.write(b"x" * 20_000)
    content = path.read_bytes()

    with file_size_limit(10_000), pytest.raises(JournalFull, match="no room for 20000 bytes"):
        opened(tmp_path)

    assert path.read_bytes() == content
    assert copies(tmp_path) == []
    with closing(opened(tmp_path)) as journal:
        assert journal.torn_tail is not None
    assert [copy.stat().st_size for copy in copies(tmp_path)] == [20_000]


def test_damage_before_a_later_append_names_file_offset_and_index(tmp_path: Path) -> None:
    _, ends = append_all(tmp_path, APPENDS)
    path = last_segment(tmp_path)
    content = bytearray(path.read_bytes())
    content[ends[2] + 3] ^= 0xFF  # the length of index 5
    path.write_bytes(content)

    with pytest.raises(JournalCorrupt) as damage:
        opened(tmp_path)

    assert (damage.value.path, damage.value.offset, damage.value.index) == (path, ends[2], 5)
    assert path.read_bytes() == content, "a damaged file is left as it was found"


def test_a_block_that_looks_like_a_later_record_does_not_turn_a_torn_append_into_damage(
    tmp_path: Path,
) -> None:
    forged = Ordered(index=99, term=1, time_ms=1, block=b"forged")
    forgery = b"".join(encode_records([forged], marker=bytes(8), durable_index=98))
    written, ends = append_all(tmp_path, [[b"acknowledged"], [forgery]])
    path = last_segment(tmp_path)
    content = bytearray(path.read_bytes())
    content[ends[0]] ^= 1
    path.write_bytes(content)

    with closing(opened(tmp_path)) as journal:
        assert list(journal.read(1)) == written[:1]


def test_a_whole_record_of_another_file_is_not_taken_for_one_of_this(tmp_path: Path) -> None:
    written, ends = append_all(tmp_path, [[b"first"], [b"second"]])
    foreign = b"".join(encode_records([written[1]], marker=bytes(8), durable_index=1))
    path = last_segment(tmp_path)
    path.write_bytes(path.read_bytes()[: ends[0]] + foreign)

    with closing(opened(tmp_path)) as journal:
        assert journal.torn_tail is not None
        assert list(journal.read(1)) == written[:1]


def test_a_missing_segment_is_damage_and_not_a_gap(tmp_path: Path) -> None:
    append_all(tmp_path, [[bytes(200)], [bytes(200)], [bytes(200)]])
    (tmp_path / f"{2:020d}.segment").unlink()

    with closing(opened(tmp_path)) as journal:
        with pytest.raises(JournalCorrupt, match="index 2: the file ends before index 2"):
            journal.scrub()
        with pytest.raises(JournalCorrupt):
            list(journal.read(2))


def test_bytes_behind_the_records_of_an_earlier_segment_are_damage(tmp_path: Path) -> None:
    append_all(tmp_path, [[bytes(200)], [bytes(200)]])
    with (tmp_path / f"{1:020d}.segment").open("ab") as file:
        file.write(b"\x00")

    with closing(opened(tmp_path)) as journal, pytest.raises(JournalCorrupt):
        journal.scrub()


def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    seed = SystemRandom().randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    chance = Random(seed)  # noqa: S311 - when to kill is no secret
    script = Path(__file__).with_name("journal_appender.py")
    arguments = [str(tmp_path), CHAIN_ID.hex(), str(KILL_COPIES_MAX)]
    checked_index = 0
    for _ in range(KILL_ROUNDS):
        with subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, str(script), *arguments], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            for _ in range(chance.randint(1, 12)):
                child.stdout.readline()
            child.kill()
            # A line that the kill cut short acknowledges nothing.
            *acknowledged, _ = child.stdout.read().split(b"\n")
        with closing(Journal(tmp_path, CHAIN_ID)) as journal:
            if acknowledged:
                assert journal.last_index >= int(acknowledged[-1])
            found = list(journal.read(checked_index + 1))
            assert [record.index for record in found] == list(
                range(checked_index + 1, journal.last_index + 1)
            )
            for record in found:
                copies = record.index * 7919 % KILL_COPIES_MAX  # as the child chose them
                assert record.block == record.index.to_bytes(8) * copies
            assert journal.last_index > checked_index
            checked_index = journal.last_index
            journal.prune(checked_index)
