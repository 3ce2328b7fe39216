"""The order of a network of one: its own journal is the quorum."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from lotmark_consensus.errors import JournalFull, OrderingFailed, OrderingStopped, QueueFull
from lotmark_consensus.journal import Journal
from lotmark_consensus.ordering import (
    Leadership,
    Ordered,
    OrderingStatus,
    check_proposal,
    check_term,
    failed_by,
    sole_leadership,
)

logger = logging.getLogger(__name__)

PROPOSALS_MAX = 8  # that wait while an fsync runs; with the largest blocks 64 MiB
STOP_WAIT_MAX_S = 30.0


@dataclass(frozen=True, slots=True)
class _Proposal:
    block: bytes
    time_ms: int
    future: Future[Ordered]


class SingleNodeOrdering:
    """An `Ordering` whose blocks are committed when this machine's disk has them.

    One thread takes all that waits, makes it durable with one fdatasync, resolves the futures and
    then hands out the blocks. A full disk fails only the proposals it met; any other error stops
    the ordering. The callbacks run on that thread, and hold up the next fsync while they do.
    """

    def __init__(self, folder: Path, chain_id: bytes, *, term: int = 1) -> None:
        """Open the journal in `folder` and begin to take proposals.

        Raises:
            ConsensusError: As `Journal` raises.
        """
        self._term = term
        self._journal = Journal(folder, chain_id)
        self._changed = threading.Condition()  # guards all that follows
        self._waiting: deque[_Proposal] = deque()
        self._taken: list[_Proposal] = []
        self._on_committed: tuple[Callable[[Ordered], None], ...] = ()
        self._on_role: tuple[Callable[[Leadership], None], ...] = ()
        self._on_failure: tuple[Callable[[BaseException], None], ...] = ()
        self._failure: BaseException | None = None
        self._stopped = False
        self._closed = False
        # A daemon, so that a program that ends without `stop` is not kept alive by it.
        self._thread = threading.Thread(target=self._run, name="ordering", daemon=True)
        self._thread.start()

    @property
    def fsyncs(self) -> int:
        """How many fdatasync calls made blocks durable."""
        return self._journal.fsyncs

    @property
    def fdatasync_ms(self) -> deque[float]:
        """How long the newest of them took; grows meanwhile, so copy it with `list`."""
        return self._journal.fdatasync_ms

    def propose(self, block: bytes, *, time_ms: int, term: int) -> Future[Ordered]:
        """As `Ordering` promises; the future is resolved after the fdatasync."""
        check_proposal(block, time_ms=time_ms)
        future: Future[Ordered] = Future()
        with self._changed:
            self._refuse_if_ended()
            check_term(term, self._leadership())
            if len(self._waiting) >= PROPOSALS_MAX:
                raise QueueFull(
                    f"{len(self._waiting)} proposals wait and {PROPOSALS_MAX} may:"
                    " wait for one of them, then propose again"
                )
            self._waiting.append(_Proposal(block, time_ms, future))
            self._changed.notify()
        return future

    def read_index(self) -> Future[int]:
        """As `Ordering` promises: this node alone is the quorum."""
        with self._changed:
            self._refuse_if_ended()
        future: Future[int] = Future()
        future.set_result(self._journal.last_index)
        return future

    def committed(self, from_index: int) -> Iterator[Ordered]:
        """As `Ordering` promises; also after a failure, until it is stopped."""
        self._refuse_if_closed()
        return self._journal.read(from_index)

    def on_committed(self, callback: Callable[[Ordered], None]) -> None:
        """As `Ordering` promises; called on the ordering's own thread."""
        with self._changed:
            self._on_committed = (*self._on_committed, callback)

    def on_role(self, callback: Callable[[Leadership], None]) -> None:
        """As `Ordering` promises: it leads in its one term until it ends."""
        with self._changed:
            self._on_role = (*self._on_role, callback)
            leadership = self._leadership()
        callback(leadership)

    def on_pointer(self, callback: Callable[[str, int, int], None]) -> None:
        """As `Ordering` promises: there is no other way here, so `callback` is never told."""

    def on_failure(self, callback: Callable[[BaseException], None]) -> None:
        """As `Ordering` promises; called on the ordering's own thread or on this one."""
        with self._changed:
            self._on_failure = (*self._on_failure, callback)
            failure = self._failure
        if failure is not None:
            callback(failure)

    def status(self) -> OrderingStatus:
        """As `Ordering` promises."""
        with self._changed:
            failure, leadership = self._failure, self._leadership()
        return OrderingStatus(
            role=leadership.role,
            term=leadership.term,
            leader=leadership.leader,
            term_start_index=leadership.term_start_index,
            last_index=self._journal.last_index,
            committed_index=self._journal.last_index,
            first_index=self._journal.first_index,
            failure=None if failure is None else repr(failure),
            network=None,
            durable_writes=self._journal.durable_writes.read(),
        )

    def installed(self, index: int, term: int) -> None:
        """Never called: no pointer was ever given."""
        raise AssertionError((index, term))

    def prune(self, below_index: int) -> None:
        """As `Ordering` promises; deletes whole segment files."""
        self._refuse_if_closed()
        self._journal.prune(below_index)

    def transfer_leadership(self) -> None:
        """As `Ordering` promises: there is nobody else."""

    def stop(self) -> None:
        """As `Ordering` promises.

        Raises:
            OrderingFailed: The disk or a callback held the thread too long; the folder stays held.
        """
        assert threading.current_thread() is not self._thread, "a callback cannot stop the ordering"
        with self._changed:
            told = self._stopped or self._failure is not None
            self._stopped = True
            self._changed.notify()
        self._thread.join(STOP_WAIT_MAX_S)
        if self._thread.is_alive():
            raise OrderingFailed(
                f"the disk or a callback did not return within {STOP_WAIT_MAX_S} s:"
                " end the process, which gives the folder back"
            )
        with self._changed:
            closed, self._closed = self._closed, True
            leadership, callbacks = self._leadership(), self._on_role
        if not closed:
            self._journal.close()
        if not told:
            for callback in callbacks:
                callback(leadership)

    def _leadership(self) -> Leadership:
        """Return where this node stands; called with the lock held."""
        return sole_leadership(self._term, failure=self._failure, stopped=self._stopped)

    def _refuse_if_ended(self) -> None:
        if self._failure is not None:
            raise failed_by(self._failure)
        if self._stopped:
            raise OrderingStopped("the ordering is stopped: start the node again to propose")

    def _refuse_if_closed(self) -> None:
        with self._changed:
            if self._closed:
                raise OrderingStopped("the ordering is stopped: its folder is no longer held")

    def _run(self) -> None:
        try:
            while self._take():
                self._commit()
        except BaseException as error:
            # Whatever it is: a thread that ended silently would leave proposers waiting for ever.
            self._fail(error)

    def _take(self) -> bool:
        """Wait for proposals and take all of them; False when stopped and none is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopped)
            going_on = bool(self._waiting)
            self._taken = [
                proposal
                for proposal in self._waiting
                if proposal.future.set_running_or_notify_cancel()
            ]
            self._waiting.clear()
        return going_on

    def _commit(self) -> None:
        if not self._taken:
            return  # all of them were withdrawn
        records = [
            Ordered(index=index, term=self._term, time_ms=proposal.time_ms, block=proposal.block)
            for index, proposal in enumerate(self._taken, self._journal.last_index + 1)
        ]
        try:
            self._journal.append_many(records)
        except JournalFull as error:
            logger.warning("no room for blocks", extra={"blocks": len(records)})
            for proposal in self._taken:
                proposal.future.set_exception(error)
            return
        for proposal, record in zip(self._taken, records, strict=True):
            proposal.future.set_result(record)
        for record in records:
            for callback in self._on_committed:
                callback(record)

    def _fail(self, error: BaseException) -> None:
        logger.error("ordering stopped on an error", exc_info=error)
        with self._changed:
            self._failure = error
            leadership, role_callbacks = self._leadership(), self._on_role
            waiting = [
                proposal
                for proposal in self._waiting
                if proposal.future.set_running_or_notify_cancel()
            ]
            self._waiting.clear()
        for proposal in (*self._taken, *waiting):
            if not proposal.future.done():
                proposal.future.set_exception(failed_by(error))
        for role_callback in role_callbacks:
            role_callback(leadership)
        for callback in self._on_failure:
            callback(error)
