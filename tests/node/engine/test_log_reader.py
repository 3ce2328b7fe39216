"""Reading the log: every entry by index and by id, and nothing beyond its end."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lotmark.block import parse_block
from lotmark.block_results import leaves, parse_results
from lotmark.entry import EntryKind, parse_close
from lotmark.merkle import leaf_hash
from lotmark.outcome import CONSUMES_NUMBER_FROM, Outcome
from lotmark_node.engine.errors import NotOnLedger
from lotmark_node.engine.log_reader import kind_of
from tests.node.engine.stored_ledger import StoredLedger
from tests.node.ledger_in_memory import (
    LedgerInMemory,
    measurement,
    measurements,
    transformation,
)
from tests.node.state_machine.random_history import history

BLOCKS = 30
WHOLE = history(0, BLOCKS)
ERP, MES, CAMERA = "OEM-A/erp", "T1-STATOR/mes", "T1-STATOR/aoi-cam07"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoredLedger]:
    with closing(StoredLedger(tmp_path_factory.mktemp("store") / "ledger", WHOLE)) as made:
        made.grow(BLOCKS)
        yield made


def stored_copy(folder: Path, ledger: LedgerInMemory) -> StoredLedger:
    made = StoredLedger(folder, ledger)
    made.grow(ledger.height)
    return made


def test_every_entry_is_read_with_its_event_and_batch(stored: StoredLedger) -> None:
    expected = [
        (data, event)
        for raw, results in WHOLE.blocks
        for data, event in leaves(parse_block(raw).batches, parse_results(results))
    ]
    entries = list(stored.reader.entries(2, WHOLE.size))

    assert [(entry.leaf_data, entry.event) for entry in entries] == expected
    assert [entry.index for entry in entries] == list(range(2, WHOLE.size))
    for entry in entries:
        owned = kind_of(entry) in {EntryKind.EVENT, EntryKind.BATCH, EntryKind.EQUIVOCATION}
        assert (entry.batch is not None) == owned
        if kind_of(entry) == EntryKind.EVENT:
            assert entry.batch is not None
            assert entry.event in entry.batch.events
            assert leaf_hash(entry.event) == entry.leaf_data[-32:]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_ranges_of_any_size_join_to_the_whole_log(stored: StoredLedger, size: int) -> None:
    joined = [
        entry.leaf_data
        for first in range(0, WHOLE.size, size)
        for entry in stored.reader.entries(first, min(first + size, WHOLE.size))
    ]
    assert joined == WHOLE.leaf_data


def test_an_empty_range_is_empty_wherever_it_stands(stored: StoredLedger) -> None:
    for index in (0, 1, 2, 40, WHOLE.size, WHOLE.size + 9):
        assert list(stored.reader.entries(index, index)) == []


@pytest.mark.parametrize("beyond", [0, 1, 5, 1_000_000, 2**63])
def test_an_entry_beyond_the_end_is_not_on_the_ledger(stored: StoredLedger, beyond: int) -> None:
    with pytest.raises(NotOnLedger, match=f"entry {WHOLE.size + beyond} is not on the ledger"):
        stored.reader.entry(WHOLE.size + beyond)
    with pytest.raises(NotOnLedger):
        list(stored.reader.entries(WHOLE.size - 1, WHOLE.size + 1))


@pytest.mark.parametrize("index", [2, 3, 100])
def test_a_ledger_that_is_only_founded_has_two_entries(tmp_path: Path, index: int) -> None:
    ledger = LedgerInMemory()
    with closing(StoredLedger(tmp_path / "ledger", ledger)) as founded:
        assert [entry.leaf_data for entry in founded.reader.entries(0, 2)] == ledger.leaf_data
        with pytest.raises(NotOnLedger):
            founded.reader.entry(index)


def test_the_close_of_every_height_is_found(stored: StoredLedger) -> None:
    for height in range(BLOCKS + 1):
        entry = stored.reader.close_entry(height)
        assert entry.index == WHOLE.sizes[height] - 1
        assert parse_close(entry.leaf_data[-226:]).height == height
    with pytest.raises(NotOnLedger):
        stored.reader.close_entry(BLOCKS + 1)


def test_every_batch_that_took_its_number_is_found_as_it_was_the_first_time(
    stored: StoredLedger,
) -> None:
    for height in range(1, BLOCKS + 1):
        for placed in stored.reader.placed_batches(height):
            outcome = placed.result.outcome
            found = stored.reader.find_batch(placed.batch.batch_id)
            if not outcome or outcome >= CONSUMES_NUMBER_FROM:
                assert found is not None
                assert (found.index, found.height) == (placed.index, height)
                assert found.result == placed.result
            elif outcome == Outcome.BATCH_DUPLICATE:
                assert found is not None
                assert found.index < placed.index
    assert stored.reader.find_batch(bytes(32)) is None


def test_of_equal_events_the_accepted_one_is_found(tmp_path: Path) -> None:
    ledger = LedgerInMemory()
    made = measurement(1)
    refused = ledger.batch(CAMERA, [made], chain_id=bytes(32))
    ledger.block([refused, ledger.batch(MES, [measurement(5), made])])
    accepted = ledger.size - 2
    ledger.block([ledger.batch(ERP, [made, made]), ledger.batch(CAMERA, [made])])

    with closing(stored_copy(tmp_path / "ledger", ledger)) as stored:
        assert stored.reader.find_event(leaf_hash(made)).index == accepted


def test_an_event_that_was_refused_first_is_found_where_it_was_accepted(tmp_path: Path) -> None:
    ledger = LedgerInMemory()
    made = transformation("p", ["a"], ["b"])
    ledger.block([ledger.batch(CAMERA, [made])])
    refused = ledger.size - 2
    with closing(stored_copy(tmp_path / "before", ledger)) as stored:
        assert stored.reader.find_event(leaf_hash(made)).index == refused
    ledger.block([ledger.batch(CAMERA, [made]), ledger.batch(MES, [made])])
    accepted = ledger.size - 2
    ledger.block([ledger.batch(CAMERA, [made])])

    with closing(stored_copy(tmp_path / "after", ledger)) as stored:
        assert stored.reader.find_event(leaf_hash(made)).index == accepted


def test_an_event_id_that_shares_only_its_beginning_is_not_found(stored: StoredLedger) -> None:
    ledger = WHOLE
    known = next(data[-32:] for data in ledger.leaf_data if data[len(b"lotmark/entry/v1\n")] == 1)
    assert stored.reader.find_event(known).leaf_data[-32:] == known
    for other in (known[:-1] + bytes([known[-1] ^ 1]), known[:16] + bytes(16), bytes(32), b""):
        with pytest.raises(NotOnLedger):
            stored.reader.find_event(other)


def test_more_blocks_than_the_cache_holds_are_read_right(tmp_path: Path) -> None:
    ledger = LedgerInMemory()
    for number in range(20):
        ledger.block([ledger.batch(ERP, measurements(number * 10, 3))])
    with closing(stored_copy(tmp_path / "ledger", ledger)) as stored:
        for _ in range(2):
            for index in (*range(ledger.size), *reversed(range(ledger.size))):
                assert stored.reader.entry(index).leaf_data == ledger.leaf_data[index]


def test_the_first_entry_of_a_time_is_that_of_its_first_block(stored: StoredLedger) -> None:
    reader, height = stored.reader, stored.whole.height
    closes = [reader.block(at)[1] for at in range(1, height + 1)]
    times = {each.close.time_ms for each in closes}

    for time_ms in {after + more for after in times for more in (-1, 0, 1)}:
        later = [each.first_index for each in closes if each.close.time_ms >= time_ms]
        expected = later[0] if later else closes[-1].close_index + 1
        assert reader.first_index_from(time_ms, height=height) == expected
    assert len(times) > 3
    assert reader.first_index_from(0, height=0) == 2
