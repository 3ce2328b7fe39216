"""The one apply loop: ordered blocks in, one after the other, each written before the next."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lotmark.block import Block, parse_block
from lotmark.errors import MalformedError
from lotmark_consensus.ordering import Ordered
from lotmark_node.engine.errors import EngineError
from lotmark_node.engine.stage_clock import StageClock
from lotmark_node.engine.store import LedgerStore, OrderPlace
from lotmark_node.state_machine.ledger_state import LedgerState
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.transition import BlockEffects, BlockInvalid, apply_block

logger = logging.getLogger(__name__)

BLOCKS_PER_SYNC = 256
QUEUED_BLOCKS_MAX = 8  # further ones are waited for, which holds up the order's delivery
QUEUE_CHECK_S = 0.5


@dataclass(frozen=True, slots=True)
class MadeBlock:
    """A block this node has made itself, so that it need not parse it again."""

    raw: bytes
    block: Block
    prepared: Sequence[PreparedBatch]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A block that a peer has given in place of an order's entries that are pruned."""

    ordered: Ordered


@dataclass(frozen=True, slots=True)
class FetchedAll:
    """All blocks up to a place in the order were fetched; what it leaps over holds no block."""

    place: OrderPlace
    done: Callable[[bool], None]  # told whether the ledger took all of them


class ApplyLoop:
    """Applies blocks in the order's order.

    A committed block that breaks a rule of proposals is passed over: every node finds the same, and
    an order cannot take anything back. Or this node's ledger is another one than the others': who
    listens for invalid blocks finds out. Where this node itself has proposed it, or on any other
    error, the loop stops for good.

    Attributes:
        place: How far of the order the ledger is.
    """

    def __init__(
        self,
        state: LedgerState,
        store: LedgerStore,
        *,
        place: OrderPlace,
        find_made: Callable[[bytes], MadeBlock | None],
        on_applied: Callable[[BlockEffects], None],
        on_passed: Callable[[], None],
        on_invalid: Callable[[], None],
        on_synced: Callable[[int], None],
        on_failure: Callable[[BaseException], None],
        clock: StageClock,
    ) -> None:
        self._state = state
        self._store = store
        self.place = place
        self._find_made = find_made
        self._on_applied = on_applied
        self._on_passed = on_passed
        self._on_invalid = on_invalid
        self._on_synced = on_synced
        self._on_failure = on_failure
        self._clock = clock
        self._unsynced_blocks = 0
        self._fetched_bad = False
        self._queue: queue.Queue[Ordered | Fetched | FetchedAll | None] = queue.Queue(
            QUEUED_BLOCKS_MAX
        )
        self._thread = threading.Thread(target=self._run, name="apply", daemon=True)

    def start(self) -> None:
        """Begin to apply what comes in."""
        self._thread.start()

    def push(self, item: Ordered | Fetched | FetchedAll) -> None:
        """Hand over what comes next; waits while the queue is full."""
        self._put(item)

    def stop(self) -> None:
        """Apply what is in the queue and end."""
        if self._thread.is_alive():
            self._put(None)
            self._thread.join()

    def _put(self, item: Ordered | Fetched | FetchedAll | None) -> None:
        while self._thread.is_alive():
            try:
                return self._queue.put(item, timeout=QUEUE_CHECK_S)
            except queue.Full:
                continue
        return None  # it has failed and said so: nothing is applied any more

    def recover(self, ordered: Ordered) -> None:
        """Apply a block that the order committed before this start."""
        self._take(ordered)

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                effects = None
                match item:
                    case Ordered():
                        effects = self._take(item)
                    case Fetched(ordered):
                        effects = self._take_fetched(ordered)
                    case FetchedAll(place, done):
                        self._leap(place, done)
                if effects is not None:
                    self._on_applied(effects)
                self._on_passed()
        except BaseException as error:
            self._on_failure(error)

    def _take(self, ordered: Ordered) -> BlockEffects | None:
        """Take the order's next entry; None where it changes nothing."""
        if ordered.index <= self.place.index:
            return None  # came by fetched blocks already
        if ordered.index != self.place.index + 1:
            raise EngineError(
                f"block {ordered.index} of the order came after block {self.place.index}"
            )
        if not ordered.block:
            self.place = OrderPlace(ordered.index, ordered.term)
            return None
        made = self._find_made(ordered.block)
        try:
            return self._apply(ordered, made)
        except (BlockInvalid, MalformedError) as error:
            if made:
                raise
            logger.error(
                "an invalid block was ordered; it is passed over",
                extra={"index": ordered.index, "term": ordered.term, "reason": str(error)},
            )
            self.place = OrderPlace(ordered.index, ordered.term)
            self._on_invalid()
            return None

    def _take_fetched(self, ordered: Ordered) -> BlockEffects | None:
        if ordered.index <= self.place.index or self._fetched_bad:
            return None
        try:
            return self._apply(ordered, None, leapt=True)
        except (BlockInvalid, MalformedError) as error:
            logger.error(
                "a peer gave an invalid block in place of a pruned one",
                extra={"index": ordered.index, "term": ordered.term, "reason": str(error)},
            )
            self._fetched_bad = True
            self._on_invalid()
            return None

    def _leap(self, place: OrderPlace, done: Callable[[bool], None]) -> None:
        good, self._fetched_bad = not self._fetched_bad, False
        if good:
            self.place = max(place, self.place, key=lambda each: each.index)
            self._store.advance_order(self.place)
        done(good)

    def _apply(
        self, ordered: Ordered, made: MadeBlock | None, *, leapt: bool = False
    ) -> BlockEffects:
        with self._clock.stage("parse"):
            block = made.block if made else parse_block(ordered.block)
        _check_place(block, ordered)
        with self._clock.stage("prepare"):
            prepared = made.prepared if made else [PreparedBatch(each) for each in block.batches]
        with self._clock.stage("apply"):
            effects = apply_block(self._state, block, prepared)
        with self._clock.stage("index"):
            indexed = self._store.index(effects.results, prepared)
        with self._clock.stage("write"):
            self._store.write(effects, indexed, ordered, leapt=leapt)
        effects.commit()
        self.place = OrderPlace(ordered.index, ordered.term, leapt)
        self._unsynced_blocks += 1
        if self._unsynced_blocks >= BLOCKS_PER_SYNC:
            self._unsynced_blocks = 0
            self._store.sync()
            self._on_synced(ordered.index)
        return effects


def _check_place(block: Block, ordered: Ordered) -> None:
    """Check that a block says of itself what the order says of it.

    Raises:
        BlockInvalid: It claims another time or term, with which its leader could outdo later ones.
    """
    said = block.proposal.time_ms, block.proposal.term
    if said != (ordered.time_ms, ordered.term):
        raise BlockInvalid(
            f"block {ordered.index} of the order stands there with time and term"
            f" {(ordered.time_ms, ordered.term)}, its proposal says {said}"
        )
