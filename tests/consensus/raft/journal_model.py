"""A plain model of journal and store, and a driver that compares them after every step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import strategies as st

from lotmark_consensus.errors import JournalCorrupt
from lotmark_consensus.raft.journal import RaftJournal
from lotmark_consensus.raft.log_entry import EntryKind
from lotmark_consensus.raft.log_store import LogStore, PeerMark, StoredLog, Writes

GENESIS = frozenset({"A/a", "B/b", "C/c"})
PLACEHOLDER = bytes((EntryKind.NO_OP,))

# (what to do, a number that chooses how)
Step = tuple[str, int]
ACTIONS = "add add add member term vote truncate prune restart mark take take land land crash"
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*ACTIONS.split(), "crash after the write"]),
        st.integers(0, 2**16),
    ),
    min_size=25,  # so that examples are long on the average
    max_size=60,
)


@dataclass(frozen=True)
class LogState:
    """All that a disk may hold; equal where the logs are equal."""

    first: int = 1
    terms: tuple[int, ...] = ()
    commands: tuple[bytes, ...] = ()
    memberships: tuple[tuple[int, bytes], ...] = ()
    term: int = 0
    vote: str | None = None
    restarts: int = 0  # tells apart placeholders, which all look alike

    @property
    def last(self) -> int:
        return self.first + len(self.terms) - 1

    def cut(self, index: int) -> "LogState":
        """Return the log without the entries from `index`."""
        count = index - self.first
        return replace(
            self,
            terms=self.terms[:count],
            commands=self.commands[:count],
            memberships=tuple(row for row in self.memberships if row[0] < index),
        )

    def with_entry(self, term: int, command: bytes) -> "LogState":
        rows = self.memberships
        if command[0] == EntryKind.MEMBERSHIP:
            rows = (*rows, (self.last + 1, command[1:]))
        return replace(
            self,
            terms=(*self.terms, term),
            commands=(*self.commands, command),
            memberships=rows,
        )

    def members(self) -> frozenset[str]:
        members = GENESIS
        for _, payload in self.memberships:
            change = {payload[1:].decode()}
            members = members | change if payload[:1] == b"+" else members - change
        return members

    def stored(self, marks: Mapping[str, PeerMark]) -> StoredLog:
        """Return what a store tells of this log at its start."""
        starts = [
            (self.first + place, term)
            for place, term in enumerate(self.terms)
            if place == 0 or self.terms[place - 1] != term
        ]
        return StoredLog(
            term=self.term,
            vote=self.vote,
            first_index=self.first,
            last_index=self.last,
            terms=starts,
            memberships=self.memberships,
            marks=marks,
        )


@dataclass
class Model:
    """What the journal is to say, and what the store is to hold."""

    now: LogState = field(default_factory=LogState)
    disk: LogState = field(default_factory=LogState)
    taken: LogState | None = None
    durable_index: int = 0
    by_sequence: dict[int, LogState] = field(default_factory=dict)
    marks: dict[str, PeerMark] = field(default_factory=dict)
    untaken_marks: dict[str, PeerMark] = field(default_factory=dict)
    taken_marks: dict[str, PeerMark] = field(default_factory=dict)
    disk_marks: dict[str, PeerMark] = field(default_factory=dict)

    def land(self) -> None:
        """Let the disk have what was taken."""
        assert self.taken is not None
        self.disk, self.taken = self.taken, None
        self.disk_marks.update(self.taken_marks)

    def advance(self) -> None:
        """Count from the first entry on what the disk has as it is now."""
        same = self.now.first - 1
        for index in range(self.now.first, self.now.last + 1):
            place, there = index - self.now.first, index - self.disk.first
            if not 0 <= there < len(self.disk.terms):
                break
            if self.disk.commands[there] != self.now.commands[place]:
                break
            if index == self.now.first and self.disk.restarts != self.now.restarts:
                break
            same = index
        if same >= self.now.first:
            self.durable_index = same

    def crash(self) -> None:
        """Go on with what the disk has."""
        self.now, self.taken = self.disk, None
        self.durable_index = self.disk.last
        self.by_sequence = {}
        self.marks = dict(self.disk_marks)
        self.untaken_marks = {}


class Driver:
    """One journal on one store, led through steps beside its model."""

    def __init__(self, open_store: Callable[[], LogStore]) -> None:
        self._open_store = open_store
        self._stamp = 0
        self.model = Model()
        self._writes: Writes | None = None
        self._open()

    def _open(self) -> None:
        self.store = self._open_store()
        self.journal = RaftJournal(self.store)
        self._writes = None

    def run(self, steps: list[Step]) -> None:
        for name, number in steps:
            getattr(self, "do_" + name.replace(" ", "_"))(number)
            self.check()
        self.do_land(0)
        self.do_take(0)
        self.do_land(0)
        self.check()
        assert self.journal.settled
        self.do_crash(0)
        self.check()

    def do_add(self, number: int) -> None:
        for _ in range(number % 3 + 1):
            self._stamp += 1  # every command is another one, so equal means the same
            self._add(bytes(9) + self._stamp.to_bytes(3) + bytes(number % 97))

    def do_member(self, number: int) -> None:
        self._stamp += 1
        self._add(b"\x02" + (b"+" if number % 2 else b"-") + b"N/n%d" % self._stamp)

    def _add(self, command: bytes) -> None:
        now = self.model.now
        self.journal.add(command, now.last + 1, now.term)
        self._changed(now.with_entry(now.term, command))

    def do_term(self, number: int) -> None:
        term = self.model.now.term + number % 2 + 1
        self.journal.setCurrentTerm(term, None)
        self._changed(replace(self.model.now, term=term, vote=None))

    def do_vote(self, number: int) -> None:
        vote = f"V/v{number % 5}"
        if self.model.now.vote is None:
            self.journal.setCurrentTerm(self.model.now.term, vote)
            self._changed(replace(self.model.now, vote=vote))

    def do_truncate(self, number: int) -> None:
        now = self.model.now
        if len(now.terms) > 1:
            place = number % (len(now.terms) - 1) + 1
            self.journal.deleteEntriesFrom(place)
            self.model.durable_index = min(self.model.durable_index, now.first + place - 1)
            self._changed(now.cut(now.first + place))

    def do_prune(self, number: int) -> None:
        now = self.model.now
        below = now.first + number % 40
        self.journal.prune(below)
        gone = min(below, now.last - 1, self.model.durable_index) - now.first
        if gone > 0:
            kept = replace(now, terms=now.terms[gone:], commands=now.commands[gone:])
            self._changed(replace(kept, first=now.first + gone))

    def do_restart(self, number: int) -> None:
        """Restart within the log or behind it, at an older term, the present one or the next."""
        now = self.model.now
        index = now.first + number % (len(now.terms) + 5)
        term = max(0, now.term + 1 - number % 4)
        rows = ((index, b"+R/r"),) if number % 3 else now.cut(index).memberships
        self.journal.restart_at(index, term, rows)
        self.model.durable_index = min(self.model.durable_index, index - 1)
        vote = None if term > now.term else now.vote
        log = LogState(index, (term,), (PLACEHOLDER,), rows, max(term, now.term), vote)
        self._stamp += 1
        self._changed(replace(log, restarts=self._stamp))

    def do_mark(self, number: int) -> None:
        peer, mark = f"P/p{number % 3}", PeerMark(term=number, index=number * 2, signed_size=7)
        self.journal.mark(peer, mark)
        self.model.marks[peer] = self.model.untaken_marks[peer] = mark

    def do_take(self, _: int) -> None:
        if self._writes is None:
            dirty = self.journal.dirty
            self._writes = self.journal.take_writes()
            assert (self._writes is not None) == dirty
            if self._writes is not None:
                self.model.taken = self.model.now
                self.model.taken_marks = self.model.untaken_marks
                self.model.untaken_marks = {}

    def do_land(self, _: int) -> None:
        if self._writes is not None:
            self.store.write(self._writes)
            self.journal.written(self._writes)
            self._writes = None
            self.model.land()
            self.model.advance()

    def do_crash(self, _: int) -> None:
        self.store.close()
        self.model.crash()
        self._open()

    def do_crash_after_the_write(self, number: int) -> None:
        if self._writes is not None:
            self.store.write(self._writes)
            self.model.land()
        self.do_crash(number)

    def _changed(self, now: LogState) -> None:
        self.model.now = now
        self.model.by_sequence[self.journal.sequence] = now

    def check(self) -> None:
        """Compare all that can be asked."""
        model, journal, now = self.model, self.journal, self.model.now
        assert (journal.first, journal.last, len(journal)) == (now.first, now.last, len(now.terms))
        assert [entry[2] for entry in reversed(journal[:])] == list(reversed(now.terms))
        assert [journal.command(i) for i in range(now.first, now.last + 1)] == list(now.commands)
        assert journal.term_at(now.first - 1) is None
        assert journal.term_at(now.last + 1) is None
        assert (journal.getCurrentTerm(), journal.getVotedForNodeId()) == (now.term, now.vote)
        assert tuple(journal.memberships) == now.memberships
        assert journal.members(GENESIS) == now.members()
        for index in (0, now.first, now.last, now.last + 1):
            changes = any(row[0] > index for row in now.memberships)
            assert journal.has_membership_after(index) == changes
        assert journal.marks == model.marks

        assert journal.durable_index == model.durable_index
        assert (journal.durable_term, journal.durable_vote) == (model.disk.term, model.disk.vote)
        on_disk = (model.disk.term, model.disk.vote)
        assert journal.meta_settled == ((now.term, now.vote) == on_disk)
        assert journal.settled == (journal.sequence == journal.durable_sequence)
        assert not journal.settled or now == model.disk
        # A ticket of this number leaves now, so all that it stands on must be there.
        assert model.by_sequence.get(journal.durable_sequence, model.disk) == model.disk

        stored = self.store.load()
        assert stored == model.disk.stored(model.disk_marks)
        for place, command in enumerate(model.disk.commands):
            entry = self.store.read(model.disk.first + place)
            assert (entry.term, entry.command) == (model.disk.terms[place], command)
        for outside in (model.disk.first - 1, model.disk.last + 1):
            with pytest.raises(JournalCorrupt):
                self.store.read(outside)
