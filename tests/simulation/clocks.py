"""What a node takes for the time of day."""

from tests.simulation.world import World

EPOCH_MS = 1_800_000_000_000  # Unix time at the start of every simulation


class WallClock:
    """A clock that drifts, and that somebody may set forward or back."""

    def __init__(self, world: World, *, drift: float = 0.0, offset_ms: int = 0) -> None:
        self._world = world
        self._drift = drift
        self._start_offset_ms = offset_ms
        self._offset_ms = offset_ms

    def now_ms(self) -> int:
        """Return the Unix time as this node believes it."""
        elapsed_ms = self._world.elapsed_s * 1000.0 * (1.0 + self._drift)
        return EPOCH_MS + self._offset_ms + int(elapsed_ms)

    def jump(self, offset_ms: int) -> None:
        """Set the clock forward, or back by a negative number."""
        self._offset_ms += offset_ms

    def mend(self) -> None:
        """Undo every jump."""
        self._offset_ms = self._start_offset_ms
