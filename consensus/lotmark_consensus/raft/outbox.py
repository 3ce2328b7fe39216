"""Frames that wait until they may leave."""

from dataclasses import dataclass

from lotmark.v1 import raft_pb2
from lotmark_consensus.raft.codec import encode_frame, new_frame

FRAMES_MAX = 1024  # beyond it frames are dropped: a stalled disk must not fill the memory
WINDOW_SIZE_MAX = 8 << 20  # for one peer, between two times that the outbox is emptied


@dataclass(frozen=True, slots=True)
class _Waiting:
    peer: str
    term: int
    raw: bytes


class Outbox:
    """Keeps frames in the order they were made, each with the term it was made in.

    Attributes:
        dropped_count: Frames that there was no room for.
    """

    def __init__(self, chain_id: bytes) -> None:
        self._chain_id = chain_id
        self._waiting: list[_Waiting] = []
        self._sizes: dict[str, int] = {}
        self.dropped_count = 0

    def frame(self, term: int) -> raft_pb2.RaftFrame:
        """Return a frame to fill and to `put`."""
        return new_frame(self._chain_id, term)

    def put(self, peer: str, frame: raft_pb2.RaftFrame) -> None:
        """Let a frame wait."""
        if len(self._waiting) >= FRAMES_MAX:
            self.dropped_count += 1
            return
        raw = encode_frame(frame)
        self._waiting.append(_Waiting(peer, frame.term, raw))
        self._sizes[peer] = self._sizes.get(peer, 0) + len(raw)

    def is_full(self, peer: str) -> bool:
        """Return whether no more entries should be put for a peer."""
        return self._sizes.get(peer, 0) >= WINDOW_SIZE_MAX or len(self._waiting) >= FRAMES_MAX

    def release(self, term: int) -> list[tuple[str, bytes]]:
        """Return all frames made in `term`, which is durable, and forget the others.

        What was said in an earlier term is of no use to anybody; what an acknowledgement of it
        covers may have been cut off since.
        """
        leaving = [(waiting.peer, waiting.raw) for waiting in self._waiting if waiting.term == term]
        self._waiting.clear()
        self._sizes.clear()
        return leaving
