"""Engines wired by direct calls, a clock that a test moves, and frames that nobody honest sends."""

import random
from types import SimpleNamespace

import pytest

from lotmark.v1 import raft_pb2
from lotmark_consensus.errors import ConsensusError
from lotmark_consensus.ordering import Ordered, Role
from lotmark_consensus.raft.codec import decode_frame, encode_frame, new_entry, new_frame
from lotmark_consensus.raft.engine import EngineStatus, RaftEngine
from lotmark_consensus.raft.log_entry import EntryKind, LogEntry
from lotmark_consensus.raft.log_store import Writes
from lotmark_consensus.raft.memory_log import MemoryLogStore
from lotmark_consensus.raft.timing import RaftTiming

CHAIN_ID = bytes(range(32))
NOW_MS = 1_800_000_000_000
TICK_S = 0.05
ROUNDS_MAX = 200

A, B, C, D, E = (f"{letter}/1" for letter in "ABCDE")
FIVE = frozenset((A, B, C, D, E))
TIMING = RaftTiming()


class Clock:
    """PySyncObj's clock, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0


def moved_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give PySyncObj a clock of our own, and chance from a fixed seed."""
    clock = Clock()
    chance = random.Random(1)  # noqa: S311 - a test repeats itself
    monkeypatch.setattr("pysyncobj.syncobj.monotonicTime", lambda: clock.now_s)
    monkeypatch.setattr("pysyncobj.syncobj.random", SimpleNamespace(random=chance.random))
    return clock


class Voter:
    """One engine with its disk and its ledger.

    Attributes:
        disk_is_held: Writes are taken, and become durable once it is False again.
        clock_ms: Its time of day.
        delivered: What its ledger was given, over all its lives.
        leapt: Whether its ledger holds more than it was given.
    """

    def __init__(self, name: str, voters: frozenset[str]) -> None:
        self.name, self.voters = name, voters
        self.store = MemoryLogStore()
        self.disk_is_held = False
        self.clock_ms = NOW_MS
        self.delivered: list[Ordered] = []
        self.inbox: list[tuple[str, bytes]] = []
        self._writing: Writes | None = None
        self.engine = self._start()

    def _start(self, *, leapt_to: tuple[int, int] | None = None) -> RaftEngine:
        place = (self.delivered[-1].index, self.delivered[-1].term) if self.delivered else (0, 0)
        applied_index, applied_term = leapt_to or place
        return RaftEngine(
            self.name,
            self.voters,
            self.store,
            chain_id=CHAIN_ID,
            applied_index=applied_index,
            applied_term=applied_term,
            leapt=leapt_to is not None,
            timing=TIMING,
            now_ms=lambda: self.clock_ms,
        )

    def restart(self, *, leapt_to: tuple[int, int] | None = None) -> None:
        """Crash, losing what is not durable, and start from the disk."""
        self.inbox, self._writing = [], None
        self.engine = self._start(leapt_to=leapt_to)

    @property
    def status(self) -> EngineStatus:
        return self.engine.status()

    @property
    def leads(self) -> bool:
        return self.status.role is Role.LEADER

    def turn(self) -> list[tuple[str, bytes]]:
        """Do what the loop does in one turn; returns what leaves."""
        inbox, self.inbox = self.inbox, []
        for peer, raw in inbox:
            self.engine.receive(peer, raw)
        self.engine.step()
        leaving = self.engine.take_outgoing()
        if self._writing is None:
            self._writing = self.engine.take_writes()
        if self._writing is not None and not self.disk_is_held:
            writes, self._writing = self._writing, None
            self.store.write(writes)
            self.engine.written(writes)
            self.engine.step()
            leaving += self.engine.take_outgoing()
        self.delivered += self.engine.take_committed(1000)
        return leaving

    def hear(self, peer: str, frame: raft_pb2.RaftFrame) -> list[tuple[str, raft_pb2.RaftFrame]]:
        """Take a frame as from a peer, make a turn; returns what leaves."""
        self.inbox.append((peer, encode_frame(frame)))
        return self.said()

    def said(self) -> list[tuple[str, raft_pb2.RaftFrame]]:
        """Make a turn; returns what leaves."""
        return [(peer, decode_frame(raw, chain_id=CHAIN_ID)) for peer, raw in self.turn()]


class Voters:
    """Voters that hear each other unless they are cut off.

    Attributes:
        cut: Names whose frames neither leave nor arrive.
    """

    def __init__(
        self, clock: Clock, names: tuple[str, ...] = (A, B, C), strangers: int = 0
    ) -> None:
        """Start all; the last `strangers` of them are no voters of the genesis."""
        self.clock = clock
        self.cut: set[str] = set()
        initial = frozenset(names[: len(names) - strangers])
        self.by_name = {name: Voter(name, initial) for name in names}
        for name in names:
            self.connect(name)

    def __getitem__(self, name: str) -> Voter:
        return self.by_name[name]

    def connect(self, name: str) -> None:
        for peer in self.by_name:
            if peer != name:
                self.by_name[name].engine.peer_up(peer)

    def restart(self, name: str, *, leapt_to: tuple[int, int] | None = None) -> None:
        self.by_name[name].restart(leapt_to=leapt_to)
        self.connect(name)

    def settle(self) -> None:
        """Let all frames arrive, without any time passing."""
        for _ in range(ROUNDS_MAX):
            busy = False
            for name, voter in self.by_name.items():
                for peer, raw in voter.turn():
                    if peer in self.by_name and not {name, peer} & self.cut:
                        self.by_name[peer].inbox.append((name, raw))
                        busy = True
            if not busy:
                return
        raise AssertionError(f"frames went to and fro {ROUNDS_MAX} times")

    def advance(self, duration_s: float) -> None:
        for _ in range(round(duration_s / TICK_S)):
            self.clock.now_s += TICK_S
            self.settle()

    def elect(self, name: str) -> Voter:
        """Let a voter lead."""
        others = set(self.by_name) - {name}
        for _ in range(10):
            leader = next((voter for voter in self.by_name.values() if voter.leads), None)
            if leader is None:
                self.advance(0.5)
            elif leader.name == name:
                self.advance(0.2)
                return leader
            else:
                leader.engine.transfer_leadership(name)
                self.advance(0.2)
        raise AssertionError(f"{name} was not elected, but perhaps one of {sorted(others)}")

    def propose(self, name: str, *blocks: bytes) -> list[Ordered | ConsensusError]:
        """Propose; returns a list that is filled as the outcomes come."""
        engine = self.by_name[name].engine
        outcomes: list[Ordered | ConsensusError] = []
        for block in blocks:
            engine.propose(block, time_ms=NOW_MS, term=engine.status().term, done=outcomes.append)
        return outcomes


def frame(term: int) -> raft_pb2.RaftFrame:
    return new_frame(CHAIN_ID, term)


def vote(term: int) -> raft_pb2.RaftFrame:
    made = frame(term)
    made.vote_response.SetInParent()
    return made


def vote_request(
    term: int, last: tuple[int, int], *, transfer: bool = False, pre_vote_term: int = 0
) -> raft_pb2.RaftFrame:
    """Ask for a vote with a log that ends at `last` (index, term)."""
    made = frame(term)
    request = made.vote_request
    request.last_index, request.last_term = last
    request.transfer, request.pre_vote_term = transfer, pre_vote_term
    return made


def acknowledgement(term: int, index: int) -> raft_pb2.RaftFrame:
    made = frame(term)
    made.append_response.next_index = index + 1
    made.append_response.success = True
    return made


def append(
    term: int, previous: tuple[int, int], *entries: tuple[int, bytes], commit_index: int = 0
) -> raft_pb2.RaftFrame:
    """Send blocks, (term, bytes) each, behind `previous` (index, term)."""
    made = frame(term)
    request = made.append_request
    request.previous_index, request.previous_term = previous
    request.commit_index = commit_index
    for entry_term, block in entries:
        request.entries.append(new_entry(LogEntry(EntryKind.BLOCK, NOW_MS, block), entry_term))
    return made


def kinds(said: list[tuple[str, raft_pb2.RaftFrame]]) -> list[str]:
    """Return the kinds of frames that left."""
    return [str(made.WhichOneof("body")) for _, made in said]


def voter_of_five() -> Voter:
    """Return one voter of five, whose peers a test plays."""
    voter = Voter(A, FIVE)
    for peer in sorted(FIVE - {A}):
        voter.engine.peer_up(peer)
    voter.turn()
    return voter


def campaign(voter: Voter, clock: Clock) -> int:
    """Let a voter campaign, with the promises it needs; returns its term."""
    clock.now_s += TIMING.election_max_s
    voter.turn()
    term = voter.status.term
    for peer in (B, C):
        promise = frame(term)
        promise.vote_response.pre_vote_term = term + 1
        voter.hear(peer, promise)
    assert voter.status.role is Role.CANDIDATE
    return voter.status.term


def lead(voter: Voter, clock: Clock) -> int:
    """Let a voter lead; returns its term."""
    term = campaign(voter, clock)
    for peer in (B, C):
        voter.hear(peer, vote(term))
    assert voter.leads
    return term


def follow(voter: Voter, term: int, *blocks: bytes, commit_index: int = 0) -> None:
    """Let a voter take entries 2, 3, ... of a term from B."""
    voter.hear(B, append(term, (1, 0), *((term, b) for b in blocks), commit_index=commit_index))
    assert voter.status.last_index == 1 + len(blocks)


def blocks_of(voter: Voter) -> list[bytes]:
    return [ordered.block for ordered in voter.delivered if ordered.block]


def assert_whole(voter: Voter) -> None:
    """Check that a voter was handed each index once, from the first."""
    assert [o.index for o in voter.delivered] == list(range(1, len(voter.delivered) + 1))
