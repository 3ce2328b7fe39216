"""When this voter campaigns, and for whom it votes."""

from lotmark.v1 import raft_pb2
from lotmark_consensus.raft.core import CoreState, monotonic_s
from lotmark_consensus.raft.followers import Followers
from lotmark_consensus.raft.voter_state import VoterState

NEVER_S = float("-inf")


class Elections:
    """PreVote, leader stickiness, transfers, and votes that count once a voter and term.

    Attributes:
        begun_count: Elections that this voter began.
    """

    def __init__(self, state: VoterState, followers: Followers) -> None:
        self._state = state
        self._followers = followers
        self._leader_heard_s = NEVER_S
        self._votes: tuple[int, set[str]] = (0, set())  # term, who gave its vote
        self._pre_votes: tuple[int, set[str]] = (0, set())
        self._pre_votes_asked_s = NEVER_S
        self._transfer_term: int | None = None  # in which the leader asked this voter to take over
        self._abstains_until_s = NEVER_S
        self._notified_s: dict[str, float] = {}  # by peer: when it was told of the new term
        self.begun_count = 0

    def heard_leader(self) -> None:
        """Take note that the leader of the current term is alive.

        What was promised against it is void: those who promised have heard it too.
        """
        self._leader_heard_s = monotonic_s()
        self._pre_votes = (0, set())

    @property
    def known_leader(self) -> str | None:
        """Who leads; None once it has been silent for so long that any voter would replace it.

        The core goes on to name it while nobody else is elected: a voter that is cut off would
        never learn that it has no leader.
        """
        state = self._state
        silent_s = monotonic_s() - self._leader_heard_s
        if not state.core.leads and silent_s > state.timing.election_max_s:
            return None
        return state.core.leader

    def state_changed(self, state: CoreState) -> None:
        """Take note of what this voter is now."""
        if state is CoreState.LEADER:
            self._transfer_term = None

    def abstain(self) -> None:
        """Do not campaign for a while: a majority found this voter's clock wrong."""
        self._abstains_until_s = monotonic_s() + self._state.timing.abstain_s

    def may_campaign(self) -> bool:
        """Return whether to begin an election now; first asks whether it would be won."""
        begins = self._may_campaign()
        self.begun_count += begins
        return begins

    def _may_campaign(self) -> bool:
        state = self._state
        if state.name not in state.voters:
            return False
        core = state.core
        if self._transfer_term == core.term:
            return True
        if monotonic_s() < self._abstains_until_s:
            return False
        if not state.protections.prevote or not core.peers:
            return True
        wanted_term = core.term + 1
        term, givers = self._pre_votes
        age_s = monotonic_s() - self._pre_votes_asked_s
        if term != wanted_term or age_s > state.timing.election_min_s / 2:
            self._ask_pre_votes(wanted_term)
            return False
        return core.is_quorum(1 + len(givers & core.peers))

    def _ask_pre_votes(self, wanted_term: int) -> None:
        state = self._state
        self._pre_votes = (wanted_term, set())
        self._pre_votes_asked_s = monotonic_s()
        for peer in sorted(state.core.peers):
            frame = state.outbox.frame(state.core.term)
            frame.vote_request.last_index = state.journal.last
            frame.vote_request.last_term = state.last_term()
            frame.vote_request.pre_vote_term = wanted_term
            state.outbox.put(peer, frame)

    def ask_vote(self, peer: str, *, last_index: int, last_term: int) -> None:
        """Ask a peer for its vote in the current term."""
        term = self._state.core.term
        frame = self._state.outbox.frame(term)
        frame.vote_request.last_index = last_index
        frame.vote_request.last_term = last_term
        frame.vote_request.transfer = self._transfer_term == term - 1
        self._state.outbox.put(peer, frame)

    def give_vote(self, peer: str) -> None:
        """Grant a vote in the current term; it leaves once it is durable."""
        frame = self._state.outbox.frame(self._state.core.term)
        frame.vote_response.SetInParent()
        self._state.outbox.put(peer, frame)

    def take_request(self, peer: str, term: int, request: raft_pb2.VoteRequest) -> None:
        """Answer a candidate, or one who would be."""
        state = self._state
        core = state.core
        if request.pre_vote_term:
            self._answer_pre_vote(peer, term, request)
        elif term < core.term:
            self.notify(peer)
        elif (
            state.protections.stickiness
            and term > core.term
            and not request.transfer
            and self._leader_is_alive()
        ):
            state.counters["vote refused: the leader is alive"] += 1
        elif (
            state.protections.vote_set
            and term == core.term
            and state.journal.getVotedForNodeId() == peer
            and not core.leads
        ):
            self.give_vote(peer)  # its first answer may have been lost
        else:
            core.take_vote_request(
                peer, term, last_index=request.last_index, last_term=request.last_term
            )

    def _answer_pre_vote(self, peer: str, term: int, request: raft_pb2.VoteRequest) -> None:
        state = self._state
        own = (state.last_term(), state.journal.last)
        wanted = request.pre_vote_term > state.core.term
        alive = state.protections.stickiness and self._leader_is_alive()
        if wanted and (request.last_term, request.last_index) >= own and not alive:
            frame = state.outbox.frame(state.core.term)
            frame.vote_response.pre_vote_term = request.pre_vote_term
            state.outbox.put(peer, frame)
        elif term < state.core.term:
            self.notify(peer)

    def notify(self, peer: str) -> None:
        """Tell a peer that its term is over, once a heartbeat at most."""
        now_s = monotonic_s()
        told_lately = now_s - self._notified_s.get(peer, NEVER_S) < self._state.timing.heartbeat_s
        if self._state.protections.term_notice and not told_lately:
            self._notified_s[peer] = now_s
            frame = self._state.outbox.frame(self._state.core.term)
            frame.term_notice.SetInParent()
            self._state.outbox.put(peer, frame)

    def take_vote(self, peer: str, term: int, response: raft_pb2.VoteResponse) -> None:
        """Count a vote, or the promise of one."""
        state = self._state
        core = state.core
        if response.pre_vote_term:
            wanted_term, givers = self._pre_votes
            if response.pre_vote_term == wanted_term:
                givers.add(peer)
        if term > core.term:
            core.take_term(peer, term)
            return
        if response.pre_vote_term or term < core.term:
            return
        if state.protections.member_check and peer not in core.peers:
            state.counters["vote of no voter"] += 1
            return
        if state.protections.vote_set:
            if self._votes[0] != term:
                self._votes = (term, set())
            if peer in self._votes[1]:
                state.counters["vote given twice"] += 1
                return
            self._votes[1].add(peer)
        core.take_vote(peer)

    def take_timeout_now(self, leader: str, term: int) -> None:
        """Campaign at once, where the current leader asks for it."""
        core = self._state.core
        if term == core.term and core.leader == leader and self._state.name in self._state.voters:
            self._transfer_term = term
            core.take_timeout_now(leader)

    def _leader_is_alive(self) -> bool:
        within_s = self._state.timing.election_min_s
        if self._state.core.leads:
            return self._followers.quorum_was_heard(within_s)
        return self._leader_heard_s > monotonic_s() - within_s
