"""One process: drives an engine as the real loop does, with a disk, a ledger and a clock."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from lotmark_consensus.errors import ConsensusError
from lotmark_consensus.ordering import Ordered, Role
from lotmark_consensus.raft.engine import Done, EngineStatus, RaftEngine
from lotmark_consensus.raft.log_store import Writes
from lotmark_consensus.raft.protections import Protections
from lotmark_consensus.raft.timing import RaftTiming
from tests.simulation.clocks import WallClock
from tests.simulation.disks import SimulatedDisk
from tests.simulation.invariants import Invariants
from tests.simulation.small_ledger import SmallLedger
from tests.simulation.trace import Trace, describe
from tests.simulation.world import World

CHAIN_ID = b"simulated chain of 32 bytes, yes"
TICK_S = (0.03, 0.05)  # the engine wants a step at least each 50 ms
REACTION_S = (0.0001, 0.001)  # between an input and the pass of the loop that takes it
FETCH_S = (0.02, 0.4)  # how long a peer's blocks take
INSTALL_S = (0.0001, 0.1)  # between the ledger's leap and the engine's learning of it


class Surroundings(Protocol):
    """What a process finds around it."""

    def entered(self, name: str) -> None:
        """Learn whose code runs now, because chance may be asked for."""
        ...

    def send(self, sender: str, receiver: str, frame: bytes) -> None:
        """Send a frame."""
        ...

    def blocks_of(self, peer: str, reader: str) -> list[Ordered] | None:
        """Return what a peer's ledger serves, None where it cannot be reached."""
        ...


class Voter:
    """A voter's process, over all its incarnations.

    Attributes:
        name: As the configuration names it.
        engine: None while it does not run.
        status: As the engine last told it; None while it does not run.
        disk: Survives crashes.
        ledger: Survives crashes as far as it is durable.
        clock: The time of day.
        paused: It runs, but does nothing.
    """

    def __init__(
        self,
        name: str,
        world: World,
        around: Surroundings,
        *,
        initial_voters: frozenset[str],
        timing: RaftTiming,
        protections: Protections,
        disk: SimulatedDisk,
        clock: WallClock,
        trace: Trace,
        batch_count_max: int = 64,
    ) -> None:
        self.name = name
        self.engine: RaftEngine | None = None
        self.status: EngineStatus | None = None
        self.disk = disk
        self.ledger = SmallLedger()
        self.clock = clock
        self.paused = False
        self.watch: Invariants
        self._world = world
        self._around = around
        self._initial_voters = initial_voters
        self._timing = timing
        self._protections = protections
        self._trace = trace
        self._batch_count_max = batch_count_max
        self._chance = world.chance(f"voter {name}")
        self._incarnation = 0
        self._inbox: list[tuple[str, bytes]] = []
        self._written: list[Writes] = []
        self._outcomes: list[tuple[Done, Ordered | ConsensusError]] = []
        self._woken = False
        self._fetching = False

    @property
    def leads(self) -> bool:
        """Whether it runs, and believes that it leads."""
        return self.status is not None and self.status.role is Role.LEADER

    def start(self) -> None:
        """Start the process from what its disk and its ledger hold."""
        assert self.engine is None, f"{self.name} runs already"
        self._incarnation += 1
        self.paused = self._woken = self._fetching = False
        self._inbox, self._written, self._outcomes = [], [], []
        self._around.entered(self.name)
        try:
            self.engine = self._engine()
        except ConsensusError as error:
            self.watch.halted(self.name, error)
            return
        self.engine.set_signed_size(self.ledger.durable_index)
        self.engine.journal.listener = self._log_changed
        self.watch.started(self.name)
        self._observe(self.engine)
        self._trace.say(self.name, f"starts with {self.ledger.durable_index} applied")
        self._world.after(
            self._chance.uniform(0.0, TICK_S[1]), partial(self._tick, self._incarnation)
        )

    def _engine(self) -> RaftEngine:
        return RaftEngine(
            self.name,
            self._initial_voters,
            self.disk.store,
            chain_id=CHAIN_ID,
            applied_index=self.ledger.durable_index,
            applied_term=self.ledger.durable_term,
            leapt=self.ledger.leapt,
            timing=self._timing,
            now_ms=self.clock.now_ms,
            protections=self._protections,
        )

    def crash(self) -> None:
        """Lose everything that is not durable."""
        assert self.engine is not None, f"{self.name} does not run"
        self._trace.say(self.name, "CRASHES")
        self.engine = self.status = None
        self.disk.crash()
        self.ledger.crash()

    def pause(self) -> None:
        """Do nothing until `resume`; time passes."""
        self._trace.say(self.name, "is paused")
        self.paused = True

    def resume(self) -> None:
        """Go on, with all that has come in meanwhile."""
        self._trace.say(self.name, "goes on")
        self.paused = False
        self.wake()

    def take_frame(self, peer: str, frame: bytes) -> None:
        """Queue a frame for the next pass."""
        if self.engine is not None:
            self._inbox.append((peer, frame))
            self.wake()

    def peer_up(self, peer: str) -> None:
        """Learn that frames to a peer are taken."""
        if self.engine is not None:
            self.engine.peer_up(peer)
            self.wake()

    def peer_down(self, peer: str) -> None:
        """Learn that frames to a peer are dropped."""
        if self.engine is not None:
            self.engine.peer_down(peer)
            self.wake()

    def propose(self, block: bytes, done: Callable[[Ordered | ConsensusError], None]) -> None:
        """Propose as this node's ledger would: at its own time, which never goes back."""
        engine, status = self.engine, self.status
        assert engine is not None, f"{self.name} does not run"
        assert status is not None, f"{self.name} does not run"
        time_ms = max([self.clock.now_ms(), *(o.time_ms for o in self.ledger.blocks[-1:])])
        self._around.entered(self.name)
        engine.propose(
            block,
            time_ms=time_ms,
            term=status.term,
            done=lambda outcome: self._outcomes.append((done, outcome)),
        )
        self.wake()

    def wake(self) -> None:
        """Let the loop make a pass soon."""
        if self.engine is not None and not self._woken:
            self._woken = True
            self._world.after(
                self._chance.uniform(*REACTION_S), partial(self._turn, self._incarnation)
            )

    def flush_ledger(self) -> None:
        """Make the ledger durable, and sign what it holds."""
        if self.engine is not None and self.ledger.durable_index < self.ledger.index:
            self.ledger.flush()
            self.engine.set_signed_size(self.ledger.durable_index)

    def prune(self, kept_count: int) -> None:
        """Forget the log below what the ledger holds durably, but for some entries."""
        if self.engine is not None and self.ledger.durable_index > kept_count:
            below_index = self.ledger.durable_index - kept_count
            self._trace.say(self.name, f"prunes its log below {below_index}")
            self.engine.prune(below_index)
            self.wake()

    # The loop

    def _tick(self, incarnation: int) -> None:
        if incarnation == self._incarnation and self.engine is not None:
            self._pass()
            self._world.after(self._chance.uniform(*TICK_S), partial(self._tick, incarnation))

    def _turn(self, incarnation: int) -> None:
        if incarnation == self._incarnation:
            self._woken = False
            self._pass()

    def _pass(self) -> None:
        """Make one pass: take inputs, step, hand out what may leave."""
        engine = self.engine
        if engine is None or self.paused:
            return
        self._around.entered(self.name)
        inbox, self._inbox = self._inbox, []
        for peer, frame in inbox:
            if self._trace.on:
                self._trace.say(self.name, f"<- {peer}  {describe(frame)}")
            engine.receive(peer, frame)
            self._observe(engine)
        for writes in self._written:
            engine.written(writes)
        self._written = []
        engine.step()
        self._observe(engine)
        outcomes, self._outcomes = self._outcomes, []
        for done, outcome in outcomes:  # after the step is observed, that committed them
            done(outcome)
        self._send(engine)
        self._save(engine)
        self._apply(engine)
        self._fetch(engine)

    def _observe(self, engine: RaftEngine) -> None:
        before, status = self.status, engine.status()
        self.status = status
        if engine.failure is not None:
            self.watch.halted(self.name, engine.failure)
        if self._trace.on and before is not None:
            self._tell_changes(before, status)
        self.watch.observed(self.name, engine.journal, status)

    def _tell_changes(self, before: EngineStatus, status: EngineStatus) -> None:
        if (status.role, status.term) != (before.role, before.term):
            self._trace.say(self.name, f"is {status.role.value} in term {status.term}")
        if status.committed_index != before.committed_index:
            self._trace.say(self.name, f"has committed {status.committed_index}")

    def _save(self, engine: RaftEngine) -> None:
        if self.disk.busy:
            return
        writes = engine.take_writes()
        if writes is not None:
            incarnation = self._incarnation

            def done() -> None:
                if incarnation == self._incarnation:
                    self._written.append(writes)
                    self.wake()

            self.disk.write(writes, done)

    def _send(self, engine: RaftEngine) -> None:
        # PySyncObj walks sets of peers: by name, the run is the same under any hash seed.
        for peer, frame in sorted(engine.take_outgoing(), key=lambda out: out[0]):
            self._around.send(self.name, peer, frame)

    def _apply(self, engine: RaftEngine) -> None:
        for ordered in engine.take_committed(self._batch_count_max):
            if self._fetching and ordered.index <= self.ledger.index:
                continue  # it was fetched meanwhile, and the engine was not told yet
            self.watch.delivered(self.name, ordered)
            self.ledger.apply(ordered)
        if self._chance.random() < 0.1:
            self.flush_ledger()

    def _fetch(self, engine: RaftEngine) -> None:
        """Follow a pointer: fetch blocks as the verified block stream does, then say so."""
        if engine.pointer is None or self._fetching:
            return
        self._fetching = True
        peer, index, term = engine.pointer
        incarnation = self._incarnation

        def arrived() -> None:
            if incarnation != self._incarnation or self.engine is None:
                return
            blocks = self._around.blocks_of(peer, self.name)
            if self.paused or blocks is None or len(blocks) < index:
                self._fetching = False
                return
            self._trace.say(self.name, f"has fetched the blocks up to {index} from {peer}")
            fetched = blocks[self.ledger.index : index]
            for ordered in fetched:
                self.watch.delivered(self.name, ordered)
                self.ledger.leap([ordered])
            self.engine.set_signed_size(self.ledger.durable_index)
            self._world.after(self._chance.uniform(*INSTALL_S), installed)

        def installed() -> None:
            if incarnation == self._incarnation and self.engine is not None:
                self._fetching = False
                self.watch.counts["state transfers"] += 1
                self._around.entered(self.name)
                self.engine.install(index, term)
                self._observe(self.engine)
                self.wake()

        self._world.after(self._chance.uniform(*FETCH_S), arrived)

    def _log_changed(
        self, change: str, index: int, term: int | None, command: bytes | None
    ) -> None:
        if change == "add" and self.engine is not None:
            assert term is not None, index
            assert command is not None, index
            self.watch.appended(self.name, self.engine.journal, index, term, command)
