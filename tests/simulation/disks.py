"""A disk whose writes take their time, and are lost where a crash comes first."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lotmark_consensus.raft.log_store import Writes
from lotmark_consensus.raft.memory_log import MemoryLogStore
from tests.simulation.world import World

STALL_FACTOR = 40.0  # how much slower a slow disk is: milliseconds become tenths of a second


@dataclass(frozen=True, slots=True)
class DiskCopy:
    """What a backup of a disk holds."""

    store: MemoryLogStore
    terms: Mapping[int, int]
    first_index: int
    last_index: int


class SimulatedDisk:
    """One write at a time; what it holds survives every crash.

    Attributes:
        store: What the engine loads from and reads.
        terms: The durable log, term by index; kept beside the store as a second witness.
        first_index: Of the durable log.
        last_index: Of the durable log; 0 where it is empty.
    """

    def __init__(
        self,
        world: World,
        name: str,
        *,
        write_s: tuple[float, float],
        cut: Callable[[int, int], None],
    ) -> None:
        """Start empty.

        Args:
            world: Whose time a write takes.
            name: For its own stream of chance.
            write_s: The shortest and the longest write.
            cut: Told index and term of every durable entry that a write takes back.
        """
        self.store = MemoryLogStore()
        self.terms: dict[int, int] = {}
        self.first_index = 1
        self.last_index = 0
        self._world = world
        self._chance = world.chance(f"disk {name}")
        self._write_s = write_s
        self._cut = cut
        self._slow_until_s = 0.0
        self._stalled_until_s = 0.0
        self._in_flight: Writes | None = None
        self._power_cycle = 0

    @property
    def busy(self) -> bool:
        """Whether a write is under way."""
        return self._in_flight is not None

    def write(self, writes: Writes, done: Callable[[], None]) -> None:
        """Begin a write; `done` is called once it is durable, never after a crash."""
        assert self._in_flight is None, "the disk takes one write at a time"
        self._in_flight = writes
        power_cycle = self._power_cycle

        def finish() -> None:
            if self._power_cycle == power_cycle:
                self._in_flight = None
                self._keep(writes)
                done()

        self._world.after(self._duration_s(), finish)

    def crash(self) -> None:
        """Lose the write under way, or not: nobody knows how far it had come."""
        self._power_cycle += 1
        writes, self._in_flight = self._in_flight, None
        if writes is not None and self._chance.random() < 0.3:
            self._keep(writes)

    def copy(self) -> DiskCopy:
        """Return a backup."""
        return DiskCopy(
            copy.deepcopy(self.store), dict(self.terms), self.first_index, self.last_index
        )

    def restore(self, backup: DiskCopy) -> None:
        """Be as the backup was; nobody may use the disk meanwhile."""
        self.store = copy.deepcopy(backup.store)
        self.terms = dict(backup.terms)
        self.first_index, self.last_index = backup.first_index, backup.last_index

    def slow_down(self, duration_s: float) -> None:
        """Make every write that begins in this time slow."""
        self._slow_until_s = self._world.now_s + duration_s

    def stall(self, duration_s: float) -> None:
        """Let no write that begins from now on end before this time has passed."""
        self._stalled_until_s = self._world.now_s + duration_s

    def mend(self) -> None:
        """Be a good disk again."""
        self._slow_until_s = self._stalled_until_s = 0.0

    def holds(self, index: int, term: int) -> bool:
        """Whether an entry is durable here and not pruned."""
        return self.terms.get(index) == term

    def _duration_s(self) -> float:
        duration_s = self._chance.uniform(*self._write_s)
        if self._world.now_s < self._slow_until_s:
            duration_s *= STALL_FACTOR
        return max(duration_s, self._stalled_until_s - self._world.now_s)

    def _keep(self, writes: Writes) -> None:
        self.store.write(writes)
        for entry in writes.entries:
            before = self.terms.get(entry.index)
            self.terms[entry.index] = entry.term
            if before is not None and before != entry.term:
                self._cut(entry.index, before)
        for index in range(writes.last_index + 1, self.last_index + 1):
            before = self.terms.pop(index, None)
            if before is not None:
                self._cut(index, before)
        for index in range(self.first_index, writes.first_index):
            self.terms.pop(index, None)
        self.first_index = writes.first_index
        self.last_index = writes.last_index
