"""How far a machine's clock was set while a site runs, as its steady clock shows."""

import time
from collections.abc import Callable


class ClockJumps:
    """Compares the clock with one that nobody sets. For any thread."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        """Begin to compare.

        Args:
            now_us: The machine's clock, Unix time.
        """
        self._now_us = now_us
        self._offset_us = self._offset()

    def __call__(self) -> int:
        """Return by how much the clock was set ahead since the beginning; below 0: set back."""
        return self._offset() - self._offset_us

    def _offset(self) -> int:
        return self._now_us() - time.monotonic_ns() // 1_000
