"""How fast something was that was kept busy for a while."""

from dataclasses import dataclass

from lotmark_node.bench import machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Pumped:
    """What was done, a number at a time always on their way."""

    count: int
    seconds: float
    latencies_ms: list[float]
    in_flight: int

    @property
    def per_s(self) -> float:
        """How many were done in a second."""
        return self.count / self.seconds

    def figures(self) -> dict[str, object]:
        """Return what a bench prints of it."""
        return {
            "per_s": round(self.per_s, 1),
            "p50_ms": round(machine.percentile(self.latencies_ms, 50), 1),
            "p99_ms": round(machine.percentile(self.latencies_ms, 99), 1),
            "in_flight": self.in_flight,
            "measured_s": round(self.seconds, 1),
        }
