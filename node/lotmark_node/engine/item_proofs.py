"""Item proofs, made on demand: an item's events with the epochs that leave none of them out."""

from bisect import bisect_left
from collections.abc import Callable, Iterable

from lotmark.entry import parse_close, parse_leaf_data
from lotmark.item_epochs import EpochHead, is_full, item_hash, parse_record
from lotmark.item_proof import (
    ITEM_PROOF_SIZE_MAX,
    EpochStep,
    ItemEvent,
    ItemProof,
    TreeItem,
    format_item_proof,
)
from lotmark_node.engine.checkpoints import SignedCheckpoint
from lotmark_node.engine.errors import NotOnLedger, StoreCorrupt
from lotmark_node.engine.governance_proofs import GovernanceProofs
from lotmark_node.engine.item_rows import ItemRows, Tile
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.store import LedgerStore
from lotmark_node.engine.stored_block import LogEntry

_EVENT_SIZE_MIN = 128  # that an event takes in a proof, leaf and lengths included


class ProofTooLarge(NotOnLedger):
    """An item has more events than one proof holds."""


class ItemProofMaker:
    """Makes item proofs from one ledger."""

    def __init__(self, store: LedgerStore, reader: LogReader, governance: GovernanceProofs) -> None:
        self._store = store
        self._rows: ItemRows = store.items
        self._reader = reader
        self._governance = governance

    def make(
        self,
        item: str,
        indexes: Iterable[int],
        checkpoint: SignedCheckpoint,
        *,
        may_read: Callable[[LogEntry], bool] = lambda _: True,
    ) -> bytes:
        """Return the proof of an item's history under a checkpoint.

        Args:
            item: Its canonical name.
            indexes: The entries of all accepted events that name it, ascending.
            checkpoint: Under which; events after it are left out.
            may_read: Tells whether whoever asks may read an event. One that he may not read stands
                in the proof without its content: that there is such an event cannot be hidden.

        Raises:
            NotOnLedger: The trees of the checkpoint's epochs are not kept any more.
            ProofTooLarge: There are more events than fit.
            StoreCorrupt: The indexes are not those that the ledger has chained.
        """
        size = checkpoint.head.size
        last_close = self._governance.last_close(size)
        epoch = parse_close(parse_leaf_data(last_close.leaf)[1]).item_epoch
        newest, steps, count = self._follow(item_hash(item), epoch)
        events, total_size, chained_count = [], 0, 0
        for index in indexes:
            if index >= size:
                break
            event = self._event(index, newest, size, may_read)
            total_size += _EVENT_SIZE_MIN + len(event.event)
            if total_size > ITEM_PROOF_SIZE_MAX:
                raise ProofTooLarge(
                    f"{item} has more events than the {ITEM_PROOF_SIZE_MAX} bytes of one proof hold"
                )
            chained_count += event.path is None
            events.append(event)
        if chained_count != count:
            raise StoreCorrupt(
                f"the index has {chained_count} events of {item} up to epoch {epoch}, the ledger"
                f" has chained {count}; rebuild the index: lotmark index rebuild"
            )
        proof = ItemProof(
            item=item,
            checkpoint_note=checkpoint.note,
            last_close=last_close,
            governance=self._governance.of_signer(None, size),
            epochs=steps,
            events=events,
        )
        return format_item_proof(proof)

    def _event(
        self,
        index: int,
        newest: EpochHead | None,
        size: int,
        may_read: Callable[[LogEntry], bool],
    ) -> ItemEvent:
        entry = self._reader.entry(index)
        is_chained = newest is not None and newest.chain_first_index <= index < newest.size
        path = None if is_chained else self._store.tree.inclusion_path(index, size)
        return ItemEvent(entry.leaf_data, entry.event if may_read(entry) else b"", path)

    def _follow(self, hashed: bytes, epoch: int) -> tuple[EpochHead | None, list[EpochStep], int]:
        """Return the newest epoch, the steps back to the item's record, and its events' number."""
        newest: EpochHead | None = None
        steps: list[EpochStep] = []
        while epoch:
            kept = self._rows.head(epoch)
            if kept is None:
                raise NotOnLedger(
                    f"the tree of item epoch {epoch} is not kept any more; ask for a proof under a"
                    " newer checkpoint"
                )
            head, _ = kept
            newest = newest or head
            step = self._step(hashed, head)
            steps.append(step)
            if step.item is not None:
                return newest, steps, parse_record(step.item.record).count
            if is_full(epoch):
                break
            epoch -= 1
        return newest, steps, 0

    def _step(self, hashed: bytes, head: EpochHead) -> EpochStep:
        first = self._rows.tile_at(head.number, bytes(32))
        head_path = self._rows.tree(head, first).inclusion_path(0, head.tree_size)
        tile = self._rows.tile_at(head.number, hashed)
        at = bisect_left(tile.items, (hashed, b""))
        if at < len(tile.items) and tile.items[at][0] == hashed:
            return EpochStep(head.leaf(), head_path, item=self._item(head, tile, at))
        left = self._item(head, tile, at - 1) if at else None
        right = None
        if at < len(tile.items):
            right = self._item(head, tile, at)
        elif tile.first_leaf + at < head.tree_size:
            right = self._item(head, next(self._rows.tiles(head.number, hashed)), 0)
        return EpochStep(head.leaf(), head_path, left=left, right=right)

    def _item(self, head: EpochHead, tile: Tile, at: int) -> TreeItem:
        hashed, record = tile.items[at]
        index = tile.first_leaf + at
        path = self._rows.tree(head, tile).inclusion_path(index, head.tree_size)
        return TreeItem(index, hashed, record, path)
