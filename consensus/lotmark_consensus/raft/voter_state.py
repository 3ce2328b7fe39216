"""What the parts of one voter's guard share."""

from collections import Counter
from dataclasses import dataclass, field

from lotmark_consensus.raft.commit_rule import CommitRule
from lotmark_consensus.raft.core import RaftCore
from lotmark_consensus.raft.journal import RaftJournal
from lotmark_consensus.raft.outbox import Outbox
from lotmark_consensus.raft.protections import Protections
from lotmark_consensus.raft.timing import RaftTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class VoterState:
    """One voter."""

    name: str
    initial_voters: frozenset[str]  # of the genesis; the log tells what changed
    journal: RaftJournal
    core: RaftCore
    commit: CommitRule
    outbox: Outbox
    timing: RaftTiming
    protections: Protections
    counters: Counter[str] = field(default_factory=Counter)

    @property
    def voters(self) -> frozenset[str]:
        """All voters by this log; this node may be none of them."""
        return self.journal.members(self.initial_voters)

    def last_term(self) -> int:
        """Return the term of the log's last entry."""
        term = self.journal.term_at(self.journal.last)
        assert term is not None, "a log is never empty"
        return term
