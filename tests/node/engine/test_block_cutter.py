"""The block cutter: every batch in one block, one block a counter, also while the disk is full."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from lotmark.batch import Batch
from lotmark.block import BASES_MAX, BLOCK_EVENTS_MAX, BLOCK_SIZE_MAX, parse_block
from lotmark_consensus.errors import JournalFull, NotLeader, OrderingFailed, OutcomeUnknown
from lotmark_consensus.in_memory import InMemoryOrdering
from lotmark_consensus.ordering import Ordered, failed_by
from lotmark_node.engine import block_cutter as cutter_module
from lotmark_node.engine.block_cutter import BlockCutter
from lotmark_node.engine.stage_clock import StageClock
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from tests.node.ledger_in_memory import LedgerInMemory, measurement, measurements
from tests.proto.sample_genesis import CREATED_MS, private_key

WAIT_MAX_S = 20.0
ERP = "OEM-A/erp"
PROPOSAL_KEY = private_key("OEM-A/n1 PROPOSAL")


class RefusingOrdering(InMemoryOrdering):
    """An order in memory that refuses some proposals, as a disk that is full or breaks does."""

    def __init__(self, term: int) -> None:
        super().__init__(term=term)
        self.was_refused = threading.Event()
        self.proposed: list[bytes] = []
        self.refusals: list[Exception] = []  # of the next proposals, in order

    def propose(self, block: bytes, *, time_ms: int, term: int) -> Future[Ordered]:
        self.proposed.append(block)
        if self.refusals:
            future: Future[Ordered] = Future()
            future.set_exception(self.refusals.pop(0))
            self.was_refused.set()
            return future
        return super().propose(block, time_ms=time_ms, term=term)


class Cut:
    """A cutter whose blocks are applied to a ledger in memory when the test lets them."""

    def __init__(self, ledger: LedgerInMemory, term: int = 1) -> None:
        self.ledger = ledger
        self.term = term  # of the order
        self.order = RefusingOrdering(term)
        self.may_apply = threading.Event()
        self.may_apply.set()
        self.applied = threading.Condition()
        self.batch_count = 0
        self.failures: list[BaseException] = []
        self.failed = threading.Event()
        self.storage_full: list[bool] = []
        self.cutter = BlockCutter(
            ledger.state,
            self.order,
            PROPOSAL_KEY,
            now_ms=lambda: CREATED_MS + 5_000,
            on_failure=self._fail,
            on_storage_full=self.storage_full.append,
            clock=StageClock(),
        )
        self.order.on_committed(self._apply)

    def _fail(self, error: BaseException) -> None:
        self.failures.append(error)
        self.failed.set()

    def _apply(self, ordered: Ordered) -> None:
        assert self.may_apply.wait(WAIT_MAX_S)
        made = self.cutter.find_made(ordered.block)
        assert made is not None
        assert made.raw == ordered.block
        self.ledger.apply(ordered.block)
        self.cutter.applied(made.block.proposal)
        with self.applied:
            self.batch_count += len(made.block.batches)
            self.applied.notify()

    def start(self) -> None:
        self.cutter.lead(self.term)
        self.cutter.start()

    def push(self, *batches: Batch) -> None:
        for batch in batches:
            self.cutter.push(PreparedBatch(batch))

    def wait_for(self, batch_count: int) -> None:
        with self.applied:
            assert self.applied.wait_for(lambda: self.batch_count >= batch_count, WAIT_MAX_S)


@contextmanager
def cutting(ledger: LedgerInMemory | None = None) -> Iterator[Cut]:
    cut = Cut(LedgerInMemory() if ledger is None else ledger)
    cut.start()
    try:
        yield cut
    finally:
        cut.cutter.stop()


def batches_of(cut: Cut) -> list[bytes]:
    """Return the ids of all batches in the blocks, in order."""
    return [batch.batch_id for raw, _ in cut.ledger.blocks for batch in parse_block(raw).batches]


def test_a_single_batch_makes_a_block_at_once() -> None:
    with cutting() as cut:
        batch = cut.ledger.batch(ERP, [measurement(1)])
        cut.push(batch)
        cut.wait_for(1)

        assert batches_of(cut) == [batch.batch_id]
        assert cut.ledger.height == 1


def test_every_batch_is_in_one_block_and_in_the_order_it_came() -> None:
    ledger = LedgerInMemory()
    with cutting(ledger) as cut:
        batches = [ledger.batch(ERP, measurements(number * 3, 3)) for number in range(300)]
        cut.push(*batches)
        cut.wait_for(300)

        assert batches_of(cut) == [batch.batch_id for batch in batches]
        assert cut.ledger.height < 300, "batches that wait together share blocks"
        assert not cut.failures


def test_batches_that_wait_are_cut_into_blocks_within_the_bounds() -> None:
    ledger = LedgerInMemory()
    batches = [ledger.batch(ERP, measurements(number * 250, 250)) for number in range(20)]
    large = [ledger.batch(ERP, [bytes(16_384)] * 60) for _ in range(9)]
    cut = Cut(ledger)
    cut.cutter.lead(1)
    cut.push(*batches, *large)
    cut.cutter.start()
    cut.wait_for(len(batches) + len(large))
    cut.cutter.stop()

    assert batches_of(cut) == [batch.batch_id for batch in (*batches, *large)]
    parsed = [parse_block(raw) for raw, _ in ledger.blocks]
    counts = [sum(len(batch.events) for batch in block.batches) for block in parsed]
    assert max(counts) == BLOCK_EVENTS_MAX
    assert max(len(raw) for raw, _ in ledger.blocks) <= BLOCK_SIZE_MAX


def test_a_batch_that_comes_while_a_busy_node_gathers_is_cut_without_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cutter_module, "BUSY_INTERVAL_S", 0.2)
    with cutting() as cut:
        cut.push(cut.ledger.batch(ERP, measurements(0, cutter_module.BUSY_EVENTS + 1)))
        cut.wait_for(1)
        cut.push(cut.ledger.batch(ERP, [measurement(900)]))
        cut.wait_for(2)

        assert not cut.failures


def test_a_base_is_always_one_that_the_ledger_knows() -> None:
    """`LedgerInMemory.apply` refuses any other; so many blocks would show one."""
    with cutting() as cut:
        for number in range(3 * BASES_MAX):
            cut.push(cut.ledger.batch(ERP, [measurement(number)]))
        cut.wait_for(3 * BASES_MAX)

        assert not cut.failures


def test_a_full_disk_gets_the_same_block_again_until_it_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cutter_module, "FULL_DISK_RETRY_S", 0.001)
    with cutting() as cut:
        cut.order.refusals = [JournalFull("no room")] * 5
        cut.push(cut.ledger.batch(ERP, [measurement(1)]))
        for number in range(2, 6):  # come meanwhile, and must wait for the next block
            cut.push(cut.ledger.batch(ERP, [measurement(number)]))
        cut.wait_for(5)

        by_turn: dict[tuple[int, int], set[bytes]] = {}
        for raw in cut.order.proposed:
            proposal = parse_block(raw).proposal
            by_turn.setdefault((proposal.term, proposal.counter), set()).add(raw)
        assert {len(blocks) for blocks in by_turn.values()} == {1}, "one block a counter"
        assert len(cut.order.proposed) == 5 + cut.ledger.height
        assert set(cut.storage_full[:-1]) == {True}
        assert cut.storage_full[-1] is False
        assert not cut.failures


def test_counters_go_on_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = LedgerInMemory()
    for start in (0, 3):
        with cutting(ledger) as cut:
            for number in range(start, start + 3):
                cut.push(ledger.batch(ERP, [measurement(number)]))
                cut.wait_for(1 + number - start)
            assert not cut.failures
    counters = [parse_block(raw).proposal.counter for raw, _ in ledger.blocks]
    assert counters == [1, 2, 3, 4, 5, 6]


def test_a_cutter_made_before_the_last_blocks_were_recovered_counts_them() -> None:
    """An engine makes its cutter first, then applies what its journal has beyond its store."""
    ledger = LedgerInMemory()
    cut = Cut(ledger)
    for number in range(3):
        ledger.block([ledger.batch(ERP, [measurement(number)])])
    cut.start()
    cut.push(ledger.batch(ERP, [measurement(9)]))
    cut.wait_for(1)
    cut.cutter.stop()

    proposal = parse_block(ledger.blocks[-1][0]).proposal
    assert (proposal.counter, cut.failures) == (4, [])
    assert proposal.time_ms == CREATED_MS + 5_000


def test_a_stop_while_the_disk_is_full_ends_the_cutter_and_tells() -> None:
    cut = Cut(LedgerInMemory())
    cut.order.refusals = [JournalFull("no room")] * 1_000
    cut.start()
    cut.push(cut.ledger.batch(ERP, [measurement(1)]))
    cut.cutter.stop()

    assert [type(failure) for failure in cut.failures] == [JournalFull]
    assert cut.ledger.height == 0
    assert len(set(cut.order.proposed)) == 1


def test_an_order_that_fails_ends_the_cutter_and_tells() -> None:
    cut = Cut(LedgerInMemory())
    cut.order.refusals = [failed_by(OSError("broken disk"))]
    cut.start()
    cut.push(cut.ledger.batch(ERP, [measurement(1)]))

    assert cut.failed.wait(WAIT_MAX_S)
    assert [type(failure) for failure in cut.failures] == [OrderingFailed]
    cut.cutter.stop()


def test_a_cutter_that_gives_up_ends_though_batches_wait() -> None:
    cut = Cut(LedgerInMemory())
    cut.start()
    cut.cutter.give_up()
    cut.push(cut.ledger.batch(ERP, [measurement(1)]))
    cut.cutter.stop()

    assert cut.order.proposed == []


@pytest.mark.parametrize("refusal", [NotLeader("no"), OutcomeUnknown("who knows")])
def test_a_block_whose_leadership_ended_is_never_proposed_again(refusal: Exception) -> None:
    ledger = LedgerInMemory()
    cut = Cut(ledger, term=2)
    cut.cutter.start()
    cut.cutter.lead(1)  # as if the order had moved on meanwhile
    cut.order.refusals = [refusal]
    batch = ledger.batch(ERP, [measurement(1)])
    cut.push(batch)
    assert cut.order.was_refused.wait(WAIT_MAX_S)
    cut.cutter.lead(2)
    cut.push(batch)
    cut.wait_for(1)
    cut.cutter.stop()

    assert batches_of(cut) == [batch.batch_id]
    assert [parse_block(raw).proposal.term for raw in cut.order.proposed] == [1, 2]
    assert not cut.failures


def test_what_waits_when_leadership_ends_is_not_cut_in_the_next_term() -> None:
    ledger = LedgerInMemory()
    cut = Cut(ledger)
    cut.cutter.lead(1)
    cut.push(ledger.batch(ERP, [measurement(1)]))
    cut.cutter.lead(1)
    other = ledger.batch("T1-STATOR/mes", [measurement(2)])
    cut.push(other)
    cut.cutter.start()
    cut.wait_for(1)
    cut.cutter.stop()

    assert batches_of(cut) == [other.batch_id]
