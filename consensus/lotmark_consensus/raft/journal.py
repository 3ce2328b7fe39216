"""The log as PySyncObj sees it: in memory, with tickets for what a worker makes durable.

No method here waits for a write. What changes is kept until `take_writes` hands it to the worker;
`written` then moves the durable marks. The guard lets nothing leave, and counts nothing as kept,
that these marks do not cover.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import overload

from pysyncobj.journal import Journal  # type: ignore[import-untyped]  # it has no stubs

from lotmark_consensus.raft.command_cache import CommandCache
from lotmark_consensus.raft.log_entry import EntryKind, LogEntry, decode_command
from lotmark_consensus.raft.log_store import LogStore, PeerMark, StoredEntry, Writes
from lotmark_consensus.raft.log_view import Entry, View
from lotmark_consensus.raft.term_starts import TermStarts

# Called with ("add", index, term, command) and ("truncate", first index gone, None, None).
Listener = Callable[[str, int, int | None, bytes | None], None]


class RaftJournal(Journal):  # type: ignore[misc]  # a class without stubs
    """The log of one voter. For one thread; only the store's `write` runs in another.

    Attributes:
        first: Index of the first entry kept.
        last: Index of the last entry; `first - 1` while there is none.
        durable_index: Every entry up to here is durable as it is.
        durable_term: The term that is durable.
        durable_vote: The vote that is durable, given in `durable_term`.
        sequence: Counts changes.
        durable_sequence: Every change up to this one is durable.
        listener: Told of entries added and cut off, but not of `prune` and `restart_at`.
    """

    def __init__(self, store: LogStore, *, applied_index: int = 0) -> None:
        """Take up what the store holds.

        Args:
            store: Read from whenever a command is no longer in memory.
            applied_index: Index that the ledger has durably applied; 0: none.

        Raises:
            JournalCorrupt: What is there cannot be what was written.
        """
        stored = store.load()
        self._store = store
        self._applied_index = applied_index
        self.first, self.last = stored.first_index, stored.last_index
        self.durable_index = stored.last_index
        self._term, self._vote = stored.term, stored.vote
        self.durable_term, self.durable_vote = stored.term, stored.vote
        self._terms = TermStarts(stored.terms)
        self._memberships = list(stored.memberships)
        self._marks = dict(stored.marks)
        self._changed_marks: dict[str, PeerMark] = {}
        self._waiting: dict[int, StoredEntry] = {}  # not yet durable; the log's end
        self._waiting_size = 0
        self._untaken_from = self.last + 1
        self._restarted = False  # since the last take
        self._cache = CommandCache()
        self.sequence = self.durable_sequence = 0
        self._taken_sequence = 0
        self._taken: Writes | None = None
        self.listener: Listener | None = None

    # What the guard and the engine ask

    def term_at(self, index: int) -> int | None:
        """Return an entry's term; None where the log has no such entry."""
        return self._terms.term_at(index) if self.first <= index <= self.last else None

    def command(self, index: int) -> bytes:
        """Return an entry's command.

        Raises:
            JournalCorrupt: It was read from the store, and is damaged.
        """
        waiting = self._waiting.get(index)
        if waiting is not None:
            return waiting.command
        command = self._cache.get(index)
        if command is None:
            stored = self._store.read(index)
            assert stored.term == self.term_at(index), f"another entry was stored at {index}"
            command = stored.command
            self._cache.put(index, command, self._waiting_size)
        return command

    def entry(self, index: int) -> LogEntry:
        """Return what an entry says.

        Raises:
            JournalCorrupt: It was read from the store, and is damaged.
        """
        return decode_command(self.command(index))

    def members(self, initial: frozenset[str]) -> frozenset[str]:
        """Return the voters by this log, committed or not, from those of the genesis."""
        members = set(initial)
        for _, payload in self._memberships:
            name = payload[1:].decode("ascii")
            if payload[:1] == b"+":
                members.add(name)
            else:
                members.discard(name)
        return frozenset(members)

    def has_membership_after(self, index: int) -> bool:
        """Return whether an entry above `index` changes the voters."""
        return bool(self._memberships) and self._memberships[-1][0] > index

    @property
    def memberships(self) -> Sequence[tuple[int, bytes]]:
        """(index, payload) of every entry that ever changed the voters, pruned ones included."""
        return tuple(self._memberships)

    @property
    def marks(self) -> Mapping[str, PeerMark]:
        """What each peer has shown."""
        return MappingProxyType(self._marks)

    def mark(self, peer: str, mark: PeerMark) -> None:
        """Keep what a peer has shown; it becomes durable with the next write there is."""
        if self._marks.get(peer) != mark:
            self._marks[peer] = self._changed_marks[peer] = mark

    # Tickets

    @property
    def dirty(self) -> bool:
        """Whether there are changes that were not taken."""
        return self.sequence != self._taken_sequence

    @property
    def settled(self) -> bool:
        """Whether every change is durable."""
        return self.sequence == self.durable_sequence

    @property
    def meta_settled(self) -> bool:
        """Whether term and vote are durable as they are."""
        return (self._term, self._vote) == (self.durable_term, self.durable_vote)

    def take_writes(self) -> Writes | None:
        """Return all changes since the last take, or None; `written` is owed before the next."""
        if not self.dirty:
            return None
        assert self._taken is None, "taken again before `written`"
        self._taken = Writes(
            entries=[self._waiting[index] for index in range(self._untaken_from, self.last + 1)],
            first_index=self.first,
            last_index=self.last,
            term=self._term,
            vote=self._vote,
            marks=self._changed_marks,
            memberships=self.memberships if self._restarted else None,
        )
        self._changed_marks = {}
        self._untaken_from = self.last + 1
        self._restarted = False
        self._taken_sequence = self.sequence
        return self._taken

    def written(self, writes: Writes) -> None:
        """Count as durable what was taken, except what was cut off meanwhile."""
        assert writes is self._taken, "these writes are not the ones taken"
        self._taken = None
        self.durable_sequence = self._taken_sequence
        self.durable_term, self.durable_vote = writes.term, writes.vote
        for entry in writes.entries:
            if self._waiting.get(entry.index) is not entry:
                break  # this one and all behind it were cut off
            del self._waiting[entry.index]
            self._waiting_size -= len(entry.command)
            self._cache.put(entry.index, entry.command, self._waiting_size)
            self.durable_index = entry.index

    # Changes beside PySyncObj's own

    def prune(self, below_index: int) -> None:
        """Forget entries below `below_index`, but keep two, and all that is not durable.

        PySyncObj looks at the first two entries and at the last.
        """
        first = min(below_index, self.last - 1, self.durable_index)
        if first <= self.first:
            return
        self._cache.drop(range(self.first, first))
        self._terms.cut_below(first)
        self.first = first
        self.sequence += 1

    def restart_at(self, index: int, term: int, memberships: Sequence[tuple[int, bytes]]) -> None:
        """Let the log be one entry that stands for all up to `index`, which the ledger holds now.

        `durable_index` stays below `index` until that is written: a log that begins behind a gap
        must not be counted on before the disk has it.

        Args:
            index: Last index that the ledger has durably applied.
            term: Of the entry there.
            memberships: (index, payload) of all changes of the voters up to `index`, as the leader
                knows them: the blocks that were fetched do not tell them.
        """
        self._memberships = list(memberships)
        self._cache.drop(range(self.first, self.last + 1))
        self._waiting.clear()
        self._waiting_size = 0
        self._terms = TermStarts()
        self.first, self.last = index, index - 1
        self.durable_index = min(self.durable_index, index - 1)
        self._untaken_from = index
        self._restarted = True
        if term > self._term:  # no vote was given in a term that this node never saw
            self._term, self._vote = term, None
        self._append(bytes((EntryKind.NO_OP,)), index, term)

    # PySyncObj's interface; places count from the first entry kept

    def add(self, command: bytes, idx: int, term: int) -> None:
        """Put an entry behind the last one."""
        self._append(command, idx, term)
        if self.listener is not None:
            self.listener("add", idx, term, command)

    def clear(self) -> None:
        """Forget all entries."""
        self._truncate(self.first)

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803
        """Forget the entries from a place on."""
        self._truncate(self.first + entryFrom)

    def deleteEntriesTo(self, entryTo: int) -> None:  # noqa: N802, N803
        """Forget the entries before a place."""
        self.prune(self.first + entryTo)

    def __len__(self) -> int:
        return self.last + 1 - self.first

    @overload
    def __getitem__(self, item: int) -> Entry: ...
    @overload
    def __getitem__(self, item: slice) -> View: ...
    def __getitem__(self, item: int | slice) -> Entry | View:
        return View(self, self.first, self.last + 1)[item]

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803
        """Do nothing: after a restart the ledger says what was applied, the leader the rest."""

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        """Return what is known to be committed at a start."""
        return max(self._applied_index, self.first)

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N802, N803
        """Keep term and vote."""
        if (term, votedForNodeId) != (self._term, self._vote):
            self._term, self._vote = term, votedForNodeId
            self.sequence += 1

    def getCurrentTerm(self) -> int:  # noqa: N802
        """Return the term."""
        return self._term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802
        """Return whom this voter gave its vote in the term."""
        return self._vote

    def _destroy(self) -> None:
        """Do nothing: who opened the store closes it."""

    def _append(self, command: bytes, index: int, term: int) -> None:
        assert index == self.last + 1, f"entry {index} behind {self.last}"
        self._terms.append(index, term)
        self._waiting[index] = StoredEntry(index, term, command)
        self._waiting_size += len(command)
        self.last = index
        if command[0] == EntryKind.MEMBERSHIP:
            self._memberships.append((index, command[1:]))
        self.sequence += 1

    def _truncate(self, index: int) -> None:
        """Forget the entries from `index`."""
        if index > self.last:
            return
        for gone in range(max(index, self.durable_index + 1), self.last + 1):
            self._waiting_size -= len(self._waiting.pop(gone).command)
        self._cache.drop(range(index, self.durable_index + 1))
        self._terms.cut_from(index if index > self.first else 0)
        while self._memberships and self._memberships[-1][0] >= index:
            self._memberships.pop()
        self.last = index - 1
        self.durable_index = min(self.durable_index, self.last)
        self._untaken_from = min(self._untaken_from, index)
        self.sequence += 1
        if self.listener is not None:
            self.listener("truncate", index, None, None)
