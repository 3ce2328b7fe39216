"""The port: a total order of opaque blocks, whatever engine keeps it."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from lotmark_consensus.errors import BlockTooLarge, OrderingFailed

BLOCK_SIZE_MAX = 8 * 1024 * 1024
CHAIN_ID_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """One block at its place in the order."""

    index: int  # from 1, without gaps
    term: int
    time_ms: int  # Unix time, as the proposer gave it
    block: bytes


class Role(Enum):
    """What an ordering can do for its caller now."""

    LEADER = "leader"  # proposals are taken
    STOPPED = "stopped"  # on purpose
    FAILED = "failed"  # on an error; a restart re-reads the disk


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderingStatus:
    """Where an ordering stands."""

    role: Role
    term: int
    last_index: int  # 0: nothing was ever ordered
    committed_index: int
    first_index: int  # the lowest block that `committed` can still give
    failure: str | None  # why the role is FAILED


class Ordering(Protocol):
    """A total order of opaque blocks. All methods may be called from any thread."""

    def propose(self, block: bytes, *, time_ms: int) -> Future[Ordered]:
        """Ask for a place in the order.

        Cancelling the future withdraws a block that has not been taken up yet.

        Args:
            block: At most `BLOCK_SIZE_MAX` bytes, never looked into.
            time_ms: The block's time, 0 to 2**64 - 1, kept beside it.

        Returns:
            Resolved once the block is durable on a quorum. It fails with `JournalFull` where there
            was no room (nothing was kept, propose again) and with `OrderingFailed` where the
            outcome is unknown.

        Raises:
            BlockTooLarge: Cut it smaller.
            QueueFull: Wait for an earlier proposal, then propose again.
            OrderingStopped: It was stopped.
            OrderingFailed: It stopped on an error.
        """
        ...

    def committed(self, from_index: int) -> Iterator[Ordered]:
        """Read back, in order, what was committed at the time of this call.

        Args:
            from_index: The first block wanted, 1 or more.

        Raises:
            IndexPruned: `from_index` is no longer kept.
            JournalCorrupt: A record is damaged (raised while iterating).
            OrderingStopped: It was stopped.
        """
        ...

    def on_committed(self, callback: Callable[[Ordered], None]) -> None:
        """Hand every block committed from now on to `callback`: in order, once, one at a time.

        Register first and read `committed` afterwards for what came before: a block committed
        between the two comes both ways, so compare indexes. The callback holds up the order while
        it runs; what it raises stops the ordering; it must not call `stop`.
        """
        ...

    def on_failure(self, callback: Callable[[BaseException], None]) -> None:
        """Hand the error that stops this ordering to `callback`, at once if that has happened."""
        ...

    def status(self) -> OrderingStatus:
        """Return where this ordering stands; never waits for the disk or the network."""
        ...

    def prune(self, below_index: int) -> None:
        """Allow every block below `below_index` to be forgotten; some may be kept longer.

        Raises:
            JournalFailed: The files could not be deleted.
            OrderingStopped: It was stopped.
        """
        ...

    def stop(self) -> None:
        """Commit what waits, take nothing more, give the folder back; again has no effect."""
        ...


def check_proposal(block: bytes, *, time_ms: int) -> None:
    """Refuse what no ordering takes.

    Raises:
        BlockTooLarge: Cut it smaller.
    """
    assert 0 <= time_ms < 2**64, time_ms
    if len(block) > BLOCK_SIZE_MAX:
        raise BlockTooLarge(
            f"a block of {len(block)} bytes; at most {BLOCK_SIZE_MAX} are ordered: cut it smaller"
        )


def failed_by(error: BaseException) -> OrderingFailed:
    """Return what proposers get once an ordering has stopped on `error`."""
    failure = OrderingFailed(
        f"the ordering stopped on {error!r}: mend that and restart,"
        " then read `committed` to see what was kept"
    )
    failure.__cause__ = error
    return failure
