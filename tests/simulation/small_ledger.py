"""What a node makes of the order: a list of blocks, durable up to a point of its own."""

from collections.abc import Sequence

from lotmark_consensus.ordering import Ordered


class SmallLedger:
    """The simplest ledger that can be wrong: it keeps every block at its index.

    Attributes:
        blocks: The order from index 1.
        durable_index: What a crash leaves.
        leapt: It came to `durable_index` by fetched blocks, so that the log may not know of it.
    """

    def __init__(self) -> None:
        self.blocks: list[Ordered] = []
        self.durable_index = 0
        self.leapt = False

    @property
    def index(self) -> int:
        """The last index applied; 0: none."""
        return len(self.blocks)

    @property
    def durable_term(self) -> int:
        """The term of the last durable index; 0 where there is none."""
        return self.blocks[self.durable_index - 1].term if self.durable_index else 0

    def apply(self, ordered: Ordered) -> None:
        """Take the next index."""
        self.blocks.append(ordered)

    def flush(self) -> None:
        """Make everything applied durable."""
        if self.durable_index < self.index:
            self.durable_index = self.index
            self.leapt = False

    def leap(self, blocks: Sequence[Ordered]) -> None:
        """Take, durably, blocks that were fetched from a peer's ledger."""
        self.blocks.extend(blocks)
        self.durable_index = self.index
        self.leapt = True

    def crash(self) -> None:
        """Fall back to what is durable."""
        del self.blocks[self.durable_index :]
