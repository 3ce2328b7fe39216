"""The simulated world: one clock, one queue of what happens next, all chance from one seed."""

import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pysyncobj.syncobj as core_module  # type: ignore[import-untyped]  # it has no stubs

from lotmark_consensus.raft import log_view

START_S = 1000.0  # PySyncObj writes 0 for "at once", so the clock must be past it


class World:
    """A clock that moves only to the next thing that was planned.

    Attributes:
        now_s: The virtual time, of every process alike.
    """

    def __init__(self, seed: int) -> None:
        self.now_s = START_S
        self._seed = seed
        self._planned: list[tuple[float, int, Callable[[], None]]] = []
        self._planned_count = 0

    @property
    def elapsed_s(self) -> float:
        """How much virtual time has passed."""
        return self.now_s - START_S

    def chance(self, name: str) -> random.Random:
        """Return a stream of chance that no other name's use disturbs."""
        return random.Random(f"{self._seed}/{name}")  # noqa: S311 - a seed must replay

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Plan an action; of two at the same time the one planned first comes first."""
        self._planned_count += 1
        heapq.heappush(self._planned, (self.now_s + delay_s, self._planned_count, action))

    def run(self, duration_s: float) -> None:
        """Let everything happen that is planned for the next `duration_s`."""
        end_s = self.now_s + duration_s
        planned = self._planned
        while planned and planned[0][0] <= end_s:
            self.now_s, _, action = heapq.heappop(planned)
            action()
        self.now_s = end_s


class _NoPoller:
    """PySyncObj asks for a poller of sockets; there are none."""

    def poll(self, timeout: float) -> None:
        """Find nothing."""


@contextmanager
def core_lives_in(
    world: World, draw: Callable[[], float], *, pass_entries_max: int = log_view.PASS_ENTRIES_MAX
) -> Iterator[None]:
    """Give PySyncObj this world's clock and chance, and take them back at the end.

    Args:
        world: Whose clock it reads.
        draw: Returns a number from 0 to 1 whenever it draws an election timeout.
        pass_entries_max: How many entries one append request carries at most.
    """
    stock = core_module.monotonicTime, core_module.random, core_module.createPoller
    stock_pass_entries_max = log_view.PASS_ENTRIES_MAX
    log_view.PASS_ENTRIES_MAX = pass_entries_max
    core_module.monotonicTime = lambda: world.now_s
    core_module.random = SimpleNamespace(random=draw)
    core_module.createPoller = lambda _kind: _NoPoller()
    try:
        yield
    finally:
        core_module.monotonicTime, core_module.random, core_module.createPoller = stock
        log_view.PASS_ENTRIES_MAX = stock_pass_entries_max
