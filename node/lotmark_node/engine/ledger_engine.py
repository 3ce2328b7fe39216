"""The engine put together: recovery, then admission, cutter, order, apply loop and checkpoints."""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lotmark import genesis as protocol_genesis
from lotmark.ed25519 import PrivateKey
from lotmark.genesis import Genesis
from lotmark.outcome import Outcome
from lotmark.tlog_policy import parse_policy
from lotmark_consensus.ordering import Ordered
from lotmark_consensus.single import SingleNodeOrdering
from lotmark_node.engine.admission import Admission
from lotmark_node.engine.applying import ApplyLoop
from lotmark_node.engine.block_cutter import BlockCutter
from lotmark_node.engine.checkpoints import CheckpointSigner, SignedCheckpoint
from lotmark_node.engine.errors import EngineError, Regression
from lotmark_node.engine.log_reader import LogReader, PlacedBatch
from lotmark_node.engine.receipts import ReceiptMaker
from lotmark_node.engine.signature_worker import SignatureWorker
from lotmark_node.engine.signed_maximum import SignedMaximum
from lotmark_node.engine.stage_clock import StageClock
from lotmark_node.engine.store import LedgerStore
from lotmark_node.state_machine.genesis_block import make_genesis_block, policy_digest
from lotmark_node.state_machine.ledger_state import LedgerState, load_state
from lotmark_node.state_machine.transition import BlockEffects

logger = logging.getLogger(__name__)

TERM = 1  # a single node has one term
FREE_SIZE_MIN = 256 << 20  # below this the disk counts as full, so that the store can still write
STORAGE_CHECK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """The keys of a voter."""

    proposal: PrivateKey
    log: PrivateKey
    cosign: PrivateKey
    admit: PrivateKey


class LedgerEngine:
    """One node's ledger. Made and stopped on the event loop's thread."""

    def __init__(
        self,
        folder: Path,
        genesis: Genesis,
        *,
        party: str,
        node: str,
        keys: NodeKeys,
        now_ms: Callable[[], int],
        free_size_min: int = FREE_SIZE_MIN,
    ) -> None:
        """Open the folder and bring the ledger to where the order stands.

        Raises:
            EngineError, ConsensusError: The folder is in use, foreign, damaged, or behind what
                this node has signed.
        """
        chain_id = protocol_genesis.chain_id(genesis.to_json())
        self.genesis, self.chain_id = genesis, chain_id
        self.name = f"{party}/{node}"
        self.folder, self._free_size_min = folder, free_size_min
        self._journal_full = self._space_short = False
        self.clock = StageClock()
        self.failure: BaseException | None = None
        self.on_closed: Callable[[Outcome | None], None] = _ignore
        self._storage_timer: asyncio.TimerHandle | None = None
        self.failed = asyncio.Event()  # set once nothing more is taken until a restart
        self._loop = asyncio.get_running_loop()
        self._advanced = asyncio.Event()
        folder.mkdir(parents=True, exist_ok=True)
        self.genesis_block = make_genesis_block(genesis, chain_id)
        with ExitStack() as undo:
            self.ordering = SingleNodeOrdering(folder / "journal", chain_id, term=TERM)
            undo.callback(self.ordering.stop)
            self.store = LedgerStore(folder / "ledger", chain_id)
            undo.callback(self.store.close)
            self._build(party, node, keys, now_ms)
            undo.pop_all()

    def _build(self, party: str, node: str, keys: NodeKeys, now_ms: Callable[[], int]) -> None:
        genesis, chain_id, folder = self.genesis, self.chain_id, self.folder
        self.state, ordered_index = self._load()
        self._applying = ApplyLoop(
            self.state,
            self.store,
            ordered_index=ordered_index,
            find_made=lambda raw: self._cutter.find_made(raw),
            on_applied=self._applied,
            on_synced=self._synced,
            on_failure=self._fail,
            clock=self.clock,
        )
        self._cutter = BlockCutter(
            self.state,
            self.ordering,
            keys.proposal,
            term=TERM,
            now_ms=now_ms,
            on_failure=self._fail,
            on_storage_full=self._storage_full,
            clock=self.clock,
        )
        self._recover(ordered_index)
        self.reader = LogReader(self.store, self.genesis_block)
        self.receipts = ReceiptMaker(self.store, self.reader)
        self.checkpoints = CheckpointSigner(
            origin=protocol_genesis.origin(genesis, chain_id),
            cosigner=protocol_genesis.cosigner_name(genesis, party, node),
            log_key=keys.log,
            cosign_key=keys.cosign,
            policy=parse_policy(protocol_genesis.policy_text(genesis, chain_id)),
            maximum=SignedMaximum(folder / "signed-maximum"),
            now_ms=now_ms,
            on_failure=self._fail,
        )
        self.signatures = SignatureWorker(keys.admit)
        self.admission = Admission(
            self.state,
            self.reader,
            node=self.name,
            push=self._cutter.push,
            now_ms=now_ms,
            checkpoint=lambda: self.checkpoints.newest,
            on_closed=lambda outcome: self.on_closed(outcome),
        )

    def _load(self) -> tuple[LedgerState, int]:
        loaded = self.store.load_position()
        if loaded is None:
            self.store.found(self.genesis_block)
            loaded = self.store.load_position()
            assert loaded is not None, "height 0 was just written"
        position, ordered_index = loaded
        digest = policy_digest(self.genesis, self.chain_id)
        state = load_state(self.store, position, chain_id=self.chain_id, policy_digest=digest)
        return state, ordered_index

    def _recover(self, ordered_index: int) -> None:
        """Apply what the order has committed beyond what the store holds."""
        last_index = self.ordering.status().committed_index
        if last_index < ordered_index:
            raise Regression(
                f"{self.folder}: the ledger has applied block {ordered_index} of the order, but"
                f" the journal ends at {last_index}; restore the newest journal folder"
            )
        for ordered in self.ordering.committed(ordered_index + 1):
            self._applying.recover(ordered)
        if last_index > ordered_index:
            logger.info("recovered", extra={"blocks": last_index - ordered_index})

    def start(self) -> None:
        """Take batches from now on."""
        self.checkpoints.start(self.state.bases[-1])
        self.ordering.on_committed(self._committed)
        self.ordering.on_failure(self._fail)
        self._applying.start()
        self._cutter.start()
        self._check_storage()

    async def stop(self) -> None:
        """Refuse new batches, finish what was admitted, and write everything out."""
        self.admission.closed = Outcome.STOPPING
        if self._storage_timer is not None:
            self._storage_timer.cancel()
        await self._loop.run_in_executor(None, self._stop_threads)

    def _stop_threads(self) -> None:
        self._cutter.stop()
        self.ordering.stop()
        self._applying.stop()
        self.checkpoints.stop()
        self.signatures.stop()
        self.store.close()
        logger.info(
            "ledger stopped",
            extra={
                "height": self.state.height,
                "size": self.state.size,
                "fsyncs": self.ordering.fsyncs,
                "stage_ns": self.clock.used_ns,
                "processor_ns": time.process_time_ns(),
            },
        )

    def _committed(self, ordered: Ordered) -> None:
        self._applying.push(ordered)

    def _applied(self, effects: BlockEffects) -> None:
        """On the apply loop's thread, after each block."""
        self._cutter.applied()
        self.checkpoints.advance(self.state.bases[-1])
        self._loop.call_soon_threadsafe(self._tell, effects)

    def _tell(self, effects: BlockEffects) -> None:
        results = effects.results
        height, time_ms, index = results.close.height, results.close.time_ms, results.first_index
        placed = []
        for batch, result in zip(effects.block.batches, results.batches, strict=True):
            placed.append(PlacedBatch(batch, index, height, time_ms, result))
            index += result.entry_count
        with self.clock.stage("acknowledge"):
            self.admission.applied(placed)
        self._advanced.set()
        self._advanced = asyncio.Event()

    @property
    def next_advance(self) -> asyncio.Event:
        """The event that is set once the next block is applied."""
        return self._advanced

    def _synced(self, ordered_index: int) -> None:
        self.ordering.prune(ordered_index)

    def _fail(self, error: BaseException) -> None:
        """Nothing more is taken; what is there can still be read. A restart recovers."""
        if self.failure is None:
            self.failure = error
            logger.error("the ledger stopped taking events", exc_info=error)
        self._cutter.give_up()
        self._loop.call_soon_threadsafe(self._close_admission)

    def _close_admission(self) -> None:
        self.admission.closed = Outcome.STOPPING
        self.failed.set()

    def _storage_full(self, full: bool) -> None:
        """On the cutter's thread: the order has no room for a block, or has it again."""
        self._loop.call_soon_threadsafe(self._set_journal_full, full)

    def _set_journal_full(self, full: bool) -> None:
        self._journal_full = full
        self._judge_storage()

    def _judge_storage(self) -> None:
        """Close admission while either says that there is no room, and open it again."""
        if self.admission.closed != Outcome.STOPPING:
            full = self._journal_full or self._space_short
            self.admission.closed = Outcome.STORAGE_FULL if full else None

    def _check_storage(self) -> None:
        free = shutil.disk_usage(self.folder).free
        self._space_short = free < self._free_size_min
        self._judge_storage()
        self._storage_timer = self._loop.call_later(STORAGE_CHECK_S, self._check_storage)

    def checkpoint(self) -> SignedCheckpoint:
        """Return the newest checkpoint.

        Raises:
            EngineError: Checkpoints have stopped.
        """
        if self.checkpoints.newest is None or self.checkpoints.failure:
            raise EngineError(f"no checkpoint is signed: {self.checkpoints.failure}")
        return self.checkpoints.newest


def _ignore(_outcome: Outcome | None) -> None:
    """Nobody is told yet."""
