"""What must hold at every moment of every run, watched from outside the engines.

The watcher sees what no voter sees: all logs, all disks, all clocks, and every incarnation.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lotmark_consensus.ordering import Ordered, Role
from lotmark_consensus.raft.engine import EngineStatus
from lotmark_consensus.raft.log_entry import EntryKind, decode_command
from tests.simulation.clocks import WallClock
from tests.simulation.disks import SimulatedDisk
from tests.simulation.small_ledger import SmallLedger

TIME_AHEAD_MAX_MS = 5000  # the protocol's: how far a block may be ahead of a voter's clock


class Violation(Exception):
    """Something happened that must never happen.

    Attributes:
        invariant: Which one it breaks.
    """

    def __init__(self, invariant: str, what: str) -> None:
        self.invariant = invariant
        super().__init__(f"{invariant}: {what}")


class Log(Protocol):
    """A voter's log as its engine holds it."""

    @property
    def first(self) -> int:
        """The lowest index kept."""
        ...

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry, None where there is none."""
        ...


class Watched(Protocol):
    """What is watched of a voter."""

    name: str
    disk: SimulatedDisk
    ledger: SmallLedger
    clock: WallClock


@dataclass(frozen=True, slots=True)
class Committed:
    """An entry that was committed for the first time."""

    term: int
    by: str
    in_term: int  # the committing leader's; a later leader must have the entry


@dataclass(slots=True)
class _Seen:
    """How a voter stood when it was last looked at."""

    role: Role | None = None
    term: int = 0
    committed_index: int = 0


class Invariants:
    """Raises `Violation` at the first thing that must never happen.

    Attributes:
        committed: Every committed entry by index.
        leaders: Who led in a term.
        acknowledged: At which index a proposer was told that its block stands.
        counts: How often interesting things happened.
        honest: Nobody forges frames or restores an old disk.
    """

    def __init__(self, voters: Mapping[str, Watched], initial_voters: frozenset[str]) -> None:
        self.committed: dict[int, Committed] = {}
        self.leaders: dict[int, str] = {}
        self.acknowledged: dict[bytes, int] = {}
        self.counts: Counter[str] = Counter()
        self.honest = True
        self._voters = voters
        self._initial_voters = initial_voters
        self._changes: dict[tuple[int, int], bytes] = {}  # of the voters, by index and term
        self._seen = {name: _Seen() for name in voters}
        self._entries: dict[tuple[int, int], tuple[bytes, int | None]] = {}
        self._taken_in_time: dict[tuple[int, int], set[str]] = {}
        self._order: dict[int, Ordered] = {}
        self._index_of_block: dict[bytes, int] = {}

    def started(self, name: str) -> None:
        """Begin to watch a new incarnation."""
        self._seen[name] = _Seen()

    def appended(self, name: str, log: Log, index: int, term: int, command: bytes) -> None:
        """Log matching: an index and a term stand for one entry with one predecessor."""
        previous_term = log.term_at(index - 1)
        known_command, known_previous = self._entries.setdefault(
            (index, term), (command, previous_term)
        )
        same_previous = known_previous == previous_term or None in (known_previous, previous_term)
        if command != known_command or not same_previous:
            raise Violation("log matching", f"{name} holds another entry {index} of term {term}")
        entry = decode_command(command)
        if entry.kind is EntryKind.MEMBERSHIP:
            self._changes[index, term] = entry.payload
        if entry.kind is EntryKind.BLOCK:
            ahead_ms = entry.time_ms - self._voters[name].clock.now_ms()
            proposer = self.leaders.get(term) == name
            if proposer or ahead_ms <= TIME_AHEAD_MAX_MS:
                self._taken_in_time.setdefault((index, term), set()).add(name)

    def observed(self, name: str, log: Log, status: EngineStatus) -> None:
        """Look at a voter after a step."""
        seen = self._seen[name]
        members = self._members(log)
        if status.voters != members:
            raise Violation(
                "voters by the log", f"{name} counts {sorted(status.voters)}, not {sorted(members)}"
            )
        if status.role is Role.LEADER and (seen.role is not Role.LEADER or seen.term < status.term):
            self._began_to_lead(name, log, status.term)
        if status.committed_index > seen.committed_index:
            self._advanced(name, log, status, seen.committed_index)
        if status.committed_index > status.durable_index:
            raise Violation(
                "own disk first",
                f"{name} calls {status.committed_index} committed, its disk is at"
                f" {status.durable_index}",
            )
        if self.honest and status.counters.get("frame refused"):
            raise Violation("honest frames are taken", f"{name} refuses one: {status.counters}")
        self._seen[name] = _Seen(status.role, status.term, status.committed_index)

    def cut(self, name: str, index: int, term: int) -> None:
        """A committed entry never leaves a disk again, but by pruning."""
        committed = self.committed.get(index)
        if committed is not None and committed.term == term:
            raise Violation("committed entries stay", f"{name} cut {index} of term {term}")

    def delivered(self, name: str, ordered: Ordered) -> None:
        """State-machine safety, over all voters and incarnations; nothing twice, no gap."""
        expected = self._voters[name].ledger.index + 1
        if ordered.index != expected:
            raise Violation("each once", f"{name} got {ordered.index} instead of {expected}")
        known = self._order.setdefault(ordered.index, ordered)
        if known != ordered:
            raise Violation("state-machine safety", f"{name} applies {ordered}, others {known}")
        if ordered.index not in self.committed:
            raise Violation("committed first", f"{name} applies {ordered.index}, not committed")
        if ordered.block:
            index = self._index_of_block.setdefault(ordered.block, ordered.index)
            if index != ordered.index:
                raise Violation("each once", f"one block at {index} and at {ordered.index}")

    def was_acknowledged(self, name: str, block: bytes, ordered: Ordered) -> None:
        """A proposer is told only what is so."""
        committed = self.committed.get(ordered.index)
        if committed is None or committed.term != ordered.term or ordered.block != block:
            raise Violation("true acknowledgements", f"{name} acknowledged {ordered.index}")
        self.acknowledged[block] = ordered.index

    def refused(self, name: str, peer: str, error: Exception) -> None:
        """No honest voter is ever taken for one that was restored from an old copy."""
        if self.honest:
            raise Violation("honest peers are admitted", f"{name} refuses {peer}: {error}")

    def halted(self, name: str, failure: BaseException) -> None:
        """No engine stops by itself while disks and peers are honest."""
        raise Violation("no engine halts", f"{name}: {failure!r}")

    def at_the_end(self, members: frozenset[str], acknowledged_before: int) -> None:
        """After healing: progress, the same order everywhere, every acknowledged block in it."""
        if len(self.acknowledged) <= acknowledged_before:
            raise Violation("progress", "nothing was acknowledged after all faults had ended")
        heights = {name: self._voters[name].ledger.index for name in sorted(members)}
        if len(set(heights.values())) != 1:
            raise Violation("convergence", f"the ledgers end at {heights}")
        for name in sorted(members):
            blocks = self._voters[name].ledger.blocks
            for block, index in self.acknowledged.items():
                if index > len(blocks) or blocks[index - 1].block != block:
                    raise Violation("acknowledged blocks stay", f"{index} is not so on {name}")

    def _began_to_lead(self, name: str, log: Log, term: int) -> None:
        self.counts["elections"] += 1
        known = self.leaders.setdefault(term, name)
        if known != name:
            raise Violation("election safety", f"{known} and {name} lead in term {term}")
        for index, committed in self.committed.items():
            if committed.in_term < term and index >= log.first:
                own_term = log.term_at(index)
                if own_term != committed.term:
                    raise Violation(
                        "leader completeness",
                        f"{name} leads in term {term} with {index} of term {own_term};"
                        f" committed was {committed}",
                    )

    def _advanced(self, name: str, log: Log, status: EngineStatus, before_index: int) -> None:
        for index in range(max(before_index + 1, log.first), status.committed_index + 1):
            term = log.term_at(index)
            if term is None:
                raise Violation("commit agreement", f"{name} commits {index} without having it")
            known = self.committed.get(index)
            if known is None:
                self._commits_first(name, index, term, status)
            elif known.term != term:
                raise Violation("commit agreement", f"{name} commits {index} of {term}: {known}")

    def _commits_first(self, name: str, index: int, term: int, status: EngineStatus) -> None:
        self.committed[index] = Committed(term, name, status.term)
        if index == 1:
            return  # every log begins with the same entry
        holders = {voter.name for voter in self._voters.values() if self._holds(voter, index, term)}
        if not _majority(holders, status.voters):
            raise Violation(
                "durable majority",
                f"{name} commits {index} of term {term}, which is durable on {sorted(holders)}"
                f" of {sorted(status.voters)}",
            )
        command, _ = self._entries.get((index, term), (b"", None))
        if command and command[0] == EntryKind.BLOCK:
            in_time = holders & self._taken_in_time.get((index, term), set())
            if not _majority(in_time, status.voters):
                raise Violation(
                    "time rule",
                    f"{name} commits {index} of term {term}, which only {sorted(in_time)}"
                    " could take by their clocks",
                )

    def _members(self, log: Log) -> frozenset[str]:
        """Return the voters by a log: those of the genesis, and every change that it holds."""
        if not self._changes:
            return self._initial_voters
        members = set(self._initial_voters)
        for (index, term), payload in sorted(self._changes.items()):
            committed = self.committed.get(index)
            pruned = index < log.first and committed is not None and committed.term == term
            if pruned or log.term_at(index) == term:
                member = payload[1:].decode()
                members = members | {member} if payload[:1] == b"+" else members - {member}
        return frozenset(members)

    @staticmethod
    def _holds(voter: Watched, index: int, term: int) -> bool:
        pruned = index < voter.disk.first_index and index <= voter.ledger.durable_index
        return pruned or voter.disk.holds(index, term)


def _majority(holders: set[str], voters: frozenset[str]) -> bool:
    return 2 * len(holders & voters) > len(voters)
