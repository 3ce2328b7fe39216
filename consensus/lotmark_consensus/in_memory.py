"""An order without a disk, for tests: what is proposed is committed before `propose` returns."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future

from lotmark_consensus.errors import IndexPruned, OrderingStopped
from lotmark_consensus.ordering import (
    Leadership,
    Ordered,
    OrderingStatus,
    check_proposal,
    check_term,
    failed_by,
    sole_leadership,
)


class InMemoryOrdering:
    """An `Ordering` that keeps its blocks in memory and starts no thread.

    The callbacks run inside `propose`, on the caller's thread. A block proposed meanwhile, by a
    callback or another thread, is handed out by the call that is already at it: one at a time.
    """

    def __init__(self, *, term: int = 1) -> None:
        self._term = term
        self._lock = threading.Lock()  # guards all that follows; never held in a callback
        self._kept: deque[Ordered] = deque()
        self._first_index = 1
        self._undelivered: deque[Ordered] = deque()
        self._delivering = False
        self._on_committed: tuple[Callable[[Ordered], None], ...] = ()
        self._on_role: tuple[Callable[[Leadership], None], ...] = ()
        self._on_failure: tuple[Callable[[BaseException], None], ...] = ()
        self._failure: BaseException | None = None
        self._stopped = False

    def propose(self, block: bytes, *, time_ms: int, term: int) -> Future[Ordered]:
        """As `Ordering` promises; the future is resolved when it is returned."""
        check_proposal(block, time_ms=time_ms)
        future: Future[Ordered] = Future()
        with self._lock:
            self._refuse_if_ended()
            check_term(term, self._leadership())
            index = self._last_index() + 1
            record = Ordered(index=index, term=self._term, time_ms=time_ms, block=block)
            self._kept.append(record)
            self._undelivered.append(record)
            future.set_result(record)
            delivering, self._delivering = self._delivering, True
        if not delivering:
            self._deliver()
        return future

    def read_index(self) -> Future[int]:
        """As `Ordering` promises; the future is resolved when it is returned."""
        future: Future[int] = Future()
        with self._lock:
            self._refuse_if_ended()
            future.set_result(self._last_index())
        return future

    def committed(self, from_index: int) -> Iterator[Ordered]:
        """As `Ordering` promises."""
        assert from_index >= 1, from_index
        with self._lock:
            self._refuse_if_stopped()
            if from_index < self._first_index:
                raise IndexPruned(
                    f"index {from_index} is pruned, {self._first_index} is the first kept;"
                    " fetch older blocks from an archive or a snapshot"
                )
            return iter([record for record in self._kept if record.index >= from_index])

    def on_committed(self, callback: Callable[[Ordered], None]) -> None:
        """As `Ordering` promises; called inside `propose`."""
        with self._lock:
            self._on_committed = (*self._on_committed, callback)

    def on_role(self, callback: Callable[[Leadership], None]) -> None:
        """As `Ordering` promises: it leads in its one term until it ends."""
        with self._lock:
            self._on_role = (*self._on_role, callback)
            leadership = self._leadership()
        callback(leadership)

    def on_pointer(self, callback: Callable[[str, int, int], None]) -> None:
        """As `Ordering` promises: there is no other way here, so `callback` is never told."""

    def on_failure(self, callback: Callable[[BaseException], None]) -> None:
        """As `Ordering` promises; called inside `propose` or here."""
        with self._lock:
            self._on_failure = (*self._on_failure, callback)
            failure = self._failure
        if failure is not None:
            callback(failure)

    def status(self) -> OrderingStatus:
        """As `Ordering` promises."""
        with self._lock:
            leadership = self._leadership()
            return OrderingStatus(
                role=leadership.role,
                term=leadership.term,
                leader=leadership.leader,
                term_start_index=leadership.term_start_index,
                last_index=self._last_index(),
                committed_index=self._last_index(),
                first_index=self._first_index,
                failure=None if self._failure is None else repr(self._failure),
                network=None,
                durable_writes=None,
            )

    def installed(self, index: int, term: int) -> None:
        """Never called: no pointer was ever given."""
        raise AssertionError((index, term))

    def prune(self, below_index: int) -> None:
        """As `Ordering` promises; forgets all that it may."""
        with self._lock:
            self._refuse_if_stopped()
            while self._kept and self._kept[0].index < below_index:
                self._kept.popleft()
                self._first_index += 1

    def transfer_leadership(self) -> None:
        """As `Ordering` promises: there is nobody else."""

    def stop(self) -> None:
        """As `Ordering` promises."""
        with self._lock:
            told = self._stopped or self._failure is not None
            self._stopped = True
            leadership, callbacks = self._leadership(), self._on_role
        if not told:
            for callback in callbacks:
                callback(leadership)

    def _leadership(self) -> Leadership:
        """Return where this node stands; called with the lock held."""
        return sole_leadership(self._term, failure=self._failure, stopped=self._stopped)

    def _last_index(self) -> int:
        return self._first_index + len(self._kept) - 1

    def _refuse_if_stopped(self) -> None:
        if self._stopped:
            raise OrderingStopped("the ordering is stopped: build a new one to go on")

    def _refuse_if_ended(self) -> None:
        if self._failure is not None:
            raise failed_by(self._failure)
        self._refuse_if_stopped()

    def _deliver(self) -> None:
        """Hand out what waits, until nothing does."""
        try:
            while True:
                with self._lock:
                    if not self._undelivered:
                        self._delivering = False
                        return
                    record = self._undelivered.popleft()
                    callbacks = self._on_committed
                for callback in callbacks:
                    callback(record)
        except BaseException as error:
            # As in the other forms: the block stays committed, and nothing comes after it.
            with self._lock:
                self._failure = error
                self._undelivered.clear()
                leadership, role_callbacks = self._leadership(), self._on_role
                callbacks_of_failure = self._on_failure
            for role_callback in role_callbacks:
                role_callback(leadership)
            for callback_of_failure in callbacks_of_failure:
                callback_of_failure(error)
            if not isinstance(error, Exception):
                raise  # this is the caller's thread: Ctrl-C is for it
