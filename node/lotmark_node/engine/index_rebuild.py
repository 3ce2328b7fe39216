"""Making the provenance index again from the blocks, while the node is stopped."""

from dataclasses import dataclass

from lotmark.genesis import Genesis, chain_id
from lotmark_node.engine.errors import EngineError, IndexBehind
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.scrub import Progress
from lotmark_node.engine.store import LedgerStore
from lotmark_node.state_machine.genesis_block import make_genesis_block
from lotmark_node.state_machine.prepared_batch import PreparedBatch


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was done."""

    first_height: int  # that was added; above `height`: none was
    height: int  # of the ledger


def rebuild_index(
    store: LedgerStore,
    genesis: Genesis,
    *,
    from_scratch: bool,
    progress: Progress,
) -> Rebuilt:
    """Add to the index whatever blocks it lacks; where it is broken off, the next call goes on.

    Args:
        store: Of a stopped node.
        genesis: The founding document.
        from_scratch: Forget what is there first.
        progress: Shows how far it is.

    Raises:
        EngineError: The store holds no ledger, or is damaged.
    """
    loaded = store.load_position()
    if loaded is None:
        raise EngineError("no ledger is here yet; start the node, which makes one with its index")
    height = loaded[0].height
    indexed = store.indexed_height()
    if indexed is None or indexed > height or from_scratch:
        store.clear_index()
        indexed = 0
    reader = LogReader(store, make_genesis_block(genesis, chain_id(genesis.to_json())))
    with progress("Indexing blocks", height - indexed) as advance:
        for at in range(indexed + 1, height + 1):
            batches, results = reader.block(at)
            # What was accepted has had its signature checked.
            prepared = [
                PreparedBatch(batch, signature_holds=not result.outcome)
                for batch, result in zip(batches, results.batches, strict=True)
            ]
            store.index_block(results, prepared)
            advance(1)
    store.sync()
    return Rebuilt(indexed + 1, height)


def check_indexed(store: LedgerStore, height: int) -> None:
    """Check that the index is made for all of the ledger.

    Raises:
        IndexBehind: It is not, as after a rebuild that was broken off, or an older version's store.
    """
    indexed = store.indexed_height()
    if indexed != height:
        made = "is not made, or by another version" if indexed is None else f"ends at {indexed}"
        raise IndexBehind(
            f"the provenance index {made}, the ledger at {height}; run `lotmark index rebuild`"
        )
