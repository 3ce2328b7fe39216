"""What a party is billed, by minute of block time and in all."""

import pytest

from lotmark.outcome import Outcome
from tests.node.ledger_in_memory import (
    LedgerInMemory,
    consortium,
    measurement,
    measurements,
    transformation,
)
from tests.node.state_machine.reading import batch_outcomes, counters, usage
from tests.proto.sample_genesis import CREATED_MS

ERP, MES = "OEM-A/erp", "T1-STATOR/mes"
MINUTE_MS = 60_000


def judged(ledger: LedgerInMemory, *counts: int, time_ms: int = CREATED_MS) -> list[Outcome]:
    """Return the outcomes of batches of so many new events, each in a block of its own."""
    return [
        batch_outcomes(
            ledger.block(
                [ledger.batch(ERP, measurements(ledger.size * 1_000, count))], time_ms=time_ms
            )
        )[0]
        for count in counts
    ]


def test_events_are_bounded_by_the_minute_of_block_time() -> None:
    assert CREATED_MS % MINUTE_MS == 0
    ledger = LedgerInMemory(consortium(quota_events=10))

    assert judged(ledger, 4, 6, 1) == [0, 0, Outcome.QUOTA_EXCEEDED]
    assert judged(ledger, 1, time_ms=CREATED_MS + MINUTE_MS - 1) == [Outcome.QUOTA_EXCEEDED]
    assert judged(ledger, 10, time_ms=CREATED_MS + MINUTE_MS) == [0]


def test_one_batch_larger_than_the_quota_is_refused_in_a_fresh_minute() -> None:
    ledger = LedgerInMemory(consortium(quota_events=10))

    assert judged(ledger, 11, 10) == [Outcome.QUOTA_EXCEEDED, 0]


def test_bytes_are_bounded_and_refused_batches_use_them_up_too() -> None:
    probe = LedgerInMemory()
    size = len(probe.batch(ERP, measurements(2_000, 1)).raw)
    ledger = LedgerInMemory(consortium(quota_bytes=3 * size))
    refused = ledger.batch(ERP, [measurement(1)], schema=9)
    assert batch_outcomes(ledger.block([refused], time_ms=CREATED_MS)) == [Outcome.SCHEMA_UNKNOWN]
    assert usage(ledger, "OEM-A").size == len(refused.raw)

    outcomes = judged(ledger, 1, 1, 1)

    assert outcomes.count(Outcome.ACCEPTED) in {1, 2}
    assert outcomes[-1] == Outcome.QUOTA_EXCEEDED


def test_signatures_are_bounded() -> None:
    ledger = LedgerInMemory(consortium(quota_signatures=2))

    assert judged(ledger, 1, 1, 1) == [0, 0, Outcome.QUOTA_EXCEEDED]
    assert usage(ledger, "OEM-A").signatures == 3, "the refused one was checked as well"


def test_state_keys_are_bounded_once_they_are_used_up() -> None:
    ledger = LedgerInMemory(consortium(quota_state_keys=5))

    assert _made(ledger, 2) == [0]
    assert usage(ledger, "OEM-A").state_keys == 3, "two edges and a lane"
    assert _made(ledger, 9) == [0], "there is still some room, so a whole batch is taken"
    assert _made(ledger, 1) == [Outcome.QUOTA_EXCEEDED]


def _made(ledger: LedgerInMemory, count: int) -> list[Outcome]:
    """Return what becomes of a batch of so many units, each made of one lot."""
    raws = [transformation(f"{ledger.height}-{at}", ["lot"], [f"unit-{at}"]) for at in range(count)]
    return batch_outcomes(ledger.block([ledger.batch(ERP, raws)]))


def test_edges_count_as_the_rows_they_are() -> None:
    ledger = LedgerInMemory()
    ledger.block([ledger.batch(ERP, [transformation("p", ["a", "b"], ["c"])])])

    assert usage(ledger, "OEM-A").state_keys == 1 + 2, "lane, edges"


def test_quotas_are_each_party_s_own() -> None:
    ledger = LedgerInMemory(consortium(quota_events=2))
    effects = ledger.block(
        [
            ledger.batch(ERP, measurements(0, 2)),
            ledger.batch(ERP, [measurement(5)]),
            ledger.batch(MES, measurements(10, 2)),
        ]
    )
    assert batch_outcomes(effects) == [0, Outcome.QUOTA_EXCEEDED, 0]


def test_a_batch_that_is_not_the_party_s_or_not_in_its_turn_bills_nobody() -> None:
    ledger = LedgerInMemory(consortium(quota_signatures=1))
    before = counters(ledger, "OEM-A")
    ledger.block(
        [
            ledger.batch("OEM-A/nobody", [measurement(1)], sequence=1),
            ledger.batch(ERP, [measurement(1)], chain_id=bytes(32), sequence=1),
            ledger.batch(ERP, [measurement(1)], sequence=5),
        ],
        time_ms=CREATED_MS,
    )
    assert counters(ledger, "OEM-A") == before
    assert judged(ledger, 1) == [0]


def test_counters_add_up_what_a_party_has_put_on_the_log() -> None:
    ledger = LedgerInMemory()
    batches = [
        ledger.batch(ERP, [measurement(1), measurement(2), b"\xff"]),
        ledger.batch(ERP, [measurement(3)], schema=2),
        ledger.batch(ERP, [measurement(1)]),
    ]
    reused = ledger.batch(ERP, [measurement(4)], sequence=3, previous=batches[1].batch_id)
    ledger.block(batches[:2])
    effects = ledger.block([batches[2], reused, batches[2]])

    found = counters(ledger, "OEM-A")
    assert (found.batches, found.refused_batches) == (4, 2)
    assert (found.events, found.refused_events) == (4, 2)
    assert found.size == sum(len(batch.raw) for batch in (*batches, reused))
    close = effects.results.close
    assert (close.batch_count, close.refused_batch_count, close.equivocation_count) == (3, 2, 1)
    assert (close.event_count, close.refused_event_count, close.receipt_count) == (1, 1, 0)


@pytest.mark.parametrize("party", ["T1-STATOR", "LAB-17025"])
def test_a_party_that_sent_nothing_has_no_counters(party: str) -> None:
    ledger = LedgerInMemory()
    ledger.block([ledger.batch(ERP, [measurement(1)])])

    assert counters(ledger, party).batches == usage(ledger, party).signatures == 0
