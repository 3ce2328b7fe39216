"""Cuts blocks: whatever waits when the previous block is done, up to 2,000 events.

So an idle node answers after one fsync, and a busy one makes larger blocks by itself: what a block
costs apart from its events is then shared by many. A node that has just cut more than `BUSY_EVENTS`
lets batches gather for `BUSY_INTERVAL_S`. The next block goes to the disk while the newest is still
being applied only if half a full one waits. `BLOCKS_UNAPPLIED_MAX` also keeps a proposal's base
among the newest heads.

When a timer of a rule is due and nothing waits, an empty block is cut, so that it fires.

Only the leader of a term cuts, and only once its ledger holds all that earlier leaders have had
ordered. A block is proposed in its term or never: what waits when leadership ends is forgotten
here, and whoever admitted it hands it to the next leader.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lotmark.block import (
    BLOCK_EVENTS_MAX,
    BLOCK_SIZE_MAX,
    Proposal,
    batches_root,
    encode_block,
    sign_block,
)
from lotmark.ed25519 import PrivateKey
from lotmark.outcome import MEANINGS, Outcome
from lotmark.state_rows import key_row
from lotmark_consensus.errors import JournalFull, NotLeader, OutcomeUnknown
from lotmark_consensus.ordering import Ordering
from lotmark_node.engine.applying import MadeBlock
from lotmark_node.engine.errors import EngineError
from lotmark_node.engine.stage_clock import StageClock
from lotmark_node.state_machine.ledger_state import LedgerState
from lotmark_node.state_machine.prepared_batch import PreparedBatch

logger = logging.getLogger(__name__)

BLOCKS_UNAPPLIED_MAX = 2
OVERLAP_EVENTS_MIN = 1_000  # so many wait: cut the next block while the newest is still applied
BUSY_EVENTS = 64  # a block of more than so many is one of a busy node
BUSY_INTERVAL_S = 0.01  # at least so long from the cut of such a block to the next cut
TIMER_CHECK_MAX_S = 60.0  # a clock that is set anew is noticed after so long
BATCHES_SIZE_MAX = BLOCK_SIZE_MAX - 1_024  # what a block's own head leaves
FULL_DISK_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class _Turn:
    """What the next block is made of."""

    term: int
    counter: int
    time_ms: int
    height: int
    prepared: list[PreparedBatch]


class BlockCutter:
    """A thread between admission and the order."""

    def __init__(
        self,
        state: LedgerState,
        ordering: Ordering,
        key: PrivateKey,
        *,
        now_ms: Callable[[], int],
        on_failure: Callable[[BaseException], None],
        on_storage_full: Callable[[bool], None],
        clock: StageClock,
    ) -> None:
        self._state = state
        self._ordering = ordering
        self._key = key
        self._term: int | None = None  # that this node leads in
        self._counter = self._time_ms = 0  # of the newest block
        self._now_ms = now_ms
        self._on_failure = on_failure
        self._on_storage_full = on_storage_full
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: deque[PreparedBatch] = deque()  # bounded by admission
        self._waiting_events = 0
        self._unapplied = 0
        self._gather_until_s = 0.0
        self._stop = threading.Event()
        self._given_up = False
        self._made: deque[MadeBlock] = deque()
        self._thread = threading.Thread(target=self._run, name="cut", daemon=True)

    def start(self) -> None:
        """Begin to cut once this node leads."""
        self._thread.start()

    def lead(self, term: int) -> None:
        """Cut in a term from now on, after the newest block there is by now."""
        with self._changed:
            self._forget()
            self._term = term
            self._counter = self._state.counter if self._state.term == term else 0
            self._time_ms = self._state.time_ms
            self._changed.notify()

    def follow(self) -> None:
        """Cut nothing more, and forget what waits."""
        with self._changed:
            self._forget()
            self._changed.notify()

    def _forget(self) -> None:
        self._term = None
        self._waiting.clear()
        self._waiting_events = self._unapplied = 0
        self._gather_until_s = 0.0
        self._made.clear()

    def push(self, prepared: PreparedBatch) -> None:
        """Let a batch wait for its block; without leadership it is not kept."""
        with self._changed:
            if self._term is None:
                return
            self._waiting.append(prepared)
            self._waiting_events += len(prepared.batch.events)
            if len(self._waiting) == 1 or self._may_cut():  # the first may have to be waited for
                self._changed.notify()

    def applied(self, proposal: Proposal) -> None:
        """Take note that a block was applied."""
        with self._changed:
            if proposal.term == self._term:
                self._unapplied -= 1
                self._changed.notify()

    def find_made(self, raw: bytes) -> MadeBlock | None:
        """Return the parsed form of a block that was cut here; asked in the order's order."""
        with self._changed:
            if self._made and self._made[0].raw == raw:
                return self._made.popleft()
        return None

    def stop(self) -> None:
        """Cut what waits and end."""
        with self._changed:
            self._stop.set()
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def give_up(self) -> None:
        """Cut nothing more: nothing would be applied."""
        with self._changed:
            self._given_up = True
            self._changed.notify()

    def _may_cut(self) -> bool:
        if self._waiting_events >= OVERLAP_EVENTS_MIN:
            return self._unapplied < BLOCKS_UNAPPLIED_MAX
        if self._unapplied:
            return False
        return not self._gathering_s() if self._waiting else self._timer_wait_s() == 0

    def _gathering_s(self) -> float:
        """Return how long a busy node lets more batches come before it cuts."""
        return max(0.0, self._gather_until_s - time.monotonic())

    def _timer_wait_s(self) -> float | None:
        """Return how long it is until a timer is due; None: nothing to wait for here."""
        due_ms = self._state.next_due_ms
        if self._term is None or due_ms is None:
            return None
        return min(max(0, due_ms - self._now_ms()) / 1_000, TIMER_CHECK_MAX_S)

    def _wait(self) -> None:
        """Wait until a block may be cut, or none ever will; called with the lock held."""
        while not (self._may_cut() or self._may_end()):
            if self._unapplied:
                wait_s = None
            else:
                wait_s = self._gathering_s() if self._waiting else self._timer_wait_s()
            self._changed.wait(wait_s)

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._wait()
                    if self._given_up or self._may_end():
                        return
                    turn = self._turn()
                with self._clock.stage("cut"):
                    made = self._make(turn)
                with self._changed:
                    if self._term != turn.term:
                        continue  # leadership ended meanwhile: nobody has seen this block
                    self._made.append(made)
                self._propose(made)
        except BaseException as error:
            self._on_failure(error)

    def _turn(self) -> _Turn:
        """Take what goes into the next block; called with the lock held."""
        assert self._term is not None, "only a leader has batches or timers waiting"
        taken = self._take()
        self._unapplied += 1
        self._counter += 1
        self._time_ms = max(self._now_ms(), self._time_ms)
        height = self._state.height + self._unapplied
        return _Turn(self._term, self._counter, self._time_ms, height, taken)

    def _may_end(self) -> bool:
        return self._given_up or (self._stop.is_set() and not self._waiting)

    def _take(self) -> list[PreparedBatch]:
        taken: list[PreparedBatch] = []
        events = size = 0
        while self._waiting:
            batch = self._waiting[0].batch
            events += len(batch.events)
            size += len(batch.raw)
            if events > BLOCK_EVENTS_MAX or size > BATCHES_SIZE_MAX:
                break
            taken.append(self._waiting.popleft())
            self._waiting_events -= len(batch.events)
        if events > BUSY_EVENTS:
            self._gather_until_s = time.monotonic() + BUSY_INTERVAL_S
        return taken

    def _make(self, turn: _Turn) -> MadeBlock:
        batches = [each.batch for each in turn.prepared]
        base = self._state.bases[-1]
        self._check_key(turn)
        proposal = Proposal(
            chain_id=self._state.chain_id,
            key=self._key.public,
            term=turn.term,
            counter=turn.counter,
            time_ms=turn.time_ms,
            base_size=base.size,
            base_root=base.root,
            batches_root=batches_root(batches),
        )
        block = sign_block(self._key, proposal, batches)
        return MadeBlock(encode_block(block), block, turn.prepared)

    def _check_key(self, turn: _Turn) -> None:
        """Refuse to propose under a key that is not in force: the journal would keep the block."""
        row = key_row(self._state.reader, self._key.public)
        outcome = (
            row.judge(height=turn.height, time_ms=turn.time_ms) if row else Outcome.KEY_UNKNOWN
        )
        if outcome:
            raise EngineError(
                f"this node's proposal key {self._key.public.hex()} may not propose:"
                f" {MEANINGS[outcome].text}; reading goes on"
            )

    def _propose(self, made: MadeBlock) -> None:
        """Have a block made durable; while the disk is full, the same block again and again.

        Another block under this counter would be a second proposal, which convicts its signer.
        """
        full = False
        proposal = made.block.proposal
        while True:
            try:
                self._ordering.propose(
                    made.raw, time_ms=proposal.time_ms, term=proposal.term
                ).result()
            except (NotLeader, OutcomeUnknown) as error:
                logger.warning("leadership ended under a proposal", extra={"reason": str(error)})
                with self._changed:
                    if self._term == proposal.term:
                        self._forget()
                return
            except JournalFull as error:
                if not full:
                    logger.error("the disk is full", extra={"reason": str(error)})
                full = True
                self._on_storage_full(full)
                if self._stop.wait(FULL_DISK_RETRY_S):
                    raise
            else:
                if full:
                    self._on_storage_full(False)
                return
