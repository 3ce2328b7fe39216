"""How much of the order a voter keeps for peers that were away for a short time."""

from collections import deque

from lotmark_consensus.ordering import Ordered

KEPT_ENTRIES = 10_000
KEPT_SIZE = 256 << 20  # of blocks; a peer that is further behind fetches them from the ledger


class KeptTail:
    """Tells from where on the order is kept: by count, and by size as far as it is known.

    The size of blocks that were handed out before a restart is not known; the restart before had
    pruned them already.
    """

    def __init__(self) -> None:
        self._tail: deque[tuple[int, int]] = deque()  # (index, size)
        self._size = 0
        self._first_index = 1

    def add(self, record: Ordered) -> None:
        """Count a block that is handed out."""
        self._tail.append((record.index, len(record.block)))
        self._size += len(record.block)
        while len(self._tail) > KEPT_ENTRIES or self._size > KEPT_SIZE:
            index, size = self._tail.popleft()
            self._size -= size
            self._first_index = index + 1
        self._first_index = max(self._first_index, record.index - KEPT_ENTRIES + 1)

    def prunable_below(self, below_index: int) -> int:
        """Return the lowest index to keep where all below `below_index` may be forgotten."""
        return min(below_index, self._first_index)
