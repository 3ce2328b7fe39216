"""A scrub of a voter among several holds its ledger against the log that it shares with others."""

import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from lotmark.block import parse_block
from lotmark_consensus.errors import JournalCorrupt
from lotmark_consensus.raft.journal import RaftJournal
from lotmark_consensus.raft.log_entry import EntryKind, LogEntry, encode_command
from lotmark_consensus.raft.rocks_log import RocksLogStore
from lotmark_node.engine.errors import Regression, StoreCorrupt
from lotmark_node.engine.scrub import ScrubReport, scrub
from tests.node.engine.stored_ledger import StoredLedger
from tests.node.engine.test_scrub import BLOCKS, U64, WHOLE, Vandal, flipped, sign, steps

PLACE = b"o"  # of the index rows that tell where a block stands in the order
NO_OP = LogEntry(EntryKind.NO_OP, 0, b"")


def write_log(
    data: Path, last: int, *, first: int = 1, changed: Mapping[int, LogEntry] | None = None
) -> None:
    """Write the blocks at their heights, but for those that are changed, and forget the first."""
    store = RocksLogStore(data / "journal", WHOLE.chain_id)
    with closing(store):
        journal = RaftJournal(store)
        journal.setCurrentTerm(1, "OEM-A/n1")
        for index in range(1, last + 1):
            entry = (changed or {}).get(index) or block_at(index)
            journal.add(encode_command(entry), index, 1)
        write(store, journal)
        journal.prune(first)
        if first > 1:
            write(store, journal)


def write(store: RocksLogStore, journal: RaftJournal) -> None:
    writes = journal.take_writes()
    assert writes is not None
    store.write(writes)
    journal.written(writes)


def block_at(index: int) -> LogEntry:
    raw = WHOLE.blocks[index - 1][0]
    return LogEntry(EntryKind.BLOCK, parse_block(raw).proposal.time_ms, raw)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("voter") / "data"
    data.mkdir()
    write_log(data, BLOCKS + 1, changed={BLOCKS + 1: NO_OP})
    with closing(StoredLedger(data / "ledger", WHOLE)) as stored:
        stored.grow(BLOCKS)
    sign(data, WHOLE.size, WHOLE.root())
    return data


@pytest.fixture
def data(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "data")
    return tmp_path / "data"


def scrubbed(data: Path) -> ScrubReport:
    return scrub(data, WHOLE.genesis, steps, is_shared=True)


def damage(data: Path) -> str:
    with pytest.raises(StoreCorrupt) as raised:
        scrubbed(data)
    return str(raised.value).removeprefix(f"{data / 'ledger'}: ")


def test_a_sound_voter_is_sound_and_what_the_order_needs_for_itself_is_no_block(
    data: Path,
) -> None:
    report = scrubbed(data)

    assert (report.journal_first_index, report.journal_last_index) == (1, BLOCKS + 1)
    assert (report.height, report.size, report.waiting_count) == (BLOCKS, WHOLE.size, 1)
    assert scrubbed(data) == report, "a scrub changes nothing"


def test_a_block_that_the_log_holds_otherwise_is_found(data: Path) -> None:
    shutil.rmtree(data / "journal")
    raw = block_at(17).payload
    write_log(data, BLOCKS, changed={17: LogEntry(EntryKind.BLOCK, 1, flipped(raw, 200))})

    assert damage(data).startswith("block 17 is not the block that the journal holds")


def test_a_block_where_the_log_has_none_is_found(data: Path) -> None:
    shutil.rmtree(data / "journal")
    write_log(data, BLOCKS, changed={17: NO_OP})

    assert damage(data).startswith("block 17 stands at place 17, where it was not ordered")


def test_a_log_that_a_pointer_cut_short_begins_with_no_block(data: Path) -> None:
    shutil.rmtree(data / "journal")
    write_log(data, BLOCKS, first=100, changed={100: NO_OP})
    report = scrubbed(data)

    assert (report.journal_first_index, report.waiting_count) == (100, 0)


def test_a_place_that_does_not_ascend_is_found(data: Path) -> None:
    with closing(Vandal(data / "ledger", WHOLE.chain_id)) as store:
        key = PLACE + U64.pack(9)
        store.change("index", key, U64.pack(0) + store.read("index", key)[8:])

    assert "block 9" in damage(data)


def test_a_pruned_voter_is_not_told_to_restore_an_older_copy(data: Path) -> None:
    shutil.rmtree(data / "journal")
    write_log(data, BLOCKS, first=100)
    with closing(Vandal(data / "ledger", WHOLE.chain_id)) as store:
        store.remove("results", U64.pack(4))

    found = damage(data)

    assert "no older copy of a voter may start" in found
    assert found.endswith("go on without this one, whose place no other can take yet")


def test_a_log_behind_the_ledger_is_an_older_copy(data: Path) -> None:
    shutil.rmtree(data / "journal")
    write_log(data, BLOCKS - 1)

    with pytest.raises(Regression, match="older copy, and no older copy of a voter may start"):
        scrubbed(data)


def test_a_damaged_log_is_found_and_its_remedy_is_a_voters(data: Path) -> None:
    files = [path for path in (data / "journal").iterdir() if path.suffix in (".sst", ".blob")]
    damaged = max(files, key=lambda path: path.stat().st_size)
    raw = damaged.read_bytes()
    damaged.write_bytes(flipped(raw, len(raw) // 2))

    with pytest.raises(JournalCorrupt, match="whose place no other can take yet"):
        scrubbed(data)
