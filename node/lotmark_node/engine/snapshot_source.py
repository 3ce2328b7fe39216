"""What a snapshot is written from: this node's store, held at the newest checkpoint."""

from collections.abc import Iterator

from lotmark.block import parse_block
from lotmark.block_results import parse_results
from lotmark.merkle import Frontier
from lotmark.snapshot import GovernanceEntry, SnapshotRefused, SnapshotStart
from lotmark_node.engine.checkpoints import SignedCheckpoint
from lotmark_node.engine.errors import NotOnLedger
from lotmark_node.engine.ledger_engine import LedgerEngine
from lotmark_node.state_machine.item_epochs import RootsAsStated
from lotmark_node.state_machine.ledger_state import load_state
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.state import StateInMemory
from lotmark_node.state_machine.transition import apply_block


class LedgerSnapshotSource:
    """One export: `lotmark.snapshot.SnapshotSource` over a running node."""

    def __init__(
        self, engine: LedgerEngine, checkpoint: SignedCheckpoint, acceptances: bytes
    ) -> None:
        self._engine = engine
        self._checkpoint = checkpoint
        self._acceptances = acceptances
        self._replayed: tuple[int, StateInMemory] | None = None

    def genesis(self) -> bytes:
        """Return the genesis JSON."""
        return self._engine.genesis.to_json()

    def acceptances(self) -> bytes:
        """Return the acceptances JSON."""
        return self._acceptances

    def blocks(self, first_height: int, last_height: int) -> Iterator[tuple[bytes, bytes]]:
        """Return block bytes and block results bytes, in order."""
        store = self._engine.store
        for height in range(first_height, last_height + 1):
            yield store.block(height), store.raw_results(height)

    def checkpoint_note(self, height: int) -> bytes:
        """Return the checkpoint after `height`; a node keeps its newest one.

        Raises:
            SnapshotRefused: The newest checkpoint is of another height.
        """
        if height != self._checkpoint.head.height:
            raise SnapshotRefused(
                f"a snapshot ends at the newest checkpoint, height {self._checkpoint.head.height},"
                f" not {height}; leave the last height out"
            )
        return self._checkpoint.note

    def start(self, height: int) -> SnapshotStart:
        """Return the log after `height`."""
        close = self._engine.reader.close_entry(height)
        size = close.index + 1
        tree = self._engine.store.tree
        return SnapshotStart(
            Frontier(size, tree.frontier_nodes(size)),
            close.leaf_data,
            tuple(tree.inclusion_path(close.index, size)),
        )

    def governance(self, height: int) -> Iterator[GovernanceEntry]:
        """Return what governs up to `height`, in order."""
        size = self._engine.reader.close_entry(height).index + 1
        return self._engine.governance.all_before(size)

    def state_rows(self, height: int) -> Iterator[tuple[bytes, bytes]]:
        """Return the state after `height`, made again from the blocks: a node keeps the newest."""
        if self._replayed is None or self._replayed[0] != height:
            self._replayed = height, self._replay(height)
        return self._replayed[1].rows(b"")

    def _replay(self, height: int) -> StateInMemory:
        engine = self._engine
        if height > engine.state.height:
            raise NotOnLedger(f"height {height} is not on the ledger")
        rows = StateInMemory()
        rows.write(engine.genesis_block.changes.changed())
        stated = RootsAsStated()
        state = load_state(
            rows,
            engine.genesis_block.position,
            chain=engine.state.chain,
            items=stated,
        )
        for raw, raw_results in self.blocks(1, height):
            stated.stated = parse_results(raw_results).close.item_root
            block = parse_block(raw)
            effects = apply_block(state, block, [PreparedBatch(each) for each in block.batches])
            rows.write(effects.changes)
            effects.commit()
        return rows
