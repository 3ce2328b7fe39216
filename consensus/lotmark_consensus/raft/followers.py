"""What a leader knows of its followers."""

from lotmark.v1 import raft_pb2
from lotmark_consensus.errors import FrameRefused
from lotmark_consensus.raft.core import monotonic_s
from lotmark_consensus.raft.peer_memory import PeerMemory
from lotmark_consensus.raft.voter_state import VoterState


class Followers:
    """Judges what followers answer, and counts who is there.

    Attributes:
        match_index: By peer: the log is durable there, as it is here, up to this index.
    """

    def __init__(self, state: VoterState, memory: PeerMemory) -> None:
        self._state = state
        self._memory = memory
        self.match_index: dict[str, int] = {}
        self._heard_s: dict[str, float] = {}
        self._refused_index: dict[str, int] = {}  # by peer: the first entry it does not take

    def begin(self) -> None:
        """Begin to lead: nobody has answered anything."""
        now_s = monotonic_s()
        self.match_index = {}
        self._heard_s = dict.fromkeys(self._state.core.peers, now_s)
        self._refused_index = {}

    def take_answer(self, peer: str, term: int, answer: raft_pb2.AppendResponse) -> None:
        """Take how far a follower's log matches, or from where it wants to be sent.

        Raises:
            FrameRefused: It acknowledges what this log does not have.
        """
        core, journal = self._state.core, self._state.journal
        if not core.leads or peer not in core.peers:
            return  # a leader that has crashed may get answers to what its disk did not keep
        if answer.success and answer.next_index > journal.last + 1:
            raise FrameRefused(
                f"{peer} acknowledges {answer.next_index - 1}; the log ends at {journal.last}"
            )
        self._heard_s[peer] = monotonic_s()
        if not answer.success:
            # The core's first message can only go behind the entry that every log begins with.
            next_index = max(2, min(answer.next_index, journal.last + 1))
            core.take_acknowledgement(peer, next_index=next_index, success=False)
            return
        match_index = answer.next_index - 1
        core.take_acknowledgement(peer, next_index=answer.next_index, success=True)
        self.match_index[peer] = max(self.match_index.get(peer, 0), match_index)
        if match_index >= self._refused_index.get(peer, match_index + 1):
            del self._refused_index[peer]
        self._memory.saw_acknowledgement(peer, term, match_index)

    def take_time_refusal(self, peer: str, refusal: raft_pb2.TimeRefusal) -> None:
        """Take note that a follower finds an entry's time too far ahead."""
        if self._state.core.leads:
            self._heard_s[peer] = monotonic_s()
            self._refused_index[peer] = refusal.index

    def quorum_was_heard(self, within_s: float) -> bool:
        """Return whether a quorum, this node counted, answered lately."""
        since_s = monotonic_s() - within_s
        heard = [peer for peer in self._state.core.peers if self._heard(peer) > since_s]
        return self._state.core.is_quorum(1 + len(heard))

    def quorum_is_out_of_reach(self) -> bool:
        """Return whether so many refuse an entry for its time that no quorum can take it."""
        core = self._state.core
        committed_index = self._state.commit.committed_index
        refusing = [
            peer for peer in core.peers if self._refused_index.get(peer, 0) > committed_index
        ]
        return not core.is_quorum(len(core.peers) + 1 - len(refusing))

    def silent_s(self) -> dict[str, float]:
        """Return for how long peers have not answered, counted from when this node began to lead.

        A voter that was added since and never answered is left out.
        """
        now_s, heard_s = monotonic_s(), self._heard_s
        return {peer: now_s - heard_s[peer] for peer in self._state.core.peers & heard_s.keys()}

    def most_advanced(self, among: set[str]) -> str | None:
        """Return the peer that has most of the log, None where there is nobody."""
        candidates = sorted(self._state.core.peers & among)
        return max(candidates, key=lambda peer: self.match_index.get(peer, 0), default=None)

    def _heard(self, peer: str) -> float:
        return self._heard_s.get(peer, float("-inf"))
