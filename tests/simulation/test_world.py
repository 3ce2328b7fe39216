"""The simulator's own parts: a disk that forgets nothing, or links that lose nothing, prove
nothing.
"""

import pysyncobj.syncobj as core_module  # type: ignore[import-untyped]  # it has no stubs
import pytest

from lotmark_consensus.raft import log_view
from lotmark_consensus.raft.log_store import StoredEntry, Writes
from tests.simulation.clocks import WallClock
from tests.simulation.disks import SimulatedDisk
from tests.simulation.links import KEEPALIVE_S, FifoLinks, LossyLinks, Weather
from tests.simulation.world import World, core_lives_in


class Ends:
    """Two ends that always answer, and keep what arrives."""

    def __init__(self) -> None:
        self.arrived: list[bytes] = []
        self.streams_down = 0

    def runs(self, name: str) -> bool:
        return True

    def answers(self, name: str) -> bool:
        return True

    def stream_up(self, sender: str, receiver: str) -> bool:
        return True

    def stream_down(self, sender: str, receiver: str) -> None:
        self.streams_down += 1

    def frame_arrives(self, sender: str, receiver: str, frame: bytes) -> None:
        self.arrived.append(frame)


def _fifo(world: World, ends: Ends) -> FifoLinks:
    links = FifoLinks(world, ["a", "b"], ends, Weather(latency_s=(0.001, 0.1)))
    links.started("a")
    return links


def _frames(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def _write(index: int, term: int) -> Writes:
    return Writes(
        entries=[StoredEntry(index, term, b"\1")],
        first_index=1,
        last_index=index,
        term=term,
        vote=None,
        marks={},
    )


def test_what_is_planned_happens_in_the_order_of_time() -> None:
    world, happened = World(1), list[str]()
    world.after(2.0, lambda: happened.append("second"))
    world.after(1.0, lambda: happened.append("first"))
    world.after(2.0, lambda: happened.append("third"))

    world.run(2.0)

    assert happened == ["first", "second", "third"]


def test_the_core_gets_its_own_clock_and_chance_back() -> None:
    before = (
        core_module.monotonicTime,
        core_module.random,
        core_module.createPoller,
        log_view.PASS_ENTRIES_MAX,
    )
    world = World(1)

    with core_lives_in(world, lambda: 0.5, pass_entries_max=2):
        assert core_module.monotonicTime() == world.now_s
        assert core_module.random.random() == 0.5

    assert before == (
        core_module.monotonicTime,
        core_module.random,
        core_module.createPoller,
        log_view.PASS_ENTRIES_MAX,
    )


def test_a_fifo_link_keeps_the_order_and_everything_through_a_stall() -> None:
    world, ends = World(1), Ends()
    links = _fifo(world, ends)
    for frame in _frames(20):
        links.send("a", "b", frame)
    links.block([("a", "b")])
    world.run(1.0)
    assert ends.arrived == []

    links.unblock([("a", "b")])
    for frame in _frames(20):
        links.send("a", "b", frame)
    world.run(1.0)

    assert ends.arrived == _frames(20) * 2


def test_a_fifo_link_that_stalls_for_long_breaks_and_loses_what_is_on_its_way() -> None:
    world, ends = World(1), Ends()
    links = _fifo(world, ends)
    links.send("a", "b", b"lost")
    links.block([("a", "b")])
    world.run(KEEPALIVE_S)
    assert ends.streams_down == 2  # that of the answers too

    links.unblock([("a", "b")])
    world.run(1.0)
    links.send("a", "b", b"kept")
    world.run(1.0)

    assert ends.arrived == [b"kept"]


def test_a_lossy_link_loses_doubles_and_reorders() -> None:
    world, ends = World(1), Ends()
    weather = Weather(latency_s=(0.001, 0.1), drop=0.1, duplicate=0.1, late=0.1, late_s=4.0)
    links = LossyLinks(world, ["a", "b"], ends, weather)
    links.started("a")
    for frame in _frames(200):
        links.send("a", "b", frame)
    world.run(1.0)
    in_time = len(ends.arrived)
    world.run(5.0)

    assert len(set(ends.arrived)) < 200
    assert len(ends.arrived) > len(set(ends.arrived))
    assert ends.arrived != sorted(ends.arrived, key=int)
    assert in_time < len(ends.arrived)


def test_a_crash_loses_the_write_under_way_or_keeps_all_of_it() -> None:
    kept = set()
    for seed in range(20):
        world, done = World(seed), list[bool]()
        disk = SimulatedDisk(world, "a", write_s=(0.01, 0.01), cut=lambda _index, _term: None)
        disk.write(_write(1, 1), lambda done=done: done.append(True))  # type: ignore[misc]
        disk.crash()
        world.run(1.0)
        assert done == []
        assert disk.store.load().last_index == disk.last_index
        kept.add(disk.holds(1, 1))

    assert kept == {False, True}


def test_a_disk_tells_what_it_takes_back() -> None:
    world, cut = World(1), list[tuple[int, int]]()
    disk = SimulatedDisk(
        world, "a", write_s=(0.01, 0.01), cut=lambda index, term: cut.append((index, term))
    )
    for index, term in [(1, 1), (2, 1), (3, 1), (2, 2)]:
        disk.write(_write(index, term), lambda: None)
        world.run(1.0)

    assert cut == [(2, 1), (3, 1)]
    assert disk.terms == {1: 1, 2: 2}


def test_a_stalled_disk_ends_no_write_before_its_time() -> None:
    world, ended_s = World(1), list[float]()
    disk = SimulatedDisk(world, "a", write_s=(0.01, 0.01), cut=lambda _index, _term: None)
    disk.stall(2.0)
    disk.write(_write(1, 1), lambda: ended_s.append(world.elapsed_s))

    world.run(5.0)

    assert ended_s == [pytest.approx(2.0)]


def test_a_clock_drifts_jumps_and_is_mended() -> None:
    world = World(1)
    clock = WallClock(world, drift=0.001, offset_ms=100)
    start_ms = clock.now_ms()
    world.run(100.0)

    assert clock.now_ms() - start_ms == pytest.approx(100_100, abs=1)
    clock.jump(-5000)
    assert clock.now_ms() - start_ms == pytest.approx(95_100, abs=1)
    clock.mend()
    assert clock.now_ms() - start_ms == pytest.approx(100_100, abs=1)
