"""What the consensus package raises. Callers catch the root or a leaf."""

from pathlib import Path


class ConsensusError(Exception):
    """The order of blocks could not be kept, read or extended."""


class BlockTooLarge(ConsensusError):
    """A block is larger than the order takes."""


class QueueFull(ConsensusError):
    """As many proposals wait as may wait; the caller is to try again."""


class IndexPruned(ConsensusError):
    """Somebody asked for a block that has been pruned."""


class OrderingStopped(ConsensusError):
    """The ordering was stopped on purpose; nothing was proposed."""


class OrderingFailed(ConsensusError):
    """The ordering stopped on an error; what became of proposals is known after a restart."""


class JournalCorrupt(ConsensusError):
    """Bytes that were durable once are not what was written.

    Attributes:
        path: The damaged file.
        offset: Where in it the damaged header or record begins.
        index: The block expected there.
        reason: What is wrong with it.
    """

    def __init__(self, path: Path, offset: int, index: int, reason: str) -> None:
        self.path = path
        self.offset = offset
        self.index = index
        self.reason = reason
        super().__init__(
            f"{path}: offset {offset}, index {index}: {reason};"
            " restore the folder from a backup or another voter's copy, and check the disk"
        )


class JournalFull(ConsensusError):
    """There was no room for an append; nothing of it was kept, and a later one may succeed."""


class JournalFailed(ConsensusError):
    """The operating system failed a call that the journal depends on."""


class JournalLocked(ConsensusError):
    """Another process holds the folder."""


class ForeignJournal(ConsensusError):
    """The folder belongs to another chain."""
