"""What a node makes of the order: a list of blocks, durable up to a point of its own."""

from lotmark_consensus.ordering import Ordered


class SmallLedger:
    """The simplest ledger that can be wrong: it keeps every block at its index.

    Attributes:
        blocks: The order from index 1.
        durable_index: What a crash leaves.
    """

    def __init__(self) -> None:
        self.blocks: list[Ordered] = []
        self.durable_index = 0

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
        self.durable_index = self.index

    def crash(self) -> None:
        """Fall back to what is durable."""
        del self.blocks[self.durable_index :]
