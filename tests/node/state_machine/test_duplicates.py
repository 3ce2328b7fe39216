"""What a ledger knows of batches and events that come a second time, and for how long."""

import pytest

from lotmark.batch import ZERO_HASH
from lotmark.entry import EntryKind, parse_leaf_data
from lotmark.outcome import Outcome
from lotmark_node.state_machine.tables import Table, parse_recent
from tests.node.ledger_in_memory import LedgerInMemory, consortium, measurement, measurements
from tests.node.state_machine.reading import batch_outcomes, counters, event_outcomes, rows

ERP, MES = "OEM-A/erp", "T1-STATOR/mes"


def evidence_entries(ledger: LedgerInMemory) -> list[tuple[int, bytes]]:
    """Return index and payload of every equivocation on the log."""
    parsed = [parse_leaf_data(data) for data in ledger.leaf_data]
    return [
        (head.index, payload) for head, payload in parsed if head.kind == EntryKind.EQUIVOCATION
    ]


def with_window(events: int) -> LedgerInMemory:
    return LedgerInMemory(consortium(duplicate_window_events=events))


@pytest.mark.parametrize("blocks_between", [None, 0, 1, 5])
def test_two_batches_under_one_number_are_laid_side_by_side_on_the_log(
    blocks_between: int | None,
) -> None:
    ledger = LedgerInMemory()
    first = ledger.batch(ERP, measurements(1, 2))
    second = ledger.batch(ERP, [measurement(9)], sequence=1, previous=ZERO_HASH)
    if blocks_between is None:
        effects = ledger.block([ledger.batch(MES, [measurement(5)]), first, second])
    else:
        ledger.block([ledger.batch(MES, [measurement(5)]), first])
        for _ in range(blocks_between):
            ledger.block([])
        effects = ledger.block([second])

    assert batch_outcomes(effects)[-1] == Outcome.SEQUENCE_REUSED
    first_index = 4  # after the genesis, its close, and a batch of one event
    payload = first_index.to_bytes(8) + first.signed_header + second.signed_header
    batch_index = ledger.size - 3
    assert evidence_entries(ledger) == [(batch_index + 1, payload)]
    head, on_record = parse_leaf_data(ledger.leaf_data[first_index])
    assert (head.kind, on_record) == (EntryKind.BATCH, first.signed_header)
    assert effects.results.close.equivocation_count == 1


def test_a_number_taken_by_a_refused_batch_gives_evidence_too() -> None:
    ledger = LedgerInMemory()
    refused = ledger.batch(ERP, [measurement(1)], schema=9)
    second = ledger.batch(ERP, [measurement(2)], sequence=1, previous=ZERO_HASH)

    effects = ledger.block([refused, second])

    assert batch_outcomes(effects) == [Outcome.SCHEMA_UNKNOWN, Outcome.SEQUENCE_REUSED]
    assert len(evidence_entries(ledger)) == 1


def test_the_same_batch_again_is_a_duplicate_without_evidence() -> None:
    ledger = LedgerInMemory()
    made = ledger.batch(ERP, [measurement(1)])

    in_one_block = ledger.block([made, made])
    in_the_next = ledger.block([made])

    assert batch_outcomes(in_one_block) == [Outcome.ACCEPTED, Outcome.BATCH_DUPLICATE]
    assert batch_outcomes(in_the_next) == [Outcome.BATCH_DUPLICATE]
    assert evidence_entries(ledger) == []
    assert counters(ledger, "OEM-A").batches == 1


def test_beyond_the_window_the_lane_s_newest_batch_alone_is_known() -> None:
    ledger = with_window(4)
    old, newest = (ledger.batch(ERP, [measurement(number)]) for number in (1, 2))
    ledger.block([old])
    ledger.block([newest])
    for number in range(10, 14):
        ledger.block([ledger.batch(MES, [measurement(number)])])
    other = ledger.batch(ERP, [measurement(9)], sequence=2, previous=old.batch_id)

    effects = ledger.block([old, newest, other])

    assert batch_outcomes(effects) == [
        Outcome.SEQUENCE_REUSED, Outcome.BATCH_DUPLICATE, Outcome.SEQUENCE_REUSED,
    ]  # fmt: skip
    assert evidence_entries(ledger) == []


def test_an_event_is_a_duplicate_within_the_window_and_accepted_beyond_it() -> None:
    ledger = with_window(4)

    def again() -> list[Outcome]:
        return event_outcomes(ledger.block([ledger.batch(MES, [measurement(1)])]))

    ledger.block([ledger.batch(ERP, [measurement(1)])])
    ledger.block([ledger.batch(ERP, [measurement(10)])])  # weighs 2, as every batch of one event
    assert again() == [Outcome.EVENT_DUPLICATE]  # weighs 1: the batch alone
    ledger.block([ledger.batch(ERP, [measurement(11)])])  # makes 5 after the first block

    assert again() == [Outcome.ACCEPTED]


def test_an_event_is_a_duplicate_in_one_batch_in_one_block_and_of_any_party() -> None:
    ledger = LedgerInMemory()
    effects = ledger.block(
        [ledger.batch(ERP, [measurement(1)] * 2), ledger.batch(MES, [measurement(1)])]
    )
    assert event_outcomes(effects) == [
        Outcome.ACCEPTED, Outcome.EVENT_DUPLICATE, Outcome.EVENT_DUPLICATE,
    ]  # fmt: skip


def test_the_rows_hold_the_newest_blocks_down_to_the_window_s_weight() -> None:
    ledger = with_window(6)
    kept = []
    for number in range(8):
        ledger.block([ledger.batch(ERP, measurements(number * 10, 1 + number % 3))])
        ledger.block([])
        kept.append((ledger.height - 1, 2 + number % 3))
        expected, weight = [], 0
        for height, own_weight in reversed(kept):
            if weight >= 6:
                break
            expected.append(height)
            weight += own_weight
        held = rows(ledger, Table.RECENT_BLOCK)
        assert [int.from_bytes(key[-8:]) for key in held] == sorted(expected)
        parsed = [parse_recent(value) for value in held.values()]
        weights = [len(event_ids) + len(batches) for event_ids, batches in parsed]
        assert sum(weights) == weight
        assert sum(weights) - weights[0] < 6


def test_one_block_may_outweigh_the_whole_window() -> None:
    ledger = with_window(1)
    ledger.block([ledger.batch(ERP, measurements(0, 50))])
    assert event_outcomes(ledger.block([ledger.batch(MES, [measurement(49)])])) == [
        Outcome.EVENT_DUPLICATE
    ]
    assert event_outcomes(ledger.block([ledger.batch(MES, [measurement(49)])])) == [
        Outcome.ACCEPTED
    ], "the batch of the refused event has pushed it out"
