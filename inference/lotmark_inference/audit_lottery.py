"""Which inferences are to be run again: drawn by a checkpoint that nobody knows beforehand.

The root of a final checkpoint depends on every entry beneath it, those of all other parties among
them, and on the moment at which a quorum cosigns. When a site puts a result on record, it cannot
know whether a later root will draw it; when it knows, the result stands. Everybody computes the
same draw from the root alone.
"""

import hashlib
from dataclasses import dataclass

RATE_MAX_PPM = 1_000_000

_DOMAIN = b"lotmark/audit-lottery/v1\n"
_ROOT_SIZE = 32
_RANGE = 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A final checkpoint, and how many of a million entries it draws."""

    size: int  # entries that it covers
    root: bytes
    rate_ppm: int

    def __post_init__(self) -> None:
        assert len(self.root) == _ROOT_SIZE, f"a root has {_ROOT_SIZE} bytes"
        assert 0 <= self.rate_ppm <= RATE_MAX_PPM, f"{self.rate_ppm} is no rate in ppm"

    def takes(self, index: int) -> bool:
        """Return whether the entry of an index is drawn; one that it does not cover never is."""
        if not 0 <= index < self.size:
            return False
        drawn = hashlib.sha256(_DOMAIN + self.root + index.to_bytes(8)).digest()
        return int.from_bytes(drawn[:8]) * RATE_MAX_PPM < self.rate_ppm * _RANGE
