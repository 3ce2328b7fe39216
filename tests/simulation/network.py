"""Voters and their links, put together and watched."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lotmark_consensus.errors import PeerRegressed
from lotmark_consensus.ordering import Ordered
from lotmark_consensus.raft.protections import Protections
from lotmark_consensus.raft.timing import RaftTiming
from tests.simulation.clocks import WallClock
from tests.simulation.disks import SimulatedDisk
from tests.simulation.invariants import Invariants
from tests.simulation.links import Links, Pair
from tests.simulation.trace import Trace
from tests.simulation.voter import Voter
from tests.simulation.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where and how voters run.

    Attributes:
        names: Every process there may be.
        initial_voters: Those of the genesis.
        timing: Of every engine.
        disk_write_s: The shortest and the longest write of a disk.
        drift: How fast a clock runs wrong at most; each has its own.
        offset_ms: How wrong a clock is at most from the start.
        batch_count_max: How many blocks a ledger takes in one pass.
        protections: What guards the core.
    """

    names: tuple[str, ...]
    initial_voters: frozenset[str]
    timing: RaftTiming
    disk_write_s: tuple[float, float]
    drift: float = 0.0
    offset_ms: int = 0
    batch_count_max: int = 64
    protections: Protections = field(default_factory=Protections)


class Network:
    """All processes. The links call it when a stream comes, goes, or gives a frame.

    Attributes:
        voters: By name, running or not.
        watch: Sees to the invariants.
        links: To be set before anything starts.
        in_control: Whose code runs now.
        refused: (who, whom) of standings that were refused.
    """

    def __init__(self, world: World, site: Site, trace: Trace) -> None:
        self.voters: Mapping[str, Voter] = {
            name: self._voter(name, world, site, trace) for name in site.names
        }
        self.watch = Invariants(self.voters, site.initial_voters)
        for voter in self.voters.values():
            voter.watch = self.watch
        self.links: Links
        self.in_control = ""
        self.refused: set[Pair] = set()
        self._trace = trace

    def start(self, names: Iterable[str]) -> None:
        """Start processes, and their links."""
        for name in names:
            self.voters[name].start()
            self.links.started(name)

    def crash(self, name: str) -> None:
        """Crash a process, with its links."""
        self.voters[name].crash()
        self.links.died(name)

    # What voters call

    def entered(self, name: str) -> None:
        """Remember whose code runs."""
        self.in_control = name

    def send(self, sender: str, receiver: str, frame: bytes) -> None:
        """Give a frame to the link."""
        self.watch.counts["frames"] += 1
        self.links.send(sender, receiver, frame)

    def blocks_of(self, peer: str, reader: str) -> list[Ordered] | None:
        """Serve a ledger's blocks where the two reach each other."""
        voter = self.voters[peer]
        if not self.answers(peer) or not self.links.passable(peer, reader):
            return None
        return list(voter.ledger.blocks)

    # What links call

    def runs(self, name: str) -> bool:
        """Whether there is such a process now."""
        return self.voters[name].engine is not None

    def answers(self, name: str) -> bool:
        """Whether it runs and is not paused."""
        voter = self.voters[name]
        return voter.engine is not None and not voter.paused

    def stream_up(self, sender: str, receiver: str) -> bool:
        """Let both ends say where they stand, and judge it."""
        if not (self._admits(sender, receiver) and self._admits(receiver, sender)):
            return False
        self._trace.say(sender, f"can send to {receiver}")
        self.voters[sender].peer_up(receiver)
        return True

    def stream_down(self, sender: str, receiver: str) -> None:
        """Tell the sender."""
        self._trace.say(sender, f"can no longer send to {receiver}")
        self.voters[sender].peer_down(receiver)

    def frame_arrives(self, sender: str, receiver: str, frame: bytes) -> None:
        """Hand over a frame."""
        self.voters[receiver].take_frame(sender, frame)

    def _admits(self, name: str, peer: str) -> bool:
        judge, judged = self.voters[name].engine, self.voters[peer].engine
        assert judge is not None, name
        assert judged is not None, peer
        try:
            judge.admit(peer, judged.standing())
        except PeerRegressed as error:
            self._trace.say(name, f"REFUSES {peer}: {error}")
            self.refused.add((name, peer))
            self.watch.refused(name, peer, error)
            return False
        return True

    def _voter(self, name: str, world: World, site: Site, trace: Trace) -> Voter:
        chance = world.chance(f"clock {name}")
        clock = WallClock(
            world,
            drift=chance.uniform(-site.drift, site.drift),
            offset_ms=chance.randint(-site.offset_ms, site.offset_ms),
        )

        def cut(index: int, term: int) -> None:
            self.watch.cut(name, index, term)

        return Voter(
            name,
            world,
            self,
            initial_voters=site.initial_voters,
            timing=site.timing,
            protections=site.protections,
            disk=SimulatedDisk(world, name, write_s=site.disk_write_s, cut=cut),
            clock=clock,
            trace=trace,
            batch_count_max=site.batch_count_max,
        )
