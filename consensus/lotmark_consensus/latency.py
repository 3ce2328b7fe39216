"""How long something took, counted into buckets: for metrics, never for decisions."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

# Upper bounds in seconds; what takes longer falls behind the last.
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class LatencyCounts:
    """How often it took how long so far."""

    counts: Sequence[int]  # one for each of `BOUNDS_S`, and one for what took longer
    total_s: float


class Latency:
    """Counts for one writing thread; any thread may read."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._total_s = 0.0

    def add(self, took_s: float) -> None:
        """Count one that took so long; exactly a bound is within it."""
        self._counts[bisect_left(BOUNDS_S, took_s)] += 1
        self._total_s += took_s

    def read(self) -> LatencyCounts:
        """Return the counts so far; a writer meanwhile may be in them by one and not in the sum."""
        return LatencyCounts(tuple(self._counts), self._total_s)
