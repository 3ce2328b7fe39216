"""The order of a network of voters."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial

from lotmark_consensus.errors import (
    ConsensusError,
    IndexPruned,
    JournalCorrupt,
    OrderingFailed,
    OrderingStopped,
    QueueFull,
)
from lotmark_consensus.ordering import (
    Leadership,
    Ordered,
    OrderingStatus,
    Role,
    VotersStatus,
    check_proposal,
    check_term,
    failed_by,
)
from lotmark_consensus.raft.delivery import Delivery
from lotmark_consensus.raft.engine import EngineStatus, RaftEngine
from lotmark_consensus.raft.kept_tail import KeptTail
from lotmark_consensus.raft.log_entry import EntryKind, decode_command
from lotmark_consensus.raft.log_store import LogStore
from lotmark_consensus.raft.loop import RaftLoop
from lotmark_consensus.raft.read_rounds import ReadRounds
from lotmark_consensus.raft.timing import RaftTiming
from lotmark_consensus.raft.wire import Wire

logger = logging.getLogger(__name__)

# Of proposals that are not yet committed. Beside them the engine has room for a round of reads and
# for a change of the voters.
PROPOSALS_MAX = 60
PROPOSALS_SIZE_MAX = 64 << 20
PRUNE_ENTRIES_MIN = 16  # at once: each time may cost a write of its own
HAND_OVER_MAX_S = 3.0  # to commit what waits and have a peer lead, before a leader stops
ASK_AGAIN_S = 0.1
STOP_WAIT_MAX_S = 30.0


class RaftOrdering:
    """An `Ordering` whose blocks are committed when a quorum of voters has them on disk.

    Futures are resolved and roles are told on the voter's own thread; blocks are handed out on
    another, from the first that the ledger had not applied. Any error, a full disk too, ends this
    voter: it acknowledges nothing more, its peers go on without it, and what it holds can be read.
    """

    def __init__(
        self,
        store: LogStore,
        chain_id: bytes,
        *,
        name: str,
        voters: frozenset[str],
        wire: Wire,
        applied_index: int,
        applied_term: int,
        now_ms: Callable[[], int],
        leapt: bool = False,
        timing: RaftTiming | None = None,
    ) -> None:
        """Take part from now on.

        Args:
            store: The voter's log; closed by `stop`.
            chain_id: The chain whose order this is.
            name: This voter, "PARTY/node".
            voters: The voters of the genesis; the log tells of later changes.
            wire: To the peers; stopped by `stop`.
            applied_index: What the ledger has durably applied; 0 where nothing.
            applied_term: The term of the block there.
            now_ms: Unix time.
            leapt: Whether the ledger came there by fetched blocks, so that the log may not know.
            timing: Of elections and heartbeats.

        Raises:
            ConsensusError: The log is damaged, or does not fit what the ledger has applied.
        """
        self._name, self._store, self._wire = name, store, wire
        self._engine = engine = RaftEngine(
            name,
            voters,
            store,
            chain_id=chain_id,
            applied_index=applied_index,
            applied_term=applied_term,
            timing=timing or RaftTiming(),
            now_ms=now_ms,
            leapt=leapt,
        )
        # On the voter's thread only.
        self._reads = ReadRounds()
        self._tail = KeptTail()
        self._connected: frozenset[str] = frozenset()
        self._pointer: tuple[str, int, int] | None = None
        self._settled: list[tuple[Future[Ordered], Ordered | ConsensusError]] = []
        # Held while roles are told, so that nobody hears an older one later.
        self._telling = threading.RLock()
        self._on_role: tuple[Callable[[Leadership], None], ...] = ()
        self._on_pointer: tuple[Callable[[str, int, int], None], ...] = ()
        self._reading = threading.Lock()  # held while the store is read, and while it is closed
        self._changed = threading.Condition()  # guards all that follows
        self._status = engine.status()
        self._leadership = _leadership_of(self._status)
        self._proposal_count = 0
        self._proposals_size = 0
        self._on_failure: tuple[Callable[[BaseException], None], ...] = ()
        self._failure: BaseException | None = None
        self._stopped = False
        self._closed = False
        self._loop = RaftLoop(
            engine, store, wire, deliver=self._deliver, on_turn=self._turned, on_end=self._ended
        )
        self._delivery = Delivery(on_room=self._loop.wake, on_failure=self._loop.failed)
        wire.start(self._loop)
        self._delivery.start()
        self._loop.start()

    def propose(self, block: bytes, *, time_ms: int, term: int) -> Future[Ordered]:
        """As `Ordering` promises; the future is resolved on the voter's thread.

        It never fails with `JournalFull`: what a full disk met may have been kept by the others.
        """
        check_proposal(block, time_ms=time_ms)
        with self._changed:
            self._refuse_if_ended()
            check_term(term, self._leadership)
            self._refuse_if_full(len(block))
            self._proposal_count += 1
            self._proposals_size += len(block)

        def begin(engine: RaftEngine, future: Future[Ordered]) -> None:
            engine.propose(block, time_ms=time_ms, term=term, done=partial(self._settle, future))

        future = self._loop.begin(begin)
        future.add_done_callback(lambda _: self._count_settled(len(block)))
        return future

    def read_index(self) -> Future[int]:
        """As `Ordering` promises; calls that wait at the same time share a round of the quorum."""
        with self._changed:
            self._refuse_if_ended()
            check_term(self._leadership.term, self._leadership)
        return self._loop.begin(lambda _, future: self._reads.ask(future))

    def change_members(
        self, *, add: str | None = None, remove: str | None = None
    ) -> Future[Ordered]:
        """Add or remove one voter, where this node leads and no other change is under way.

        The future is resolved and fails as that of `propose`.
        """

        def begin(engine: RaftEngine, future: Future[Ordered]) -> None:
            engine.change_members(add, remove, partial(self._settle, future))

        with self._changed:
            self._refuse_if_ended()
        return self._loop.begin(begin)

    def committed(self, from_index: int) -> Iterator[Ordered]:
        """As `Ordering` promises; also after a failure, until it is stopped."""
        assert from_index >= 1, from_index
        with self._changed:
            status = self._status
            self._refuse_if_closed()
        self._refuse_pruned(from_index)
        return self._read(from_index, status.committed_index)

    def on_committed(self, callback: Callable[[Ordered], None]) -> None:
        """As `Ordering` promises, from the first block that the ledger had not applied.

        Nothing is handed out before the first callback is there. It is called on a thread that
        only hands blocks out: while it runs, elections and acknowledgements go on.
        """
        self._delivery.add(callback)

    def on_role(self, callback: Callable[[Leadership], None]) -> None:
        """As `Ordering` promises; called here and then on the voter's thread."""
        with self._telling:
            self._on_role = (*self._on_role, callback)
            callback(self._leadership)

    def on_pointer(self, callback: Callable[[str, int, int], None]) -> None:
        """As `Ordering` promises; called on the voter's thread."""

        def add() -> None:
            self._on_pointer = (*self._on_pointer, callback)
            if self._pointer is not None:
                callback(*self._pointer)

        self._loop.post(add)

    def on_failure(self, callback: Callable[[BaseException], None]) -> None:
        """As `Ordering` promises; called on the voter's thread or on this one."""
        with self._changed:
            self._on_failure = (*self._on_failure, callback)
            failure = self._failure
        if failure is not None:
            callback(failure)

    def status(self) -> OrderingStatus:
        """As `Ordering` promises."""
        with self._changed:
            status, leadership, failure = self._status, self._leadership, self._failure
        return OrderingStatus(
            role=leadership.role,
            term=leadership.term,
            leader=leadership.leader,
            term_start_index=leadership.term_start_index,
            last_index=status.last_index,
            committed_index=status.committed_index,
            first_index=_first_readable(status),
            failure=None if failure is None else repr(failure),
            network=VotersStatus(
                voters=status.voters,
                durable_index=status.durable_index,
                match_index=status.match_index,
                queued_size={
                    peer: self._wire.queued_size(peer)
                    for peer in sorted(status.voters - {self._name})
                },
                elections=status.elections,
                counters=status.counters,
            ),
            durable_writes=self._loop.durable_writes,
        )

    def installed(self, index: int, term: int) -> None:
        """As `Ordering` promises."""
        with self._changed:
            self._refuse_if_ended()
        self._loop.post(lambda: self._engine.install(index, term))

    def set_signed_size(self, size: int) -> None:
        """Show peers from now on that this voter has signed a tree of `size` entries."""
        self._loop.post(lambda: self._engine.set_signed_size(size))

    def prune(self, below_index: int) -> None:
        """As `Ordering` promises; keeps a tail for peers that were away for a short time."""
        with self._changed:
            self._refuse_if_closed()
        self._loop.post(partial(self._prune, below_index))

    def transfer_leadership(self) -> None:
        """As `Ordering` promises."""
        self._loop.ask(lambda engine: engine.transfer_leadership())

    def stop(self) -> None:
        """As `Ordering` promises.

        Raises:
            OrderingFailed: The disk or a callback held a thread too long; the folder stays held.
        """
        assert not self._loop.is_own(threading.current_thread()), "a callback cannot stop this"
        with self._changed:
            self._stopped = True
        self._hand_over()
        if not (self._loop.stop(STOP_WAIT_MAX_S) and self._delivery.stop(STOP_WAIT_MAX_S)):
            raise OrderingFailed(
                f"the disk or a callback did not return within {STOP_WAIT_MAX_S} s:"
                " end the process, which gives the folder back"
            )
        with self._changed:
            closed, self._closed = self._closed, True
        if closed:
            return
        with self._reading:
            self._store.close()
        if self._failure is None:
            self._tell(_ended_as(self._leadership, Role.STOPPED))

    def _hand_over(self) -> None:
        """Wait for what is proposed and for a peer that leads, as long as that may take."""
        deadline_s = time.monotonic() + HAND_OVER_MAX_S
        while (
            self._leadership.leads and self._loop.reaches_anyone and time.monotonic() < deadline_s
        ):
            with self._changed:
                committed = self._changed.wait_for(lambda: not self._proposal_count, ASK_AGAIN_S)
            if committed:
                self.transfer_leadership()
                with self._changed:
                    self._changed.wait_for(lambda: not self._leadership.leads, ASK_AGAIN_S)

    def _refuse_if_ended(self) -> None:
        if self._failure is not None:
            raise failed_by(self._failure)
        if self._stopped:
            raise OrderingStopped("the ordering is stopped: start the node again to propose")

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise OrderingStopped("the ordering is stopped: its log is no longer held")

    def _refuse_pruned(self, index: int) -> None:
        first_index = _first_readable(self._status)
        if index < first_index:
            raise IndexPruned(
                f"index {index} is pruned, {first_index} is the first kept;"
                " fetch older blocks from a peer's ledger or an archive"
            )

    def _read(self, from_index: int, to_index: int) -> Iterator[Ordered]:
        """Read what is committed, so durable here and never changed, beside the voter's thread."""
        for index in range(from_index, to_index + 1):
            with self._reading:
                self._refuse_if_closed()
                try:
                    stored = self._store.read(index)
                except JournalCorrupt:
                    self._refuse_pruned(index)  # meanwhile
                    raise
            entry = decode_command(stored.command)
            block = entry.payload if entry.kind is EntryKind.BLOCK else b""
            yield Ordered(index=index, term=stored.term, time_ms=entry.time_ms, block=block)

    def _refuse_if_full(self, size: int) -> None:
        if (
            self._proposal_count < PROPOSALS_MAX
            and self._proposals_size + size <= PROPOSALS_SIZE_MAX
        ):
            return
        raise QueueFull(
            f"{self._proposal_count} proposals of {self._proposals_size} bytes are not yet"
            f" committed; {PROPOSALS_MAX} may be, of {PROPOSALS_SIZE_MAX} bytes: wait for one of"
            " them, then propose again"
        )

    def _count_settled(self, size: int) -> None:
        with self._changed:
            self._proposal_count -= 1
            self._proposals_size -= size
            self._changed.notify_all()

    # On the voter's thread

    def _deliver(self, engine: RaftEngine) -> None:
        records = engine.take_committed(self._delivery.room())
        for record in records:
            self._tail.add(record)
        if records:
            self._delivery.put(records)

    def _prune(self, below_index: int) -> None:
        below_index = self._tail.prunable_below(below_index)
        if below_index - self._status.first_index >= PRUNE_ENTRIES_MIN:
            self._engine.prune(below_index)

    def _turned(self, engine: RaftEngine) -> None:
        self._reads.begin(engine)
        status = engine.status()
        leadership = _leadership_of(status)
        with self._changed:
            self._status = status
        self._resolve()
        if leadership != self._leadership:
            self._tell(leadership)
        if status.voters != self._connected:
            for peer in sorted(status.voters - self._connected - {self._name}):
                self._wire.connect(peer)
            for peer in sorted(self._connected - status.voters):
                self._wire.disconnect(peer)
            self._connected = status.voters
        pointer, self._pointer = self._pointer, engine.pointer
        if self._pointer is not None and self._pointer != pointer:
            for callback in self._on_pointer:
                callback(*self._pointer)

    def _settle(self, future: Future[Ordered], outcome: Ordered | ConsensusError) -> None:
        self._settled.append((future, outcome))

    def _resolve(self) -> None:
        """Resolve futures, now that the status shows what they tell."""
        settled, self._settled = self._settled, []
        for future, outcome in settled:
            if isinstance(outcome, ConsensusError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _tell(self, leadership: Leadership) -> None:
        with self._telling:
            with self._changed:
                self._leadership = leadership
                self._changed.notify_all()
            for callback in self._on_role:
                callback(leadership)

    def _ended(self, error: BaseException | None) -> None:
        if error is None:
            return
        with self._changed:
            self._failure = error
            callbacks = self._on_failure
        try:
            self._tell(_ended_as(self._leadership, Role.FAILED))
        finally:
            for callback in callbacks:
                callback(error)


def _leadership_of(status: EngineStatus) -> Leadership:
    return Leadership(
        role=status.role,
        term=status.term,
        leader=status.leader,
        term_start_index=status.term_start_index,
    )


def _ended_as(leadership: Leadership, role: Role) -> Leadership:
    return Leadership(role=role, term=leadership.term, leader=None, term_start_index=0)


def _first_readable(status: EngineStatus) -> int:
    """Return the first block that can be read: the first entry only stands for all below it."""
    return status.first_index + 1
