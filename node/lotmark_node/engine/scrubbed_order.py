"""A stopped node's order as a scrub reads it: a lone node's segment files, or a voter's log."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from lotmark_consensus.journal import Journal
from lotmark_consensus.ordering import Ordered
from lotmark_consensus.raft.log_entry import EntryKind, decode_command
from lotmark_consensus.raft.rocks_log import RocksLogStore


class ScrubbedOrder(Protocol):
    """What a scrub asks of either form.

    Attributes:
        first_index: The first index that is kept.
        last_index: The last one; committed or not.
        torn_size: Bytes of an unfinished append that were cut off when it was opened.
        is_shared: Whether other voters keep this order too.
    """

    first_index: int
    last_index: int
    torn_size: int
    is_shared: bool

    def scrub(self) -> None:
        """Read and check all that is kept.

        Raises:
            JournalCorrupt: The first damage found.
        """
        ...

    def block(self, index: int) -> bytes | None:
        """Return the block at an index; None where none is kept there. Indexes must ascend."""
        ...

    def close(self) -> None:
        """Give the folder back."""
        ...


def open_order(folder: Path, chain_id: bytes, *, is_shared: bool) -> ScrubbedOrder:
    """Open the order that a node keeps, alone or as one of several voters.

    Raises:
        ConsensusError: The folder is in use, foreign, or damaged.
    """
    return _SharedOrder(folder, chain_id) if is_shared else _OwnOrder(folder, chain_id)


class _OwnOrder:
    """The journal of a node alone: every index holds a block."""

    is_shared = False

    def __init__(self, folder: Path, chain_id: bytes) -> None:
        self._journal = journal = Journal(folder, chain_id)
        self.first_index, self.last_index = journal.first_index, journal.last_index
        self.torn_size = journal.torn_tail.size if journal.torn_tail else 0
        self._reading: Iterator[Ordered] | None = None

    def scrub(self) -> None:
        self._journal.scrub()

    def block(self, index: int) -> bytes | None:
        if not self.first_index <= index <= self.last_index:
            return None
        if self._reading is None:
            self._reading = self._journal.read(index)
        return next((each.block for each in self._reading if each.index == index), None)

    def close(self) -> None:
        self._journal.close()


class _SharedOrder:
    """The log of a voter: beside blocks it holds what the order needs for itself."""

    is_shared = True
    torn_size = 0  # what RocksDB cuts off was never acknowledged, and it tells nobody

    def __init__(self, folder: Path, chain_id: bytes) -> None:
        self._store = RocksLogStore(folder, chain_id)
        stored = self._store.load()
        self.first_index, self.last_index = stored.first_index, stored.last_index

    def scrub(self) -> None:
        for index in range(self.first_index, self.last_index + 1):
            self._store.read(index)

    def block(self, index: int) -> bytes | None:
        if not self.first_index <= index <= self.last_index:
            return None
        entry = decode_command(self._store.read(index).command)
        return entry.payload if entry.kind is EntryKind.BLOCK else None

    def close(self) -> None:
        self._store.close()
