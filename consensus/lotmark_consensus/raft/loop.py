"""The thread that turns a voter's engine: inputs, one step, outputs; never a disk or a socket.

Everything that reaches the engine comes as an input, from any thread; all that wait are given to
it before one step, so that a burst costs one step, one write and one frame to each peer. Writes go
to a thread of their own, frames to the wire, committed blocks to another thread: none of them can
hold up a heartbeat or an answer to a vote.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from lotmark_consensus.errors import ConsensusError, OutcomeUnknown
from lotmark_consensus.latency import LatencyCounts
from lotmark_consensus.ordering import failed_by
from lotmark_consensus.raft.disk_writer import DiskWriter
from lotmark_consensus.raft.engine import RaftEngine
from lotmark_consensus.raft.log_store import LogStore, Writes
from lotmark_consensus.raft.peer_memory import Standing
from lotmark_consensus.raft.wire import Wire

logger = logging.getLogger(__name__)

TICK_S = 0.02  # between two steps when nothing comes in
# Of frames that were received and are not yet durable, where they hold something to write. Above
# the first bound nothing more is read from a peer until no more than the second is left.
UNFINISHED_SIZE_HIGH = 64 << 20
UNFINISHED_SIZE_LOW = 32 << 20

T = TypeVar("T")


class RaftLoop:
    """Runs one engine until it is stopped or something fails; a `WireListener` too.

    Args:
        engine: Nobody else may touch it from now on.
        store: Where the engine's writes go.
        wire: Where its frames go.
        on_turn: Called on the thread after every step.
        deliver: Called on the thread after that, to take what is committed.
        on_end: Called on the thread when it ends, with the error or None.
    """

    def __init__(
        self,
        engine: RaftEngine,
        store: LogStore,
        wire: Wire,
        *,
        deliver: Callable[[RaftEngine], None],
        on_turn: Callable[[RaftEngine], None],
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        self._engine = engine
        self._wire = wire
        self._deliver = deliver
        self._on_turn = on_turn
        self._on_end = on_end
        self._disk = DiskWriter(store, self._was_written, self.failed)
        self._is_writing = False  # these three on the thread only
        self._received_size = 0  # since writes were last taken
        self._writing_size = 0  # of frames, behind the writes under way
        self._failure: BaseException | None = None
        self._changed = threading.Condition()  # guards all that follows
        self._inputs: deque[Callable[[], None]] = deque()
        self._is_waiting = False
        self._unfinished_size = 0
        self._held: list[Future[None]] = []
        self._unanswered: set[Future[Any]] = set()
        self._up: set[str] = set()
        self._stopping = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="raft", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._disk.start()
        self._thread.start()

    def post(self, task: Callable[[], None]) -> None:
        """Run `task` on the thread before the next step; it is dropped once the thread ends."""
        with self._changed:
            if not self._ended:
                self._inputs.append(task)
                if self._is_waiting:
                    self._changed.notify()

    def wake(self) -> None:
        """Make a step soon."""
        self.post(_nothing)

    def begin(self, action: Callable[[RaftEngine, Future[T]], None]) -> Future[T]:
        """Let `action` begin on the thread what resolves the future; it fails if that never comes.

        What `action` raises of `ConsensusError` fails the future too.
        """
        future: Future[T] = Future()
        with self._changed:
            ended = self._ended
            if not ended:
                self._unanswered.add(future)
        if ended:
            future.set_exception(self._end_error())
        else:
            future.add_done_callback(self._unanswered.discard)
            self.post(partial(self._begin, action, future))
        return future

    def ask(self, question: Callable[[RaftEngine], T]) -> Future[T]:
        """Return what `question` returns on the thread."""
        return self.begin(lambda engine, future: future.set_result(question(engine)))

    def stop(self, wait_max_s: float) -> bool:
        """End after what was posted; return whether it has ended, the disk's thread too."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        deadline_s = time.monotonic() + wait_max_s
        self._thread.join(wait_max_s)
        return self._disk.stop(deadline_s - time.monotonic()) and not self._thread.is_alive()

    @property
    def durable_writes(self) -> LatencyCounts:
        """How long the disk took to make writes durable."""
        return self._disk.durable_writes.read()

    @property
    def reaches_anyone(self) -> bool:
        """Whether frames to any peer are taken."""
        with self._changed:
            return bool(self._up)

    def is_own(self, thread: threading.Thread) -> bool:
        """Return whether `thread` is this loop's, which cannot wait for itself."""
        return thread is self._thread

    # As `WireListener` promises

    def frame(self, peer: str, frame: bytes) -> Future[None] | None:
        """Take a frame; what is returned keeps more from coming than can be written."""
        with self._changed:
            if self._ended:
                return None
            self._inputs.append(partial(self._receive, peer, frame))
            if self._is_waiting:
                self._changed.notify()
            self._unfinished_size += len(frame)
            if self._unfinished_size <= UNFINISHED_SIZE_HIGH:
                return None
            hold: Future[None] = Future()
            self._held.append(hold)
            return hold

    def up(self, peer: str) -> None:
        """Frames to the peer are taken."""
        with self._changed:
            self._up.add(peer)
        self.post(partial(self._engine.peer_up, peer))

    def down(self, peer: str) -> None:
        """Frames to the peer are dropped."""
        with self._changed:
            self._up.discard(peer)
        self.post(partial(self._engine.peer_down, peer))

    def standing(self) -> Future[Standing]:
        """Return what the engine shows."""
        return self.ask(lambda engine: engine.standing())

    def admit(self, peer: str, standing: Standing) -> Future[None]:
        """Let the engine judge what a peer shows."""
        return self.ask(lambda engine: engine.admit(peer, standing))

    def failed(self, error: BaseException) -> None:
        """End on an error of the wire, the disk or the delivery."""
        self.post(partial(self._raise, error))

    # On the thread

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            while self._turn():
                pass
        except BaseException as raised:
            # Whatever it is: a voter whose thread ended silently would look alive for ever.
            error = raised
            logger.error("the voter stopped on an error", exc_info=raised)
        self._end(error)

    def _turn(self) -> bool:
        """Take what waits, make one step and hand out what it gave; False when it is to end."""
        with self._changed:
            if not self._inputs and not self._stopping:
                self._is_waiting = True
                self._changed.wait(TICK_S)
                self._is_waiting = False
            inputs, self._inputs = self._inputs, deque()
            stopping = self._stopping
        for task in inputs:
            task()
        engine = self._engine
        engine.step()
        if engine.failure is not None:
            raise engine.failure
        for peer, frame in engine.take_outgoing():
            self._wire.send(peer, frame)
        self._write()
        self._on_turn(engine)
        self._deliver(engine)
        return not stopping

    def _write(self) -> None:
        if self._is_writing:
            return
        writes = self._engine.take_writes()
        received_size, self._received_size = self._received_size, 0
        if writes is None:
            self._finish(received_size)
        else:
            self._is_writing = True
            self._writing_size = received_size
            self._disk.put(writes)

    def _receive(self, peer: str, frame: bytes) -> None:
        self._received_size += len(frame)
        self._engine.receive(peer, frame)

    def _was_written(self, writes: Writes) -> None:
        """On the disk's thread."""
        self.post(partial(self._count_written, writes))

    def _count_written(self, writes: Writes) -> None:
        self._is_writing = False
        self._engine.written(writes)
        self._finish(self._writing_size)

    def _finish(self, size: int) -> None:
        """Count received bytes as done, and let the wire read on where it waits for that."""
        if not size:
            return
        with self._changed:
            self._unfinished_size -= size
            if not self._held or self._unfinished_size > UNFINISHED_SIZE_LOW:
                return
            held, self._held = self._held, []
        _release(held)

    def _begin(self, action: Callable[[RaftEngine, Future[T]], None], future: Future[T]) -> None:
        if future.set_running_or_notify_cancel():
            try:
                action(self._engine, future)
            except ConsensusError as error:
                future.set_exception(error)

    def _raise(self, error: BaseException) -> None:
        raise error

    def _end(self, error: BaseException | None) -> None:
        self._wire.stop()
        with self._changed:
            self._ended = True
            self._failure = error
            self._inputs.clear()
            held, self._held = self._held, []
            unanswered = list(self._unanswered)
        _release(held)
        for future in unanswered:
            if not future.done() and (future.running() or future.set_running_or_notify_cancel()):
                future.set_exception(self._end_error())
        self._on_end(error)

    def _end_error(self) -> ConsensusError:
        if self._failure is not None:
            return failed_by(self._failure)
        return OutcomeUnknown(
            "the voter was stopped: after a restart the order tells what was kept"
        )


def _nothing() -> None:
    """The turn is what is wanted."""


def _release(held: list[Future[None]]) -> None:
    for future in held:
        if future.set_running_or_notify_cancel():
            future.set_result(None)
