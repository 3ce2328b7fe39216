"""Records of items and roots of epochs without a store: for verifiers, replays and tests."""

from collections.abc import Mapping, Set

from lotmark.item_epochs import ZERO_HASH, EndedEpoch, epoch_root, is_full
from lotmark_node.state_machine.item_chain import ItemChanges


class ItemsInMemory:
    """All of it computed and kept in memory, from the chain's beginning on."""

    def __init__(self) -> None:
        self._records: dict[bytes, bytes] = {}
        self._touched: dict[bytes, bytes] = {}  # in the running epoch
        self._roots: dict[int, bytes] = {0: ZERO_HASH}  # of the newest two

    def records(self, hashes: Set[bytes]) -> Mapping[bytes, bytes]:
        """Return the records there are; the caller looks for those of `hashes`."""
        return self._records

    def root(self, epoch: int) -> bytes:
        """Return the root of one of the two epochs that ended last."""
        return self._roots[epoch]

    def advance(self, changes: ItemChanges) -> None:
        """Move on by a block."""
        self._records.update(changes.records)
        self._touched.update(changes.records)
        if changes.ended is not None:
            self._end(changes.ended)

    def _end(self, ended: EndedEpoch) -> None:
        items = self._records if is_full(ended.number) else self._touched
        previous = self._roots[ended.number - 1]
        head = ended.head(item_count=len(items), previous_root=previous)
        root = epoch_root(head, sorted(items.items()))
        self._roots = {ended.number - 1: previous, ended.number: root}
        self._touched = {}


class RootsAsStated:
    """Takes the roots of epochs from closes that are on record: records are not known.

    Attributes:
        stated: The root in the close of the block that is executed next.
    """

    def __init__(self) -> None:
        self.stated = ZERO_HASH

    def records(self, hashes: Set[bytes]) -> Mapping[bytes, bytes]:
        """Return none."""
        return {}

    def root(self, epoch: int) -> bytes:
        """Return what is on record."""
        return self.stated

    def advance(self, changes: ItemChanges) -> None:
        """Forget it."""
