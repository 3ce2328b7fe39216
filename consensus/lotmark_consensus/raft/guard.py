"""Stands between PySyncObj's core and the network: nothing reaches either that breaks a rule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lotmark.v1 import raft_pb2
from lotmark_consensus.errors import FrameRefused, RaftHalted
from lotmark_consensus.raft.appends import Appends
from lotmark_consensus.raft.codec import decode_frame, new_entry
from lotmark_consensus.raft.commit_rule import CommitRule
from lotmark_consensus.raft.core import CoreState, LogRow, RaftCore, monotonic_s
from lotmark_consensus.raft.elections import Elections
from lotmark_consensus.raft.followers import Followers
from lotmark_consensus.raft.journal import RaftJournal
from lotmark_consensus.raft.log_entry import decode_command
from lotmark_consensus.raft.outbox import Outbox
from lotmark_consensus.raft.peer_memory import PeerMemory
from lotmark_consensus.raft.protections import Protections
from lotmark_consensus.raft.timing import RaftTiming
from lotmark_consensus.raft.voter_state import VoterState

TERM_JUMP_MAX = 1 << 20  # further ahead than any honest voter gets: nobody can use up the terms


@dataclass(frozen=True, slots=True)
class Pointer:
    """Blocks up to `index` must come from a peer's ledger: its log no longer holds them."""

    peer: str
    index: int
    term: int  # of the entry at `index`
    memberships: Sequence[tuple[int, bytes]]  # (index, payload) of all changes of the voters


class Guard:
    """One voter's guard; the `CoreHooks` of its core.

    Attributes:
        state: What its parts share.
        elections: Votes.
        followers: What they have, while this voter leads.
        memory: What peers have shown.
        pointer: A state transfer that the leader asks for; None where none is.
        failure: Why this voter takes part in nothing more.
        term_start_index: Of the term that this voter leads in; 0 while it does not.
    """

    def __init__(
        self,
        name: str,
        initial_voters: frozenset[str],
        journal: RaftJournal,
        *,
        chain_id: bytes,
        known_index: int,
        timing: RaftTiming,
        now_ms: Callable[[], int],
        protections: Protections,
    ) -> None:
        """Make the guard and the core behind it.

        Args:
            name: This voter's.
            initial_voters: Those of the genesis.
            journal: Of this voter.
            chain_id: Whose frames are taken.
            known_index: Up to here the log is known to be committed.
            timing: The waits.
            now_ms: Unix time.
            protections: What is on.
        """
        self._chain_id = chain_id
        core = RaftCore(name, journal.members(initial_voters), journal, timing, self)
        commit = CommitRule(
            journal, known_index=known_index, wait_for_disk=protections.wait_for_disk
        )
        core.set_committed(commit.committed_index)
        self.state = VoterState(
            name=name,
            initial_voters=initial_voters,
            journal=journal,
            core=core,
            commit=commit,
            outbox=Outbox(chain_id),
            timing=timing,
            protections=protections,
        )
        self.memory = PeerMemory(journal, enforced=protections.regression)
        self.followers = Followers(self.state, self.memory)
        self.elections = Elections(self.state, self.followers)
        self.appends = Appends(self.state, now_ms=now_ms, halt=self.halt)
        self.pointer: Pointer | None = None
        self._furthest: Pointer | None = None
        self._pointed_s: dict[str, float] = {}  # by peer: when it was sent a pointer
        self.failure: RaftHalted | None = None
        self.term_start_index = 0
        self._up: set[str] = set()
        self._held: set[str] = set()  # up, but the core sends no entries to them until a release

    def halt(self, reason: str) -> None:
        """Take part in nothing more."""
        if self.failure is None:
            self.failure = RaftHalted(
                f"{reason}: the log here and a leader's contradict each other where both are"
                " committed; keep the folder as evidence. The others go on without this voter,"
                " whose place no other can take yet"
            )
            self.state.outbox.release(-1)

    # What comes in

    def receive(self, peer: str, raw: bytes) -> None:
        """Take a frame; what breaks a rule is counted and has no other effect."""
        counters = self.state.counters
        if self.failure is not None:
            return
        if peer in self.memory.refused:
            counters["frame of a peer whose disk is an older copy"] += 1
            return
        try:
            frame = decode_frame(raw, chain_id=self._chain_id)
            if frame.term > self.state.core.term + TERM_JUMP_MAX:
                raise FrameRefused(f"{peer} speaks in term {frame.term}")
            self._take(peer, frame)
        except FrameRefused:
            counters["frame refused"] += 1

    def _take(self, peer: str, frame: raft_pb2.RaftFrame) -> None:
        term, core = frame.term, self.state.core
        self.memory.saw_term(peer, term)  # it is durable there, or the frame had not left
        match frame.WhichOneof("body"):
            case "append_request" | "snapshot_pointer":
                self._take_from_leader(peer, frame)
            case "append_response":
                self._take_answer(peer, frame)
            case "time_refusal":
                if term == core.term and peer in core.peers:
                    self.followers.take_time_refusal(peer, frame.time_refusal)
            case "vote_request":
                self.elections.take_request(peer, term, frame.vote_request)
            case "vote_response":
                self.elections.take_vote(peer, term, frame.vote_response)
            case "term_notice":
                if term > core.term:
                    core.take_term(peer, term)
            case "timeout_now":
                self.elections.take_timeout_now(peer, term)

    def _take_answer(self, peer: str, frame: raft_pb2.RaftFrame) -> None:
        core, counters = self.state.core, self.state.counters
        if self.state.protections.ack_term and frame.term != core.term:
            counters["acknowledgement of another term"] += 1
            if frame.term > core.term:
                core.take_term(peer, frame.term)
            return
        self.followers.take_answer(peer, frame.term, frame.append_response)

    def _take_from_leader(self, peer: str, frame: raft_pb2.RaftFrame) -> None:
        core = self.state.core
        if frame.term < core.term:
            self.elections.notify(peer)
            return
        if frame.term == core.term and core.leader not in (None, peer):
            raise FrameRefused(f"{peer} leads in term {frame.term}, and so does {core.leader}")
        self.elections.heard_leader()
        if frame.HasField("append_request"):
            self.appends.take(peer, frame.term, frame.append_request)
        else:
            self._take_pointer(peer, frame)

    def _take_pointer(self, peer: str, frame: raft_pb2.RaftFrame) -> None:
        state, pointer = self.state, frame.snapshot_pointer
        state.core.take_heartbeat(peer, frame.term)
        state.counters["pointer"] += 1
        if not state.protections.pointer_clamp:
            state.commit.learn(min(pointer.index, state.journal.last))
        if pointer.index <= state.commit.known_index:
            self.appends.ask_anew(peer, frame.term)
            return
        changes = [(change.index, change.payload) for change in pointer.changes]
        self.pointer = Pointer(peer, pointer.index, pointer.entry_term, changes)
        if self._furthest is None or self._furthest.index <= pointer.index:
            self._furthest = self.pointer
        # An acknowledgement of nothing new: it tells the leader that this follower is there.
        self.appends.acknowledge(peer, frame.term, state.commit.committed_index, at_once=True)

    def memberships(self, index: int) -> Sequence[tuple[int, bytes]]:
        """Return (index, payload) of all changes of the voters up to where a transfer led.

        The pointer may have moved since that transfer began; what a further one tells includes it.
        """
        furthest = self._furthest
        assert furthest is not None, "nothing is installed but what a pointer asked for"
        assert furthest.index >= index, f"no pointer led to {index}"
        return [row for row in furthest.memberships if row[0] <= index]

    def peer_up(self, peer: str) -> None:
        """Let entries be sent to a peer."""
        self._up.add(peer)
        self.state.core.connect(peer)

    def peer_down(self, peer: str) -> None:
        """Send no entries to a peer: it is not there, or too much waits for it already."""
        self._up.discard(peer)
        self._held.discard(peer)
        self.state.core.disconnect(peer)

    @property
    def up(self) -> frozenset[str]:
        """The peers that frames reach."""
        return frozenset(self._up)

    # What time brings

    def step(self) -> None:
        """Let the time pass."""
        if self.failure is not None:
            return
        state = self.state
        self.settle_voters()
        state.core.tick()
        self.settle_voters()
        if state.core.leads and self.followers.quorum_is_out_of_reach():
            state.counters["resigned: a majority found a block too far ahead"] += 1
            self.elections.abstain()
            state.core.resign()
        self.appends.pay()

    def settle_voters(self) -> None:
        """Count by the voters of the log as it is now."""
        core, voters = self.state.core, self.state.voters
        if voters - {core.name} != core.peers:
            core.set_voters(voters)

    def release(self) -> list[tuple[str, bytes]]:
        """Return the frames that may leave: those whose term and vote are durable."""
        state = self.state
        if self.failure is not None:
            return []
        if state.protections.wait_for_disk and not state.journal.meta_settled:
            return []
        frames = state.outbox.release(state.core.term)
        for peer in sorted(self._held):
            state.core.connect(peer)
        self._held.clear()
        return frames

    # As `CoreHooks` promises

    def may_campaign(self) -> bool:
        """As promised."""
        return self.failure is None and self.elections.may_campaign()

    def settle_commit(self, counted_index: int) -> int:
        """As promised."""
        core = self.state.core
        return self.state.commit.settle(
            counted_index, leading_term=core.term if core.leads else None
        )

    def state_changed(self, state: CoreState) -> None:
        """As promised."""
        self.elections.state_changed(state)
        self.term_start_index = 0
        if state is CoreState.LEADER:
            # The core adds this term's first entry right after it tells of the change.
            self.term_start_index = self.state.journal.last + 1
            self.pointer = None
            self.followers.begin()

    def send_append(
        self, peer: str, *, previous_index: int, previous_term: int, rows: Sequence[LogRow]
    ) -> None:
        """As promised."""
        state = self.state
        frame = state.outbox.frame(state.core.term)
        request = frame.append_request
        request.previous_index = previous_index
        request.previous_term = previous_term
        request.commit_index = state.commit.committed_index
        request.entries.extend(
            new_entry(decode_command(command), term) for command, _, term in rows
        )
        state.outbox.put(peer, frame)
        if state.outbox.is_full(peer):
            self._hold(peer)

    def send_pointer(self, peer: str) -> None:
        """As promised."""
        self._hold(peer)
        state = self.state
        now_s = monotonic_s()
        if now_s - self._pointed_s.get(peer, float("-inf")) < state.timing.heartbeat_s:
            return
        self._pointed_s[peer] = now_s
        journal = state.journal
        frame = state.outbox.frame(state.core.term)
        pointer = frame.snapshot_pointer
        pointer.index = journal.first
        pointer.entry_term = journal.term_at(journal.first) or 0
        for index, payload in journal.memberships:
            if index <= journal.first:
                pointer.changes.add(index=index, payload=payload)
        state.outbox.put(peer, frame)

    def _hold(self, peer: str) -> None:
        """Let the core send nothing more to a peer until the next release."""
        if peer in self._up:
            self._held.add(peer)
        self.state.core.disconnect(peer)

    def send_vote_request(self, peer: str, *, last_index: int, last_term: int) -> None:
        """As promised."""
        self.elections.ask_vote(peer, last_index=last_index, last_term=last_term)

    def send_vote(self, peer: str) -> None:
        """As promised."""
        self.elections.give_vote(peer)

    def send_timeout_now(self, peer: str) -> None:
        """As promised."""
        frame = self.state.outbox.frame(self.state.core.term)
        frame.timeout_now.SetInParent()
        self.state.outbox.put(peer, frame)

    def core_answered(self, *, next_index: int, success: bool) -> None:
        """As promised."""
        self.appends.core_answered(next_index=next_index, success=success)
