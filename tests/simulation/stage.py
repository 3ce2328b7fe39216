"""A network that does nothing by chance: for stories in which every step is told."""

from collections.abc import Iterable, Sequence
from functools import partial

from lotmark.v1 import raft_pb2
from lotmark_consensus.errors import ConsensusError
from lotmark_consensus.ordering import Ordered, Role
from lotmark_consensus.raft.protections import Protections
from lotmark_consensus.raft.timing import RaftTiming
from tests.simulation.disks import DiskCopy
from tests.simulation.links import LinkEnds, Pair, Streams
from tests.simulation.network import Network, Site
from tests.simulation.trace import PARTY, Trace
from tests.simulation.voter import Voter
from tests.simulation.world import World

LATENCY_S = 0.001
TIMING = RaftTiming(abstain_s=6.0)
ELECTION_S_MAX = 10.0
FRAME_KINDS = {
    "append_request": "appends",
    "append_response": "acks",
    "vote_request": "vote-requests",
    "vote_response": "votes",
    "term_notice": "notices",
    "timeout_now": "transfers",
    "snapshot_pointer": "pointers",
    "time_refusal": "refusals",
}


class StageError(Exception):
    """A story asks for what cannot be done."""


class HeldLinks(Streams):
    """In order and quick; what is held waits until it is told to go on or is lost."""

    def __init__(self, world: World, names: Iterable[str], ends: LinkEnds) -> None:
        super().__init__(world, names, ends)
        self._held_kinds: dict[Pair, frozenset[str]] = {}
        self._held: dict[Pair, list[bytes]] = {}
        self._recorded_kinds: dict[Pair, frozenset[str]] = {}
        self._recorded: dict[Pair, list[bytes]] = {}

    def send(self, sender: str, receiver: str, frame: bytes) -> None:
        """Send a frame, or hold it."""
        if not self.is_up(sender, receiver):
            return
        pair = sender, receiver
        kind = _kind(frame)
        if kind in self._recorded_kinds.get(pair, ()):
            self._recorded.setdefault(pair, []).append(frame)
        if kind in self._held_kinds.get(pair, ()):
            self._held.setdefault(pair, []).append(frame)
        else:
            self._world.after(LATENCY_S, partial(self._arrive, sender, receiver, frame))

    def hold(self, pair: Pair, kinds: frozenset[str]) -> None:
        """Hold frames of these kinds from now on."""
        self._held_kinds[pair] = kinds

    def deliver(self, pair: Pair) -> None:
        """Stop holding, and let what was held arrive."""
        self._held_kinds.pop(pair, None)
        self._hand_over(pair, self._held.pop(pair, []))

    def lose(self, pair: Pair) -> None:
        """Stop holding, and lose what was held."""
        self._held_kinds.pop(pair, None)
        self._held.pop(pair, None)

    def record(self, pair: Pair, kinds: frozenset[str]) -> None:
        """Keep a copy of frames of these kinds from now on; none: of no more."""
        self._recorded_kinds[pair] = kinds

    def replay(self, pair: Pair) -> None:
        """Let what was recorded arrive once more."""
        self._hand_over(pair, self._recorded.pop(pair, []))

    def _hand_over(self, pair: Pair, frames: Iterable[bytes]) -> None:
        for frame in frames:
            self._world.after(LATENCY_S, partial(self._ends.frame_arrives, *pair, frame))

    def _arrive(self, sender: str, receiver: str, frame: bytes) -> None:
        if self.passable(sender, receiver):
            self._ends.frame_arrives(sender, receiver, frame)


class Stage:
    """Voters, the links between them, and the hands that move both.

    Attributes:
        world: Its clock.
        network: Everything on it.
        links: Between its voters.
        outcomes: What a proposer was told, by block.
        copies: Backups of a voter's disk and ledger.
        eager: Whose election timeouts are the shortest.
    """

    def __init__(
        self,
        names: Sequence[str],
        strangers: Sequence[str],
        *,
        seed: int,
        protections: Protections,
    ) -> None:
        """Set up voters that do not run yet.

        Args:
            names: The genesis' voters, the most eager one first.
            strangers: Processes that are no voters.
            seed: Of the little chance there is: when a loop makes its passes.
            protections: What guards the core.
        """
        self.world = World(seed)
        self.trace = Trace(self.world, on=True)
        everyone = tuple(PARTY + name for name in (*names, *strangers))
        site = Site(
            names=everyone,
            initial_voters=frozenset(PARTY + name for name in names),
            timing=TIMING,
            disk_write_s=(0.001, 0.002),
            protections=protections,
        )
        self.network = Network(self.world, site, self.trace)
        self.network.watch.honest = False  # a story may forge, and hand a voter an old disk
        self.links = HeldLinks(self.world, everyone, self.network)
        self.network.links = self.links
        self.outcomes: dict[str, Ordered | ConsensusError] = {}
        self.copies: dict[str, tuple[DiskCopy, list[Ordered]]] = {}
        self.eager = everyone[0]
        self.voter_names = everyone[: len(names)]
        self._everyone = everyone
        self._started = False

    def draw(self) -> float:
        """Return where between the bounds an election timeout lies, for whoever asks."""
        if self.network.in_control == self.eager:
            return 0.0
        place = self._everyone.index(self.network.in_control)
        return 0.5 + 0.5 * place / len(self._everyone)

    def voter(self, name: str) -> Voter:
        """Return a voter by the story's name."""
        if PARTY + name not in self.network.voters:
            raise StageError(f"there is no {name!r}")
        return self.network.voters[PARTY + name]

    def running(self) -> list[Voter]:
        """Return all that run."""
        return [voter for voter in self.network.voters.values() if voter.engine is not None]

    def leader(self) -> Voter | None:
        """Return who leads in the highest term."""
        leaders = [voter for voter in self.running() if voter.leads]
        return max(leaders, key=lambda v: v.status.term if v.status else 0, default=None)

    def start(self) -> None:
        """Start all voters, once."""
        if not self._started:
            self._started = True
            self.network.start(self.voter_names)

    def advance(self, duration_s: float) -> None:
        """Let time pass."""
        self.start()
        self.world.run(duration_s)

    def elect(self, name: str) -> None:
        """Let time pass until a voter, the most eager one from now on, leads and has committed."""
        candidate = self.voter(name)
        self.eager = candidate.name
        self.start()
        end_s = self.world.now_s + ELECTION_S_MAX
        while not _is_settled_leader(candidate):
            if self.world.now_s >= end_s:
                raise StageError(f"{name} does not lead after {ELECTION_S_MAX} s")
            self.world.run(0.05)
        self.world.run(0.3)  # the followers learn what is committed

    def propose(self, name: str, blocks: Iterable[str]) -> None:
        """Propose; the outcome is told later."""
        for block in blocks:

            def done(outcome: Ordered | ConsensusError, block: str = block) -> None:
                self.outcomes[block] = outcome

            self.voter(name).propose(block.encode(), done)
        self.world.run(0.01)

    def copy(self, name: str) -> None:
        """Back up a voter's folder."""
        voter = self.voter(name)
        voter.flush_ledger()
        self.copies[name] = voter.disk.copy(), list(voter.ledger.blocks)

    def restore(self, name: str) -> None:
        """Put the backup where the folder was."""
        voter = self.voter(name)
        disk, blocks = self.copies[name]
        voter.disk.restore(disk)
        voter.ledger.blocks = list(blocks)
        voter.ledger.durable_index = len(blocks)

    def forge(self, sender: str, receiver: str, frame: raft_pb2.RaftFrame) -> None:
        """Let a frame arrive that the sender never sent."""
        raw = frame.SerializeToString(deterministic=True)
        self.voter(receiver).take_frame(PARTY + sender, raw)
        self.world.run(0.01)


def _is_settled_leader(voter: Voter) -> bool:
    status = voter.status
    if status is None or status.role is not Role.LEADER:
        return False
    return status.committed_index >= status.term_start_index > 0


def _kind(frame: bytes) -> str:
    """Return what a frame is, as stories name it."""
    message = raft_pb2.RaftFrame.FromString(frame)
    kind = message.WhichOneof("body")
    assert kind is not None, "no engine sends an empty frame"
    pre = message.vote_request.pre_vote_term or message.vote_response.pre_vote_term
    return ("pre-" if pre else "") + FRAME_KINDS[kind]
