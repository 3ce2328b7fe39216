"""Whoever has blocks to order: asks every node that believes it leads."""

from lotmark_consensus.errors import ConsensusError
from lotmark_consensus.ordering import Ordered
from tests.simulation.network import Network
from tests.simulation.trace import Trace
from tests.simulation.world import World

BETWEEN_PROPOSALS_S = (0.02, 0.2)


class Client:
    """Proposes blocks that are all different, and never one twice."""

    def __init__(self, world: World, network: Network, trace: Trace) -> None:
        self._world = world
        self._network = network
        self._trace = trace
        self._chance = world.chance("client")
        self._proposed_count = 0
        self._stopped = False

    def start(self) -> None:
        """Begin soon."""
        self._world.after(0.8, self._propose)

    def stop(self) -> None:
        """Propose nothing more."""
        self._stopped = True

    def _propose(self) -> None:
        if self._stopped:
            return
        leaders = [
            voter
            for _, voter in sorted(self._network.voters.items())
            if voter.leads and not voter.paused
        ]
        if leaders:
            burst_count = 1 if self._chance.random() < 0.9 else self._chance.randint(2, 12)
            for _ in range(burst_count):
                self._propose_at(self._chance.choice(leaders).name)
        self._world.after(self._chance.uniform(*BETWEEN_PROPOSALS_S), self._propose)

    def _propose_at(self, name: str) -> None:
        self._proposed_count += 1
        block = b"block %d " % self._proposed_count + b"x" * self._chance.randrange(100)
        counts = self._network.watch.counts

        def done(outcome: Ordered | ConsensusError) -> None:
            if isinstance(outcome, Ordered):
                counts["acknowledged"] += 1
                self._network.watch.was_acknowledged(name, block, outcome)
            else:
                counts[type(outcome).__name__] += 1

        self._network.voters[name].propose(block, done)
