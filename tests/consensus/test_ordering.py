"""What every form of the ordering port promises."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark_consensus.errors import (
    BlockTooLarge,
    IndexPruned,
    NotLeader,
    OrderingFailed,
    OrderingStopped,
)
from lotmark_consensus.in_memory import InMemoryOrdering
from lotmark_consensus.ordering import BLOCK_SIZE_MAX, Leadership, Ordered, Ordering, Role
from lotmark_consensus.single import SingleNodeOrdering

CHAIN_ID = bytes(range(32))
WAIT_MAX_S = 20


def single_node(folder: Path) -> Ordering:
    return SingleNodeOrdering(folder / "journal", CHAIN_ID, term=3)


def in_memory(_folder: Path) -> Ordering:
    return InMemoryOrdering(term=3)


@pytest.fixture(params=[single_node, in_memory])
def ordering(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ordering]:
    built: Ordering = request.param(tmp_path)
    yield built
    built.stop()


class Delivered:
    """Collects what a callback is given, and waits for a number of blocks."""

    def __init__(self) -> None:
        self.records: list[Ordered] = []
        self._changed = threading.Condition()

    def __call__(self, record: Ordered) -> None:
        with self._changed:
            self.records.append(record)
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.records) >= count, WAIT_MAX_S)


def propose_all(ordering: Ordering, blocks: list[bytes]) -> list[Ordered]:
    return [
        ordering.propose(block, time_ms=time_ms, term=3).result(WAIT_MAX_S)
        for time_ms, block in enumerate(blocks, 1000)
    ]


def test_an_empty_order_says_so(ordering: Ordering) -> None:
    status = ordering.status()

    assert (status.role, status.term, status.failure) == (Role.LEADER, 3, None)
    assert (status.last_index, status.committed_index, status.first_index) == (0, 0, 1)
    assert list(ordering.committed(1)) == []


def test_an_order_of_one_leads_in_its_term_from_the_first_index(ordering: Ordering) -> None:
    told: list[Leadership] = []

    ordering.on_role(told.append)
    ordering.transfer_leadership()

    assert told == [Leadership(role=Role.LEADER, term=3, leader=None, term_start_index=1)]
    assert told[0].leads
    status = ordering.status()
    assert (status.leader, status.term_start_index, status.network) == (None, 1, None)


def test_a_proposal_for_another_term_is_refused_and_not_kept(ordering: Ordering) -> None:
    for term in (2, 4):
        with pytest.raises(NotLeader, match=f"a proposal for term {term}, but .* in term 3"):
            ordering.propose(b"late", time_ms=0, term=term)

    assert ordering.status().last_index == 0


def test_a_read_index_is_at_what_was_committed_before(ordering: Ordering) -> None:
    assert ordering.read_index().result(WAIT_MAX_S) == 0

    propose_all(ordering, [b"a", b"b"])

    assert ordering.read_index().result(WAIT_MAX_S) == 2


def test_blocks_get_contiguous_indexes_from_one_and_keep_their_bytes_and_time(
    ordering: Ordering,
) -> None:
    ordered = propose_all(ordering, [b"a", b"b", bytes(BLOCK_SIZE_MAX)])

    assert [(r.index, r.term, r.time_ms) for r in ordered] == [
        (1, 3, 1000),
        (2, 3, 1001),
        (3, 3, 1002),
    ]
    assert [record.block for record in ordered] == [b"a", b"b", bytes(BLOCK_SIZE_MAX)]
    assert list(ordering.committed(1)) == ordered
    assert list(ordering.committed(3)) == ordered[2:]
    assert list(ordering.committed(4)) == []
    assert ordering.status().committed_index == 3


def test_every_callback_gets_every_block_once_in_order(ordering: Ordering) -> None:
    first, second = Delivered(), Delivered()
    ordering.on_committed(first)
    ordering.on_committed(second)

    ordered = propose_all(ordering, [bytes([number]) for number in range(30)])

    second.wait_for(30)
    assert first.records == second.records == ordered


def test_proposals_from_many_threads_are_each_delivered_once_and_one_at_a_time(
    ordering: Ordering,
) -> None:
    delivered = Delivered()
    at_once = threading.Semaphore(1)

    def deliver(record: Ordered) -> None:
        assert at_once.acquire(blocking=False)
        delivered(record)
        at_once.release()

    ordering.on_committed(deliver)
    threads = [
        threading.Thread(target=propose_all, args=(ordering, [bytes([t, n]) for n in range(20)]))
        for t in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_MAX_S)

    delivered.wait_for(120)
    assert [record.index for record in delivered.records] == list(range(1, 121))
    assert list(ordering.committed(1)) == delivered.records
    for t in range(6):
        of_thread = [record.block[1] for record in delivered.records if record.block[0] == t]
        assert of_thread == list(range(20))


def test_a_block_proposed_by_a_callback_is_delivered_after_the_one_being_delivered(
    ordering: Ordering,
) -> None:
    before, after = Delivered(), Delivered()

    def propose_once_more(record: Ordered) -> None:
        before(record)
        if record.index == 1:
            ordering.propose(b"second", time_ms=2, term=3)
        after(record)

    ordering.on_committed(propose_once_more)
    propose_all(ordering, [b"first"])

    after.wait_for(2)
    assert [record.block for record in before.records] == [b"first", b"second"]
    assert after.records == before.records


def test_pruned_blocks_are_refused_and_the_others_kept(ordering: Ordering) -> None:
    propose_all(ordering, [bytes(BLOCK_SIZE_MAX)] * 9 + [b"last"])  # more than one segment file

    ordering.prune(10)

    first_index = ordering.status().first_index
    assert 1 < first_index <= 10
    with pytest.raises(IndexPruned, match=f"{first_index} is the first kept"):
        ordering.committed(first_index - 1)
    assert [record.index for record in ordering.committed(first_index)][-1] == 10
    assert propose_all(ordering, [b"next"])[0].index == 11


def test_a_block_beyond_the_bound_is_refused(ordering: Ordering) -> None:
    with pytest.raises(BlockTooLarge, match=f"{BLOCK_SIZE_MAX + 1} bytes; at most"):
        ordering.propose(bytes(BLOCK_SIZE_MAX + 1), time_ms=0, term=3)

    assert ordering.status().last_index == 0


def test_a_stopped_order_takes_and_gives_nothing(ordering: Ordering) -> None:
    propose_all(ordering, [b"before"])
    told: list[Leadership] = []
    ordering.on_role(told.append)

    ordering.stop()
    ordering.stop()

    assert [(leadership.role, leadership.leads) for leadership in told] == [
        (Role.LEADER, True),
        (Role.STOPPED, False),
    ]
    assert ordering.status().role is Role.STOPPED
    assert ordering.status().last_index == 1
    with pytest.raises(OrderingStopped):
        ordering.propose(b"after", time_ms=0, term=3)
    with pytest.raises(OrderingStopped):
        ordering.read_index()
    with pytest.raises(OrderingStopped):
        ordering.committed(1)
    with pytest.raises(OrderingStopped):
        ordering.prune(1)


def test_a_callback_that_raises_stops_the_order_and_its_block_stays_committed(
    ordering: Ordering, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[BaseException] = []
    failed = threading.Event()

    def note(error: BaseException) -> None:
        failures.append(error)
        failed.set()

    def refuse(_record: Ordered) -> None:
        raise ValueError("cannot apply")

    roles: list[Role] = []
    ordering.on_role(lambda leadership: roles.append(leadership.role))
    ordering.on_failure(note)
    ordering.on_committed(refuse)

    assert propose_all(ordering, [b"poison"])[0].index == 1

    assert failed.wait(WAIT_MAX_S)
    assert roles == [Role.LEADER, Role.FAILED]
    status = ordering.status()
    assert (status.role, status.committed_index) == (Role.FAILED, 1)
    assert status.failure == "ValueError('cannot apply')"
    with pytest.raises(OrderingFailed, match="cannot apply"):
        ordering.propose(b"after", time_ms=0, term=3)
    with pytest.raises(OrderingFailed, match="cannot apply"):
        ordering.read_index()
    assert [record.block for record in ordering.committed(1)] == [b"poison"]
    ordering.on_failure(note)
    assert [str(error) for error in failures] == ["cannot apply", "cannot apply"]


@settings(deadline=None, max_examples=30)
@given(
    blocks=st.lists(st.binary(min_size=1, max_size=100), max_size=12), from_index=st.integers(1, 14)
)
def test_both_forms_give_the_same_order(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[bytes], from_index: int
) -> None:
    orders = [single_node(tmp_path_factory.mktemp("order")), in_memory(Path())]

    ordered = [propose_all(ordering, blocks) for ordering in orders]
    read = [list(ordering.committed(from_index)) for ordering in orders]
    # One of them has no disk to wait for.
    status = [replace(ordering.status(), durable_writes=None) for ordering in orders]
    for ordering in orders:
        ordering.stop()

    assert ordered[0] == ordered[1]
    assert read[0] == read[1]
    assert status[0] == status[1]
