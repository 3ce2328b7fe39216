"""How far the order is committed here: never further than this node's own disk."""

from lotmark_consensus.raft.journal import RaftJournal


class CommitRule:
    """Turns what PySyncObj counts and what leaders tell into this node's commit index.

    PySyncObj counts the leader itself before its disk has the entry, and takes a leader's word
    before its own disk has it. Here a leader's entries count once they are durable, and only
    through an entry of its own term: one of an older term may still be replaced while the entry
    that would protect it is not durable (Ongaro's thesis, figure 3.7).

    Attributes:
        committed_index: Committed, and durable here.
        known_index: Committed, in the log, perhaps not yet durable here. It never leaves the log.
    """

    def __init__(self, journal: RaftJournal, *, known_index: int, wait_for_disk: bool) -> None:
        self._journal = journal
        self._wait_for_disk = wait_for_disk
        self.known_index = known_index
        self.committed_index = min(known_index, journal.durable_index)

    def learn(self, index: int) -> None:
        """Take note that everything up to an index of this log is committed."""
        self.known_index = max(self.known_index, index)

    def settle(self, counted_index: int, *, leading_term: int | None) -> int:
        """Return the commit index.

        Args:
            counted_index: What PySyncObj made it.
            leading_term: The term in which this node leads; None where it does not.
        """
        kept_index = self._journal.durable_index if self._wait_for_disk else self._journal.last
        if leading_term is None:
            self.learn(counted_index)  # as before, unless appends are not normalised
        else:
            index = min(counted_index, kept_index)
            if self._journal.term_at(index) == leading_term:
                self.learn(index)
        self.committed_index = max(self.committed_index, min(self.known_index, kept_index))
        return self.committed_index
