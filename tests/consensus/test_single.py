"""What the single-node form adds to the port: group commit, bounds, survival, a failing disk."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lotmark_consensus.errors import ForeignJournal, JournalLocked, QueueFull
from lotmark_consensus.ordering import Ordered
from lotmark_consensus.single import PROPOSALS_MAX, SingleNodeOrdering

CHAIN_ID = bytes(range(32))
WAIT_MAX_S = 20


@contextmanager
def held_up(ordering: SingleNodeOrdering) -> Iterator[None]:
    """Commit one block and hold the ordering's thread in its callback meanwhile."""
    entered, leave = threading.Event(), threading.Event()

    def hold_up(record: Ordered) -> None:
        if record.block == b"hold up":
            entered.set()
            assert leave.wait(WAIT_MAX_S)

    ordering.on_committed(hold_up)
    ordering.propose(b"hold up", time_ms=0, term=1)
    assert entered.wait(WAIT_MAX_S)
    try:
        yield
    finally:
        leave.set()


@pytest.fixture
def ordering(tmp_path: Path) -> Iterator[SingleNodeOrdering]:
    built = SingleNodeOrdering(tmp_path, CHAIN_ID)
    yield built
    built.stop()


def test_all_that_waits_becomes_durable_by_one_fsync(ordering: SingleNodeOrdering) -> None:
    with held_up(ordering):
        futures = [ordering.propose(bytes([n]), time_ms=n, term=1) for n in range(PROPOSALS_MAX)]
        assert ordering.fsyncs == 1
        assert not any(future.done() for future in futures)

    assert [future.result(WAIT_MAX_S).index for future in futures] == list(range(2, 10))
    assert ordering.fsyncs == 2
    assert len(ordering.fdatasync_ms) == 2
    assert all(waited_ms > 0 for waited_ms in list(ordering.fdatasync_ms))


def test_a_proposal_beyond_the_bound_is_refused_and_room_comes_back(
    ordering: SingleNodeOrdering,
) -> None:
    with held_up(ordering):
        futures = [ordering.propose(b"waits", time_ms=0, term=1) for _ in range(PROPOSALS_MAX)]
        with pytest.raises(QueueFull, match="8 proposals wait and 8 may"):
            ordering.propose(b"too many", time_ms=0, term=1)

    assert futures[-1].result(WAIT_MAX_S).index == 9
    assert ordering.propose(b"fits again", time_ms=0, term=1).result(WAIT_MAX_S).index == 10


def test_a_proposal_withdrawn_while_it_waits_takes_no_place(ordering: SingleNodeOrdering) -> None:
    with held_up(ordering):
        withdrawn = ordering.propose(b"withdrawn", time_ms=0, term=1)
        kept = ordering.propose(b"kept", time_ms=0, term=1)
        assert withdrawn.cancel()

    assert kept.result(WAIT_MAX_S).index == 2
    assert [record.block for record in ordering.committed(1)] == [b"hold up", b"kept"]


def test_a_queue_of_which_all_is_withdrawn_costs_no_fsync(ordering: SingleNodeOrdering) -> None:
    with held_up(ordering):
        assert ordering.propose(b"withdrawn", time_ms=0, term=1).cancel()

    assert ordering.propose(b"next", time_ms=0, term=1).result(WAIT_MAX_S).index == 2
    assert ordering.fsyncs == 2


def test_stopping_commits_what_waits(tmp_path: Path) -> None:
    ordering = SingleNodeOrdering(tmp_path, CHAIN_ID)
    with held_up(ordering):
        futures = [ordering.propose(bytes([n]), time_ms=n, term=1) for n in range(3)]

    ordering.stop()

    assert [future.result(0).index for future in futures] == [2, 3, 4]


def test_a_restart_goes_on_where_it_ended_and_delivers_nothing_twice(tmp_path: Path) -> None:
    ordering = SingleNodeOrdering(tmp_path, CHAIN_ID)
    before = [ordering.propose(bytes([n]), time_ms=n, term=1).result(WAIT_MAX_S) for n in range(5)]
    ordering.stop()
    delivered: list[Ordered] = []

    ordering = SingleNodeOrdering(tmp_path, CHAIN_ID, term=2)
    ordering.on_committed(delivered.append)
    recovered = list(ordering.committed(1))
    added = ordering.propose(b"new", time_ms=9, term=2).result(WAIT_MAX_S)
    ordering.stop()

    assert recovered == before
    assert (added.index, added.term) == (6, 2)
    assert delivered == [added]


def test_a_folder_in_use_or_of_another_chain_is_refused(
    ordering: SingleNodeOrdering, tmp_path: Path
) -> None:
    with pytest.raises(JournalLocked, match=str(os.getpid())):
        SingleNodeOrdering(tmp_path, CHAIN_ID)
    ordering.stop()
    with pytest.raises(ForeignJournal):
        SingleNodeOrdering(tmp_path, bytes(32))
