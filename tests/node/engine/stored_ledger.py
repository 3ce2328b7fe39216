"""A ledger whose rows, blocks and tiles stand in a real store, made from one in memory."""

import shutil
import sys
from pathlib import Path

from lotmark.block import parse_block
from lotmark.genesis import chain_of
from lotmark_consensus.ordering import Ordered
from lotmark_node.engine.item_epochs import ItemEpochs
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.stage_clock import StageClock
from lotmark_node.engine.store import LedgerStore
from lotmark_node.state_machine.genesis_block import make_genesis_block
from lotmark_node.state_machine.ledger_state import load_state
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.transition import apply_block
from tests.node.ledger_in_memory import LedgerInMemory
from tests.node.state_machine.random_history import history


class StoredLedger:
    """A store that is opened, or founded, and takes blocks that another ledger made."""

    def __init__(self, folder: Path, whole: LedgerInMemory) -> None:
        self.folder, self.whole = folder, whole
        self.genesis_block = make_genesis_block(whole.genesis, whole.chain_id)
        self.store = LedgerStore(folder, whole.chain_id)
        self.failures: list[BaseException] = []
        self.items = ItemEpochs(
            self.store.items, on_failure=self.failures.append, clock=StageClock()
        )
        try:
            self._load()
        except BaseException:
            self.store.close()
            raise
        self.items.start()
        self.reader = LogReader(self.store, self.genesis_block)

    def _load(self) -> None:
        whole, loaded = self.whole, self.store.load_position()
        if loaded is None:
            self.store.found(self.genesis_block)
            loaded = self.store.load_position()
            assert loaded is not None
        self.state = load_state(
            self.store,
            loaded[0],
            chain=chain_of(whole.genesis, whole.chain_id),
            items=self.items,
        )
        self.ordered_index = loaded[1].index

    def grow(self, height: int) -> None:
        """Apply the other ledger's blocks up to a height."""
        for raw, _ in self.whole.blocks[self.state.height : height]:
            block = parse_block(raw)
            prepared = [PreparedBatch(each) for each in block.batches]
            effects = apply_block(self.state, block, prepared)
            self.ordered_index += 1
            time_ms = block.proposal.time_ms
            self.store.write(
                effects,
                self.store.index(effects.results, prepared),
                Ordered(index=self.ordered_index, term=1, time_ms=time_ms, block=raw),
            )
            effects.commit()

    def close(self) -> None:
        self.items.stop()
        self.store.close()


def crash_image(folder: Path, copy: Path) -> Path:
    """Return a copy of an open store's folder: what a killed process leaves."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    return copy


if __name__ == "__main__":  # holds a store open until its input ends
    held = StoredLedger(Path(sys.argv[1]), history(0, 1))
    sys.stdout.write("open\n")
    sys.stdout.flush()
    sys.stdin.read()
