"""What each peer has shown: one that shows less came back from an older copy of its disk.

Such a voter has forgotten votes and entries that others count on. It is not heard until it shows
as much again; a voter with a new name cannot take its place yet.
"""

from dataclasses import dataclass, replace

from lotmark_consensus.errors import PeerRegressed
from lotmark_consensus.raft.journal import RaftJournal
from lotmark_consensus.raft.log_store import PeerMark


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a voter stands; all of it is durable there."""

    term: int
    last_index: int  # of its log
    signed_size: int  # the largest tree that it has signed


class PeerMemory:
    """Remembers the most that each peer has shown, in the journal.

    Attributes:
        refused: Peers that showed less than before when they last said where they stand.
    """

    def __init__(self, journal: RaftJournal, *, enforced: bool) -> None:
        self._journal = journal
        self._enforced = enforced
        self.refused: set[str] = set()

    def admit(self, peer: str, standing: Standing) -> None:
        """Remember where a peer stands.

        Within a term no acknowledged entry is ever cut off. In a later term a leader may have cut
        the log, so that only the term is compared.

        Raises:
            PeerRegressed: It has shown more before.
        """
        mark = self._journal.marks.get(peer, PeerMark())
        shown = (standing.term, standing.last_index)
        if self._enforced and (
            shown < (mark.term, mark.index) or standing.signed_size < mark.signed_size
        ):
            self.refused.add(peer)
            raise PeerRegressed(
                f"{peer} shows term {standing.term}, index {standing.last_index}, signed size"
                f" {standing.signed_size}; before it showed {mark.term}, {mark.index},"
                f" {mark.signed_size}: its disk is an older copy; stop it, and start it again only"
                " with the newest one"
            )
        self.refused.discard(peer)
        self.saw_term(peer, standing.term)
        mark = self._journal.marks.get(peer, PeerMark())
        signed_size = max(mark.signed_size, standing.signed_size)
        self._journal.mark(peer, replace(mark, signed_size=signed_size))

    def saw_term(self, peer: str, term: int) -> None:
        """Remember that a peer has made a term durable.

        The index it stands at is not remembered with it: the tail it holds may still be cut off
        in this very term. What it acknowledges in the term never is.
        """
        mark = self._journal.marks.get(peer, PeerMark())
        if term > mark.term:
            self._journal.mark(peer, replace(mark, term=term, index=0))

    def saw_acknowledgement(self, peer: str, term: int, index: int) -> None:
        """Remember that a peer has the leader's entries up to an index, in a term."""
        mark = self._journal.marks.get(peer, PeerMark())
        if (term, index) > (mark.term, mark.index):
            self._journal.mark(peer, replace(mark, term=term, index=index))
