"""One voter without threads, sockets or files: inputs, a step, outputs.

The loop and the simulator drive it alike. It keeps no clock and draws no chance but PySyncObj's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lotmark_consensus.errors import (
    ConsensusError,
    FrameRefused,
    LedgerBehind,
    MembershipRefused,
    NotLeader,
    OutcomeUnknown,
    QueueFull,
    RaftHalted,
)
from lotmark_consensus.ordering import Ordered, Role
from lotmark_consensus.raft.codec import MEMBERSHIPS_MAX, check_membership
from lotmark_consensus.raft.core import CoreState
from lotmark_consensus.raft.guard import Guard
from lotmark_consensus.raft.journal import RaftJournal
from lotmark_consensus.raft.log_entry import EntryKind, LogEntry, encode_command
from lotmark_consensus.raft.log_store import LogStore, Writes
from lotmark_consensus.raft.peer_memory import Standing
from lotmark_consensus.raft.protections import Protections
from lotmark_consensus.raft.timing import RaftTiming

PROPOSALS_MAX = 64  # entries of this leader that are not committed yet

Done = Callable[[Ordered | ConsensusError], None]

_ROLES = {
    CoreState.FOLLOWER: Role.FOLLOWER,
    CoreState.CANDIDATE: Role.CANDIDATE,
    CoreState.LEADER: Role.LEADER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """Where a voter stands."""

    role: Role
    term: int
    leader: str | None
    voters: frozenset[str]
    first_index: int
    last_index: int
    durable_index: int
    committed_index: int
    term_start_index: int  # while leading: the first entry of its term; else 0
    match_index: Mapping[str, int]  # by peer, while leading
    lag_entries: Mapping[str, int]  # by peer, while leading: what it has not acknowledged
    silent_s: Mapping[str, float]  # by peer, while leading: since it last answered
    elections: int  # begun since the start
    proposals: int  # of this leader, not committed yet
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Proposed:
    term: int
    done: Done


class RaftEngine:
    """One voter. For one thread."""

    def __init__(
        self,
        name: str,
        initial_voters: frozenset[str],
        store: LogStore,
        *,
        chain_id: bytes,
        applied_index: int,
        applied_term: int,
        timing: RaftTiming,
        now_ms: Callable[[], int],
        leapt: bool = False,
        protections: Protections | None = None,
    ) -> None:
        """Take up a log.

        Args:
            name: This voter's, "PARTY/node".
            initial_voters: Those of the genesis; the log tells of changes.
            store: Its log.
            chain_id: Whose frames are taken.
            applied_index: Of the order, what the ledger has durably applied; 0: nothing.
            applied_term: Of the entry there.
            timing: The waits.
            now_ms: Unix time.
            leapt: Whether the ledger came there by fetched blocks, so that the log may not know.
            protections: For tests: which parts of the guard are on.

        Raises:
            JournalCorrupt: The log is damaged.
            LedgerBehind: It does not hold what the ledger needs next.
            RaftHalted: It does not hold what the ledger has applied: it is an older copy.
        """
        self.journal = journal = RaftJournal(store, applied_index=applied_index)
        self._on_disk = (journal.durable_term, journal.durable_index)
        known_index = _known_index(journal, applied_index, applied_term, leapt=leapt)
        self._guard = Guard(
            name,
            initial_voters,
            journal,
            chain_id=chain_id,
            known_index=known_index,
            timing=timing,
            now_ms=now_ms,
            protections=protections or Protections(),
        )
        self._delivered_index = applied_index
        self._proposed: dict[int, _Proposed] = {}
        self._signed_size = 0

    @property
    def failure(self) -> BaseException | None:
        """Why this voter takes part in nothing more; None while it does."""
        return self._guard.failure

    @property
    def pointer(self) -> tuple[str, int, int] | None:
        """(peer, index, term): blocks up to there are to be fetched from the peer's ledger."""
        pointer, known_index = self._guard.pointer, self._guard.state.commit.known_index
        if pointer is None or pointer.index <= max(known_index, self._delivered_index):
            return None
        return pointer.peer, pointer.index, pointer.term

    # Inputs

    def receive(self, peer: str, frame: bytes) -> None:
        """Take a peer's frame; one that breaks a rule is counted and has no other effect."""
        self._guard.receive(peer, frame)

    def peer_up(self, peer: str) -> None:
        """From now on frames to a peer are taken."""
        self._guard.peer_up(peer)

    def peer_down(self, peer: str) -> None:
        """From now on frames to a peer are dropped, or too many wait."""
        self._guard.peer_down(peer)

    def step(self) -> None:
        """Let the time pass, and settle what the inputs have brought."""
        pointer = self._guard.pointer
        if pointer is not None and pointer.index <= self._delivered_index:
            self.install(pointer.index, pointer.term)  # the ledger has leapt there before a crash
        self._guard.step()
        self._settle_proposed()

    def written(self, writes: Writes) -> None:
        """Count as durable what `take_writes` gave."""
        self.journal.written(writes)
        self._on_disk = (writes.term, writes.last_index)

    def propose(self, block: bytes, *, time_ms: int, term: int, done: Done) -> None:
        """Put a block at the end of the order, or with no bytes an entry that holds none.

        Args:
            block: The block.
            time_ms: Its time.
            term: The only term that it may be ordered in.
            done: Called with its place once it is committed; with `NotLeader` or `QueueFull` where
                nothing was done; or with `OutcomeUnknown` once leadership has ended.
        """
        try:
            self._check_proposal(term)
        except ConsensusError as refusal:
            done(refusal)
            return
        kind = EntryKind.BLOCK if block else EntryKind.NO_OP
        self._append(LogEntry(kind, time_ms if block else 0, block), done)

    def _check_proposal(self, term: int) -> None:
        core = self._guard.state.core
        if not core.leads or core.term != term or self.failure is not None:
            raise NotLeader(
                f"a proposal for term {term}, but this node is a {_ROLES[core.state].value} in"
                f" term {core.term}: propose at the leader"
            )
        if len(self._proposed) >= PROPOSALS_MAX:
            raise QueueFull(
                f"{len(self._proposed)} entries wait for a quorum and {PROPOSALS_MAX} may: wait"
            )

    def change_members(self, add: str | None, remove: str | None, done: Done) -> None:
        """Add or remove one voter.

        Args:
            add: Who shall vote too.
            remove: Who shall vote no more.
            done: As of `propose`; with `MembershipRefused` where it cannot be done, or not yet.
        """
        name = add or remove or ""
        try:
            self._check_change(name, adds=add is not None, both=bool(add and remove))
        except ConsensusError as refusal:
            done(refusal)
            return
        payload = (b"-" if add is None else b"+") + name.encode("ascii")
        self._append(LogEntry(EntryKind.MEMBERSHIP, 0, payload), done)
        self._guard.settle_voters()

    def _check_change(self, name: str, *, adds: bool, both: bool) -> None:
        state = self._guard.state
        core, committed_index = state.core, state.commit.committed_index
        if not core.leads or self.failure is not None:
            raise NotLeader(f"this node is a {_ROLES[core.state].value}: ask the leader")
        if both:
            raise MembershipRefused("one voter is added or removed at a time; name one")
        try:
            check_membership(b"+" + name.encode())
        except FrameRefused as error:
            raise MembershipRefused(f"{name!r} is no voter's name: {error}") from error
        if (name in state.voters) == adds:
            raise MembershipRefused(f"{name} is {'a' if adds else 'no'} voter already")
        if name == state.name:
            raise MembershipRefused(f"{name} leads: transfer leadership first, then remove it")
        if self.journal.term_at(committed_index) != core.term:
            raise MembershipRefused("the leader's term has just begun; try again")
        if self.journal.has_membership_after(committed_index):
            raise MembershipRefused("another change of the voters is under way; try again")
        if len(self.journal.memberships) >= MEMBERSHIPS_MAX:
            raise MembershipRefused(f"the voters changed {MEMBERSHIPS_MAX} times; no more can be")

    def _append(self, entry: LogEntry, done: Done) -> None:
        core = self._guard.state.core
        core.propose(encode_command(entry))
        self._proposed[self.journal.last] = _Proposed(core.term, done)

    def transfer_leadership(self, to: str | None = None) -> None:
        """Ask a peer to lead instead, the most advanced one by default, if it has the whole log."""
        guard = self._guard
        core = guard.state.core
        if core.leads and self.failure is None:
            peer = to or guard.followers.most_advanced(set(guard.up))
            if peer in core.peers:
                core.transfer(peer)

    def prune(self, below_index: int) -> None:
        """Forget entries below an index that the ledger has durably applied."""
        committed_index = self._guard.state.commit.committed_index
        self.journal.prune(min(below_index, self._delivered_index, committed_index))

    def install(self, index: int, term: int) -> None:
        """Go on behind `index`, where a pointer led: the ledger has durably applied all of it."""
        guard, journal = self._guard, self.journal
        state = guard.state
        guard.pointer = None
        self._delivered_index = max(self._delivered_index, index)
        if index <= state.commit.known_index:
            return  # meanwhile another leader sent all that
        if journal.term_at(index) != term:
            journal.restart_at(index, term, guard.memberships(index))
        state.commit.learn(index)
        guard.settle_voters()
        leader = state.core.leader
        if leader is not None and not state.core.leads:
            guard.appends.acknowledge(leader, state.core.term, index, at_once=False)

    def set_signed_size(self, size: int) -> None:
        """Show peers from now on that this voter has signed a tree of `size` entries."""
        self._signed_size = max(self._signed_size, size)

    def standing(self) -> Standing:
        """Return what this voter shows its peers, as one write left it on its disk.

        A log that a new leader has cut shows so together with that leader's term: the cut with the
        term before would look like an older copy.
        """
        term, last_index = self._on_disk
        return Standing(term=term, last_index=last_index, signed_size=self._signed_size)

    def admit(self, peer: str, standing: Standing) -> None:
        """Judge what a peer shows.

        Raises:
            PeerRegressed: It has shown more before; its frames are dropped from now on.
        """
        self._guard.memory.admit(peer, standing)

    # Outputs

    def take_writes(self) -> Writes | None:
        """Return what is to be made durable, or None; `written` is owed before the next."""
        return self.journal.take_writes()

    def take_outgoing(self) -> list[tuple[str, bytes]]:
        """Return (peer, frame) of all that may leave now."""
        return self._guard.release()

    def take_committed(self, count_max: int) -> list[Ordered]:
        """Return what comes next in the order, committed and durable here; each index once."""
        until = min(self._guard.state.commit.committed_index, self._delivered_index + count_max)
        taken = []
        for index in range(self._delivered_index + 1, until + 1):
            taken.append(self._ordered(index))
            self._delivered_index = index
        return taken

    def _ordered(self, index: int) -> Ordered:
        entry, term = self.journal.entry(index), self.journal.term_at(index)
        assert term is not None, "what is not delivered is not pruned"
        block = entry.payload if entry.kind is EntryKind.BLOCK else b""
        return Ordered(index=index, term=term, time_ms=entry.time_ms, block=block)

    def status(self) -> EngineStatus:
        """Return where this voter stands."""
        state = self._guard.state
        core, journal, followers = state.core, self.journal, self._guard.followers
        peers = sorted(core.peers) if core.leads else []
        match_index = {peer: followers.match_index.get(peer, 0) for peer in peers}
        return EngineStatus(
            role=_ROLES[core.state],
            term=core.term,
            leader=self._guard.elections.known_leader,
            voters=state.voters,
            first_index=journal.first,
            last_index=journal.last,
            durable_index=journal.durable_index,
            committed_index=state.commit.committed_index,
            term_start_index=self._guard.term_start_index,
            match_index=match_index,
            lag_entries={peer: journal.last - index for peer, index in match_index.items()},
            silent_s=followers.silent_s() if core.leads else {},
            elections=self._guard.elections.begun_count,
            proposals=len(self._proposed),
            counters={**state.counters, "frame dropped": state.outbox.dropped_count},
        )

    def _settle_proposed(self) -> None:
        """Tell of proposals that are committed, and of those whose leader is no longer one."""
        if not self._proposed:
            return
        state = self._guard.state
        core, committed_index = state.core, state.commit.committed_index
        for index in sorted(self._proposed):
            proposed = self._proposed[index]
            same = self.journal.term_at(index) == proposed.term
            if index <= committed_index and same:
                del self._proposed[index]
                proposed.done(self._ordered(index))
            elif not core.leads or core.term != proposed.term or self.failure is not None:
                del self._proposed[index]
                proposed.done(
                    OutcomeUnknown(
                        f"leadership of term {proposed.term} ended before index {index} was"
                        " committed: read the order to see what was kept"
                    )
                )


def _known_index(
    journal: RaftJournal, applied_index: int, applied_term: int, *, leapt: bool
) -> int:
    """Return how far a log that is taken up is known to be committed.

    A ledger that leapt ahead by fetched blocks may have been stopped before its log was told. That
    log stays as it is until a leader sends what follows or points further: the blocks do not tell
    who votes by now, and a voter that does not know that must not begin behind them.

    Raises:
        LedgerBehind: The log does not hold what the ledger needs next.
        RaftHalted: It does not hold what the ledger has applied.
    """
    first_index = journal.first if len(journal) else 0
    if not applied_index and first_index <= 1:
        return first_index
    if applied_index < first_index:
        raise LedgerBehind(
            f"the ledger has applied index {applied_index} of the order, but the log begins"
            f" behind {first_index}: restore the newest ledger folder; without it the others go on"
            " without this voter, whose place no other can take yet"
        )
    term = journal.term_at(applied_index)
    if term == applied_term:
        return applied_index
    if not leapt:
        raise RaftHalted(
            f"the ledger has applied index {applied_index} of term {applied_term}, but the log has"
            f" {f'term {term} there' if term is not None else f'its end at {journal.last}'}: it is"
            " an older copy; restore the newest; without it the others go on without this voter,"
            " whose place no other can take yet"
        )
    return first_index
