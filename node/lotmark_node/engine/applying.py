"""The one apply loop: ordered blocks in, one after the other, each written before the next."""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lotmark.block import Block, parse_block
from lotmark_consensus.ordering import Ordered
from lotmark_node.engine.errors import EngineError
from lotmark_node.engine.stage_clock import StageClock
from lotmark_node.engine.store import LedgerStore
from lotmark_node.state_machine.ledger_state import LedgerState
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.transition import BlockEffects, apply_block

BLOCKS_PER_SYNC = 256


@dataclass(frozen=True, slots=True)
class MadeBlock:
    """A block this node has made itself, so that it need not parse it again."""

    raw: bytes
    block: Block
    prepared: Sequence[PreparedBatch]


class ApplyLoop:
    """Applies blocks in the order's order. An error that is not a rule's stops it for good."""

    def __init__(
        self,
        state: LedgerState,
        store: LedgerStore,
        *,
        ordered_index: int,
        find_made: Callable[[bytes], MadeBlock | None],
        on_applied: Callable[[BlockEffects], None],
        on_synced: Callable[[int], None],
        on_failure: Callable[[BaseException], None],
        clock: StageClock,
    ) -> None:
        self._state = state
        self._store = store
        self._ordered_index = ordered_index
        self._find_made = find_made
        self._on_applied = on_applied
        self._on_synced = on_synced
        self._on_failure = on_failure
        self._clock = clock
        self._queue: queue.SimpleQueue[Ordered | None] = (
            queue.SimpleQueue()
        )  # bounded by the cutter
        self._thread = threading.Thread(target=self._run, name="apply", daemon=True)

    def start(self) -> None:
        """Begin to apply what comes in."""
        self._thread.start()

    def push(self, ordered: Ordered) -> None:
        """Hand over the next committed block."""
        self._queue.put(ordered)

    def stop(self) -> None:
        """Apply what is in the queue and end."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def recover(self, ordered: Ordered) -> None:
        """Apply a block that the order committed before this start."""
        self._apply(ordered)

    def _run(self) -> None:
        try:
            while (ordered := self._queue.get()) is not None:
                self._on_applied(self._apply(ordered))
        except BaseException as error:
            self._on_failure(error)

    def _apply(self, ordered: Ordered) -> BlockEffects:
        if ordered.index != self._ordered_index + 1:
            raise EngineError(
                f"block {ordered.index} of the order came after block {self._ordered_index}"
            )
        made = self._find_made(ordered.block)
        with self._clock.stage("parse"):
            block = made.block if made else parse_block(ordered.block)
        if block.proposal.time_ms != ordered.time_ms:
            raise EngineError(
                f"block {ordered.index} is ordered at {ordered.time_ms} ms, its proposal says"
                f" {block.proposal.time_ms} ms"
            )
        with self._clock.stage("prepare"):
            prepared = made.prepared if made else [PreparedBatch(each) for each in block.batches]
        with self._clock.stage("apply"):
            effects = apply_block(self._state, block, prepared)
        with self._clock.stage("write"):
            self._store.write(effects, ordered.block, ordered.index)
        effects.commit()
        self._ordered_index = ordered.index
        if ordered.index % BLOCKS_PER_SYNC == 0:
            self._store.sync()
            self._on_synced(ordered.index)
        return effects
