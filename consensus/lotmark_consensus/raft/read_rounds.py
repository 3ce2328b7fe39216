"""Linearizable reads: rounds of the quorum that show who leads after the question was asked."""

from concurrent.futures import Future

from lotmark_consensus.errors import ConsensusError
from lotmark_consensus.ordering import Ordered
from lotmark_consensus.raft.engine import RaftEngine


class ReadRounds:
    """Answers questions for a read index, all that wait by one round. On the voter's thread only.

    A round is an entry without a block. Once it is committed, a quorum was still in this leader's
    term after the question, so no other leader can have committed anything before it. A question
    that comes while a round is under way waits for the next one: that round's acknowledgements may
    be older than the question.
    """

    def __init__(self) -> None:
        self._waiting: list[Future[int]] = []
        self._asked: list[Future[int]] = []

    def ask(self, future: Future[int]) -> None:
        """Resolve `future` by a round that begins later."""
        self._waiting.append(future)

    def begin(self, engine: RaftEngine) -> None:
        """Begin a round where one is wanted and none is under way; called once each turn."""
        if not self._waiting or self._asked:
            return
        self._asked, self._waiting = self._waiting, []
        engine.propose(b"", time_ms=0, term=engine.status().term, done=self._done)

    def _done(self, outcome: Ordered | ConsensusError) -> None:
        answered, self._asked = self._asked, []
        for future in answered:
            if isinstance(outcome, ConsensusError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome.index)
