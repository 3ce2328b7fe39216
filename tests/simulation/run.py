"""One seed: a network, faults for a while, then healing, and what must hold at the end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from lotmark_consensus.raft.protections import Protections
from lotmark_consensus.raft.timing import RaftTiming
from tests.simulation.client import Client
from tests.simulation.invariants import Violation
from tests.simulation.links import FifoLinks, LossyLinks, Weather
from tests.simulation.nemesis import Nemesis
from tests.simulation.network import Network, Site
from tests.simulation.trace import PARTY, Trace
from tests.simulation.world import World, core_lives_in

FAULTS_S = 12.0
PROGRESS_S_MAX = 20.0  # after the last fault a block is acknowledged, or there is no progress
CONVERGENCE_S_MAX = 10.0  # after the last proposal all ledgers are equal
TIMING = RaftTiming(
    heartbeat_s=0.12, election_min_s=0.5, election_max_s=1.2, leader_fallback_s=1.2, abstain_s=3.0
)
NAMES = tuple(PARTY + letter for letter in "abcde")


class Kind(Enum):
    """What a run is about."""

    FIFO = "fifo"  # three or five voters on streams
    LOSSY = "lossy"  # three or five voters on links that lose, double and reorder
    MEMBERSHIP = "membership"  # five processes, three of them voters at first, on either


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a seed."""

    kind: Kind
    seed: int
    violation: str | None  # the invariant's name, a colon, and what happened
    counts: Counter[str]
    trace: Sequence[str] = field(default=())

    @property
    def replay(self) -> str:
        """The command that tells this run's story."""
        seeds = f"--seeds {self.seed}..{self.seed}"
        return f"python -m tests.simulation.simulate --kind {self.kind.value} {seeds} --trace"


def run_seed(
    kind: Kind, seed: int, *, protections: Protections | None = None, trace: bool = False
) -> Report:
    """Run one seed from beginning to end, or to the first violation."""
    run = _Run(kind, seed, protections or Protections(), trace=trace)
    violation = run.play()
    return Report(
        kind=kind,
        seed=seed,
        violation=violation,
        counts=run.network.watch.counts,
        trace=run.trace.lines,
    )


class _Run:
    def __init__(self, kind: Kind, seed: int, protections: Protections, *, trace: bool) -> None:
        self.world = World(seed)
        self.trace = Trace(self.world, on=trace)
        chance = self.world.chance("plan")
        five = kind is Kind.MEMBERSHIP or chance.random() < 0.3
        names = NAMES if five else NAMES[:3]
        voters = frozenset(NAMES[:3] if kind is Kind.MEMBERSHIP else names)
        site = Site(
            names=names,
            initial_voters=voters,
            timing=TIMING,
            disk_write_s=chance.choice([(0.0005, 0.004), (0.002, 0.03)]),
            drift=0.001,
            offset_ms=500,
            batch_count_max=chance.choice([1, 4, 64]),
            protections=protections,
        )
        self.pass_entries_max = chance.choice([2, 5, 256])
        self.network = Network(self.world, site, self.trace)
        lossy = kind is Kind.LOSSY or (kind is Kind.MEMBERSHIP and chance.random() < 0.4)
        weather = Weather(
            latency_s=(0.0005, chance.choice([0.002, 0.02, 0.08])),
            drop=chance.choice([0.0, 0.02, 0.12]),
            duplicate=chance.choice([0.0, 0.05, 0.2]),
            late=chance.choice([0.0, 0.02]),
            late_s=4.0,
        )
        links = (LossyLinks if lossy else FifoLinks)(self.world, names, self.network, weather)
        self.network.links = links
        self.nemesis = Nemesis(
            self.world,
            self.network,
            links,
            self.trace,
            strays=frozenset(names[-1:]) if chance.random() < 0.4 else frozenset(),
            prunes=chance.random() < 0.5,
            changes_members=kind is Kind.MEMBERSHIP,
        )
        self.client = Client(self.world, self.network, self.trace)

    def play(self) -> str | None:
        """Return what was violated, or None."""
        timeouts = self.world.chance("election timeouts")
        with core_lives_in(self.world, timeouts.random, pass_entries_max=self.pass_entries_max):
            try:
                self._faults()
                self._healing()
            except Violation as violation:
                self.trace.say("VIOLATION", str(violation))
                return str(violation)
        return None

    def _faults(self) -> None:
        self.network.start(self.network.voters)
        self.client.start()
        self.nemesis.start()
        self.world.run(FAULTS_S)
        self.nemesis.stop()

    def _healing(self) -> None:
        watch = self.network.watch
        acknowledged_before = len(watch.acknowledged)
        end_s = self.world.now_s + PROGRESS_S_MAX
        while len(watch.acknowledged) == acknowledged_before and self.world.now_s < end_s:
            self.world.run(0.5)
        self.client.stop()
        end_s = self.world.now_s + CONVERGENCE_S_MAX
        while not self._converged() and self.world.now_s < end_s:
            self.world.run(0.5)
        watch.at_the_end(self._members(), acknowledged_before)

    def _members(self) -> frozenset[str]:
        statuses = [v.status for v in self.network.voters.values() if v.status and v.leads]
        if not statuses:
            return frozenset(self.network.voters)
        return max(statuses, key=lambda status: status.term).voters

    def _converged(self) -> bool:
        voters = [self.network.voters[name] for name in self._members()]
        ends = {voter.status.last_index for voter in voters if voter.status}
        return len(ends | {voter.ledger.index for voter in voters}) == 1
