"""The log's port in memory, for tests and the simulator: durable is what `write` took."""

from pathlib import Path

from lotmark_consensus.errors import JournalCorrupt
from lotmark_consensus.raft.log_entry import EntryKind
from lotmark_consensus.raft.log_store import PeerMark, StoredEntry, StoredLog, Writes
from lotmark_consensus.raft.term_starts import TermStarts


class MemoryLogStore:
    """Keeps what was written for as long as the object lives, through any crash of its engine."""

    def __init__(self) -> None:
        self._entries: dict[int, StoredEntry] = {}
        self._first_index, self._last_index = 1, 0
        self._term = 0
        self._vote: str | None = None
        self._memberships: list[tuple[int, bytes]] = []
        self._marks: dict[str, PeerMark] = {}

    def load(self) -> StoredLog:
        """Return where the log stands."""
        terms = TermStarts()
        for index in range(self._first_index, self._last_index + 1):
            terms.append(index, self._entries[index].term)
        return StoredLog(
            term=self._term,
            vote=self._vote,
            first_index=self._first_index,
            last_index=self._last_index,
            terms=terms.rows(self._first_index),
            memberships=tuple(self._memberships),
            marks=dict(self._marks),
        )

    def read(self, index: int) -> StoredEntry:
        """Return a durable entry.

        Raises:
            JournalCorrupt: It is missing.
        """
        if index not in self._entries:
            raise JournalCorrupt(Path("memory"), 0, index, "no such entry", is_shared=True)
        return self._entries[index]

    def write(self, writes: Writes) -> None:
        """Take writes, all at once."""
        cut_from = writes.entries[0].index if writes.entries else writes.last_index + 1
        for index in range(self._first_index, min(writes.first_index, self._last_index + 1)):
            del self._entries[index]
        for index in range(max(cut_from, writes.first_index), self._last_index + 1):
            self._entries.pop(index, None)
        self._entries.update((entry.index, entry) for entry in writes.entries)
        if writes.memberships is not None:
            self._memberships = list(writes.memberships)
        else:
            self._memberships = [row for row in self._memberships if row[0] < cut_from]
            self._memberships.extend(
                (entry.index, entry.command[1:])
                for entry in writes.entries
                if entry.command[0] == EntryKind.MEMBERSHIP
            )
        self._first_index, self._last_index = writes.first_index, writes.last_index
        self._term, self._vote = writes.term, writes.vote
        self._marks.update(writes.marks)

    def close(self) -> None:
        """Do nothing: there is no disk."""
