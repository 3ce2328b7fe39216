"""What goes wrong, and when: drawn from the seed, undone when its time is over."""

from collections.abc import Callable
from functools import partial

from tests.simulation.links import FifoLinks, LossyLinks, Pair
from tests.simulation.network import Network
from tests.simulation.trace import Trace
from tests.simulation.voter import Voter
from tests.simulation.world import World

BETWEEN_FAULTS_S = (0.1, 1.2)
CLOCK_WITHIN_RULE_MS = 1500
CLOCK_BEYOND_RULE_MS = (8_000, 10_800_000)


class Nemesis:
    """Breaks one thing after the other until it is told to stop."""

    def __init__(
        self,
        world: World,
        network: Network,
        links: FifoLinks | LossyLinks,
        trace: Trace,
        *,
        strays: frozenset[str],
        prunes: bool,
        changes_members: bool,
    ) -> None:
        """Prepare.

        Args:
            world: Whose time passes.
            network: What to break.
            links: Its links.
            trace: Told what is broken.
            strays: Whose clocks may go wrong beyond the time rule; a minority.
            prunes: Prune logs, so that laggards need a state transfer.
            changes_members: Add and remove voters.
        """
        self._world = world
        self._network = network
        self._links = links
        self._trace = trace
        self._chance = world.chance("nemesis")
        self._names = sorted(network.voters)
        self._strays = strays
        self._over = False
        self._blocks: list[list[Pair]] = []
        faults: list[tuple[int, Callable[[], None]]] = [
            (5, self._partition),
            (3, self._block_one_link),
            (2, self._break_streams),
            (5, self._crash_some),
            (1, self._crash_all),
            (3, self._pause_one),
            (2, self._slow_disk),
            (2, self._stalled_disk),
            (2, self._transfer),
            (2, self._back_pressure),
            (2, self._jump_clock),
            (4 if prunes else 0, self._prune),
            (8 if changes_members else 0, self._change_members),
        ]
        self._faults = [fault for _, fault in faults]
        self._weights = [weight for weight, _ in faults]

    def start(self) -> None:
        """Begin soon."""
        self._world.after(1.2, self._strike)

    def stop(self) -> None:
        """Undo everything: from now on the network is a good one."""
        self._over = True
        self._trace.say("nemesis", "stops: all faults end")
        for pairs in list(self._blocks):
            self._unblock(pairs)
        self._links.calm()
        for voter in self._network.voters.values():
            voter.disk.mend()
            voter.clock.mend()
            if voter.engine is None:
                self._network.start([voter.name])
            elif voter.paused:
                voter.resume()

    def _strike(self) -> None:
        if self._over:
            return
        self._chance.choices(self._faults, self._weights)[0]()
        self._world.after(self._chance.uniform(*BETWEEN_FAULTS_S), self._strike)

    def _running(self) -> list[str]:
        return [name for name in self._names if self._network.runs(name)]

    def _say(self, what: str) -> None:
        self._trace.say("nemesis", what)

    def _partition(self) -> None:
        side = set(self._chance.sample(self._names, self._chance.randrange(1, len(self._names))))
        pairs = [
            (sender, receiver)
            for sender in self._names
            for receiver in self._names
            if (sender in side) != (receiver in side)
        ]
        one_way = self._chance.random() < 0.3
        if one_way:
            pairs = [pair for pair in pairs if pair[0] in side]
        arrow = "cannot send to" if one_way else "are cut off from"
        self._block(pairs, f"{sorted(side)} {arrow} the others")

    def _block_one_link(self) -> None:
        one, other = self._chance.sample(self._names, 2)
        if self._chance.random() < 0.5:
            self._block([(one, other)], f"nothing passes from {one} to {other}")
        else:
            self._block([(one, other), (other, one)], f"nothing passes between {one} and {other}")

    def _block(self, pairs: list[Pair], what: str) -> None:
        duration_s = self._chance.uniform(0.3, 5.0)
        self._say(f"{what} for {duration_s:.1f} s")
        self._blocks.append(pairs)
        self._links.block(pairs)
        self._world.after(duration_s, partial(self._unblock, pairs))

    def _unblock(self, pairs: list[Pair]) -> None:
        if any(pairs is block for block in self._blocks):
            self._blocks = [block for block in self._blocks if block is not pairs]
            self._links.unblock(pairs)

    def _break_streams(self) -> None:
        one, other = self._chance.sample(self._names, 2)
        self._say(f"breaks what connects {one} and {other}")
        self._links.break_stream(one, other)
        self._links.break_stream(other, one)

    def _crash_some(self) -> None:
        running = self._running()
        count = 1 if self._chance.random() < 0.7 else self._chance.randint(1, len(self._names))
        for name in self._chance.sample(running, min(count, len(running))):
            self._crash(name, self._chance.uniform(0.05, 3.0))

    def _crash_all(self) -> None:
        self._say("the power fails")
        for name in self._running():
            self._crash(name, self._chance.uniform(0.05, 1.0))

    def _crash(self, name: str, down_s: float) -> None:
        self._network.crash(name)
        self._world.after(down_s, partial(self._restart, name))

    def _restart(self, name: str) -> None:
        if not self._network.runs(name):
            self._network.start([name])

    def _pause_one(self) -> None:
        answering = [name for name in self._names if self._network.answers(name)]
        if answering:
            voter = self._network.voters[self._chance.choice(answering)]
            voter.pause()
            engine = voter.engine

            def resume() -> None:
                if voter.engine is engine and voter.paused:
                    voter.resume()

            self._world.after(self._chance.uniform(0.1, 3.0), resume)

    def _slow_disk(self) -> None:
        name = self._chance.choice(self._names)
        duration_s = self._chance.uniform(0.5, 4.0)
        self._say(f"the disk of {name} is slow for {duration_s:.1f} s")
        self._network.voters[name].disk.slow_down(duration_s)

    def _stalled_disk(self) -> None:
        name = self._chance.choice(self._names)
        duration_s = self._chance.uniform(0.5, 4.0)
        self._say(f"the disk of {name} stalls for {duration_s:.1f} s")
        self._network.voters[name].disk.stall(duration_s)

    def _transfer(self) -> None:
        for name in self._names:
            voter = self._network.voters[name]
            if voter.status and voter.leads and voter.engine is not None and not voter.paused:
                to = self._chance.choice([None, *sorted(voter.status.voters - {name})])
                self._say(f"asks {name} to hand over to {to or 'whom it likes'}")
                voter.engine.transfer_leadership(to)
                voter.wake()

    @staticmethod
    def _leads(voter: Voter) -> bool:
        return voter.leads and not voter.paused

    def _back_pressure(self) -> None:
        """The wire calls a peer down while too much waits for it."""
        one, other = self._chance.sample(self._names, 2)
        self._say(f"too much waits at {one} for {other}")
        voter = self._network.voters[one]
        engine = voter.engine
        voter.peer_down(other)

        def relieve() -> None:
            if voter.engine is engine and self._links.is_up(one, other):
                voter.peer_up(other)

        self._world.after(self._chance.uniform(0.05, 1.0), relieve)

    def _jump_clock(self) -> None:
        name = self._chance.choice(self._names)
        if name in self._strays and self._chance.random() < 0.7:
            offset_ms = self._chance.randint(*CLOCK_BEYOND_RULE_MS)
        else:
            offset_ms = self._chance.randint(0, CLOCK_WITHIN_RULE_MS)
        offset_ms *= self._chance.choice((-1, 1))
        clock = self._network.voters[name].clock
        clock.mend()
        clock.jump(offset_ms)
        self._say(f"the clock of {name} is {offset_ms} ms off now")

    def _prune(self) -> None:
        count = self._chance.choice([1, len(self._names)])
        for name in self._chance.sample(self._names, count):
            voter = self._network.voters[name]
            voter.flush_ledger()
            voter.prune(self._chance.randrange(4))

    def _change_members(self) -> None:
        for name in self._names:
            voter = self._network.voters[name]
            if not voter.status or not voter.leads or voter.engine is None or voter.paused:
                continue
            peers = [peer for peer in self._names if peer != name]
            for other in self._chance.sample(peers, self._chance.choice([1, 1, 2])):
                if other not in voter.status.voters:
                    self._say(f"asks {name} to add {other}")
                    voter.engine.change_members(add=other, remove=None, done=self._changed)
                elif len(voter.status.voters) > 2:
                    self._say(f"asks {name} to remove {other}")
                    voter.engine.change_members(add=None, remove=other, done=self._changed)
            voter.wake()

    def _changed(self, outcome: object) -> None:
        self._network.watch.counts[f"membership: {type(outcome).__name__}"] += 1
