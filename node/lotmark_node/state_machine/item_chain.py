"""What a block does to the chains of the items that its events name.

The chains stand beside the state, not in its digest: their heads show in the roots of epochs.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

from lotmark.item_epochs import (
    EndedEpoch,
    EpochRule,
    RunningEpoch,
    chained_records,
    parse_running_epoch,
    rule_in_force,
    touched_hashes,
)
from lotmark.state_rows import RowReader, Table, row_key

ITEM_EPOCH_KEY = row_key(Table.ITEM_EPOCH)


@dataclass(frozen=True, slots=True)
class ItemChanges:
    """The records that a block has moved, and the epoch that ends with it."""

    height: int
    records: Mapping[bytes, bytes]  # item hash -> record after the block
    ended: EndedEpoch | None = None


class ItemStore(Protocol):
    """Records of items and roots of epochs, beside the state."""

    def records(self, hashes: Set[bytes]) -> Mapping[bytes, bytes]:
        """Return the records of those items that have one, as the last block left them."""
        ...

    def root(self, epoch: int) -> bytes:
        """Return the root of an epoch that has ended; waits while it is being made."""
        ...

    def advance(self, changes: ItemChanges) -> None:
        """Move on by a block, whose changes are written already."""
        ...


@dataclass(slots=True)
class ItemChain:
    """The chain between two blocks; without a rule no item is chained yet."""

    store: ItemStore
    rule: EpochRule | None
    running: RunningEpoch | None


def load_item_chain(rows: RowReader, store: ItemStore) -> ItemChain:
    """Return the chain as the rows leave it."""
    raw = rows.get(ITEM_EPOCH_KEY)
    running = None if raw is None else parse_running_epoch(raw)
    return ItemChain(store, rule_in_force(rows), running)


@dataclass(slots=True)
class Touches:
    """The items that a block's accepted events name, in their order."""

    events: list[tuple[int, Sequence[bytes]]] = field(default_factory=list)  # entry, item hashes
    count: int = 0

    def add(self, index: int, item_ids: Sequence[str]) -> None:
        """Take the event of entry `index`."""
        hashes = touched_hashes(item_ids)
        self.events.append((index, hashes))
        self.count += len(hashes)

    def items(self) -> set[bytes]:
        """Return the hashes of the items, each once."""
        return {each for _, hashes in self.events for each in hashes}

    def moved(
        self, before: Mapping[bytes, bytes], leaf_hashes: Sequence[bytes], first_index: int
    ) -> dict[bytes, bytes]:
        """Return the records that they lead to.

        Args:
            before: Records before; an item that has none is new.
            leaf_hashes: Of the block's entries.
            first_index: Of the first of them.
        """
        return chained_records(self.events, before, leaf_hashes, first_index)
