"""Which inferences are to be run again: drawn by a root that nobody knows beforehand.

An entry is drawn by the root of the log's tree at the first multiple of 256 entries above it. That
root depends on every entry beneath it, those of all other parties among them, and on the height
and the time that each was given when it was ordered. When a site puts a result on record, it cannot
know whether that root will draw it; when it knows, the result stands. And nobody chooses a root:
entry and log name it, so everybody computes the same draw, at any time. 256 is the width of the
log's tiles: whoever has the full tiles has these roots, too.
"""

import hashlib
from dataclasses import dataclass

DRAWING_STEP = 256  # entries from one drawing root to the next
RATE_MAX_PPM = 1_000_000

_DOMAIN = b"lotmark/audit-lottery/v1\n"
_ROOT_SIZE = 32
_RANGE = 2**64


def drawing_size(index: int) -> int:
    """Return the size of the tree whose root draws an entry."""
    return (index // DRAWING_STEP + 1) * DRAWING_STEP


def drawn_size(checkpoint_size: int) -> int:
    """Return how many entries have their root once a final checkpoint has this size."""
    return checkpoint_size // DRAWING_STEP * DRAWING_STEP


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A root, and how many of a million of its entries it draws."""

    size: int  # of the tree; its last 256 entries are the root's to draw
    root: bytes
    rate_ppm: int

    def __post_init__(self) -> None:
        assert self.size > 0, "the empty tree draws nothing"
        assert self.size % DRAWING_STEP == 0, f"{self.size} is no multiple of {DRAWING_STEP}"
        assert len(self.root) == _ROOT_SIZE, f"a root has {_ROOT_SIZE} bytes"
        assert 0 <= self.rate_ppm <= RATE_MAX_PPM, f"{self.rate_ppm} is no rate in ppm"

    def takes(self, index: int) -> bool:
        """Return whether the entry of an index is drawn; one of another root never is."""
        if drawing_size(index) != self.size:
            return False
        drawn = hashlib.sha256(_DOMAIN + self.root + index.to_bytes(8)).digest()
        return int.from_bytes(drawn[:8]) * RATE_MAX_PPM < self.rate_ppm * _RANGE
