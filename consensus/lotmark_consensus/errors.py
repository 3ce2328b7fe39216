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


class NotLeader(ConsensusError):
    """This node does not lead in the term asked for; nothing was proposed."""


class OutcomeUnknown(ConsensusError):
    """Leadership was lost before the outcome was known: read the order to see what was kept."""


class PeerRegressed(ConsensusError):
    """A peer shows less than it showed before: its disk is an older copy."""


class JournalCorrupt(ConsensusError):
    """Bytes that were durable once are not what was written.

    Attributes:
        path: The damaged file.
        offset: Where in it the damaged header or record begins.
        index: The block expected there.
        reason: What is wrong with it.
    """

    def __init__(
        self, path: Path, offset: int, index: int, reason: str, *, is_shared: bool = False
    ) -> None:
        """Make it.

        Args:
            path: As above.
            offset: As above.
            index: As above.
            reason: As above.
            is_shared: Whether other voters keep this order too: then no older copy may be started.
        """
        self.path = path
        self.offset = offset
        self.index = index
        self.reason = reason
        remedy = (
            "check the disk and keep the folder aside: a voter's log has no copy that may be"
            " started, neither its own older one nor another's; the others go on without"
            " this voter, whose place no other can take yet"
            if is_shared
            else "check the disk, and restore the newest copy of this file; nobody else keeps this"
            " order, so an older copy of the whole folder would contradict receipts"
        )
        super().__init__(f"{path}: offset {offset}, index {index}: {reason}; {remedy}")


class JournalFull(ConsensusError):
    """There was no room for an append; nothing of it was kept, and a later one may succeed."""


class JournalFailed(ConsensusError):
    """The operating system failed a call that the journal depends on."""


class JournalLocked(ConsensusError):
    """Another process holds the folder."""


class ForeignJournal(ConsensusError):
    """The folder belongs to another chain."""


class FrameRefused(ConsensusError):
    """A peer's bytes are no frame by the rules; nothing of them was acted upon."""


class RaftHalted(ConsensusError):
    """A voter met what cannot happen while all keep the rules: it takes part in nothing more."""


class MembershipRefused(ConsensusError):
    """The voters cannot be changed like this, or not now; nothing was proposed."""


class LedgerBehind(ConsensusError):
    """The log no longer has entries that the ledger still needs."""


class CoreMismatch(ConsensusError):
    """The PySyncObj that is installed is not the one that this package guards."""
