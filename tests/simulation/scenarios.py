"""Stories as text: a line is a step, a line that begins with # says what is shown and why.

voters a b c [strangers d ...]     who there is; the first has the shortest election timeouts
elect a                            a has the shortest timeouts, and time passes until it leads
eager b                            b has the shortest timeouts from its next draw on
advance 3 s                        time passes (s or ms)
propose a x1 x2                    blocks are proposed at a, or at the `leader`
cut a -> b | cut a - b | cut a     nothing passes: one way, both ways, to and from all
heal a -> b | heal a - b | heal    it does again; the last: everywhere
hold a -> b [appends acks ...]     frames of these kinds wait, or of all kinds
deliver a -> b                     what waited arrives; nothing waits any more
lose a -> b                        what waited is lost; nothing waits any more
record a -> b [...] for 1 s        time passes, and frames of these kinds are kept
replay a -> b                      what was kept arrives once more
crash a | restart a | pause a | resume a       each also with `all`
stall disk a 2 s                   no write of a's disk ends before that
transfer a [-> b]                  leadership is to be handed over
prune a                            a forgets its log below what its ledger holds
add d | remove d                   asked of whoever leads
clock a +20 s | clock a -3 h       a clock is set forward or back
copy a | restore a                 a folder is backed up; the backup takes its place
forge d -> a vote|would-vote|ack N|newer-term [in term T]       an engine never sent that
mark                               for the next `expect no election` and `expect term +N`
expect ...                         see `expectations.py`
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lotmark_consensus.raft.codec import new_frame
from lotmark_consensus.raft.protections import Protections
from tests.simulation.expectations import ExpectationFailed, Expectations
from tests.simulation.invariants import Violation
from tests.simulation.links import Pair
from tests.simulation.stage import FRAME_KINDS, Stage, StageError
from tests.simulation.trace import PARTY
from tests.simulation.voter import CHAIN_ID
from tests.simulation.world import core_lives_in

FOLDER = Path(__file__).parent / "scenarios"
_UNITS_S = {"ms": 0.001, "s": 1.0, "h": 3600.0}
_KINDS = frozenset(FRAME_KINDS.values()) | {"pre-vote-requests", "pre-votes"}


class ScenarioFailed(AssertionError):
    """A story did not go as it is told.

    Attributes:
        reason: In which line, and what was otherwise.
    """

    def __init__(self, reason: str, trace: Iterable[str] = ()) -> None:
        self.reason = reason
        super().__init__("\n".join([reason, *trace]))


@dataclass(frozen=True, slots=True)
class Step:
    """A line of a story, without the spaces around it."""

    line_number: int
    text: str


def read_steps(text: str) -> list[Step]:
    """Return a story's steps, without its comments."""
    lines = enumerate(text.splitlines(), start=1)
    return [
        Step(number, line.strip())
        for number, line in lines
        if line.strip() and not line.lstrip().startswith("#")
    ]


def play(name: str, *, seed: int = 0, protections: Protections | None = None) -> Stage:
    """Play `scenarios/NAME.txt` to its end.

    Raises:
        ScenarioFailed: It went otherwise; the message ends with what happened.
    """
    return play_text((FOLDER / f"{name}.txt").read_text(), name, seed, protections)


def play_text(text: str, name: str, seed: int, protections: Protections | None = None) -> Stage:
    """Play a story.

    Raises:
        ScenarioFailed: It went otherwise.
    """
    first, *steps = read_steps(text)
    match = re.fullmatch(r"voters ([a-z ]+?)(?: strangers ([a-z ]+))?", first.text)
    if match is None:
        raise ScenarioFailed(f"{name}: a story begins with its voters, not with {first.text!r}")
    stage = Stage(
        match[1].split(),
        (match[2] or "").split(),
        seed=seed,
        protections=protections or Protections(),
    )
    script = _Script(stage)
    with core_lives_in(stage.world, stage.draw):
        for step in steps:
            stage.trace.say("STORY", step.text)
            try:
                script.take(step.text)
            except (ExpectationFailed, StageError, Violation) as error:
                raise ScenarioFailed(
                    f"{name}, seed {seed}, line {step.line_number}: {step.text}\n"
                    f"{type(error).__name__}: {error}",
                    stage.trace.lines[-120:],
                ) from error
    return stage


class _Script:
    """Turns lines into what happens on a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._expectations = Expectations(stage)
        self._cut: set[Pair] = set()
        name, way = r"([a-z])", r"([a-z]) (->|-) ([a-z])"
        names = r"([a-z]|all)"
        self._table: list[tuple[str, Callable[..., None]]] = [
            (rf"elect {name}", stage.elect),
            (rf"eager {name}", self._eager),
            (r"advance (\d+) (ms|s)", self._advance),
            (r"propose ([a-z]|leader) (.+)", self._propose),
            (rf"cut {way}", self._cut_way),
            (rf"cut {name}", self._cut_off),
            (rf"heal {way}", self._heal_way),
            (r"heal", self._heal_all),
            (r"hold ([a-z]) -> ([a-z])((?: [a-z-]+)*)", self._hold),
            (r"deliver ([a-z]) -> ([a-z])", self._deliver),
            (r"lose ([a-z]) -> ([a-z])", self._lose),
            (r"record ([a-z]) -> ([a-z])((?: [a-z-]+)*) for (\d+) (ms|s)", self._record),
            (r"replay ([a-z]) -> ([a-z])", self._replay),
            (rf"crash {names}", self._crash),
            (rf"restart {names}", self._restart),
            (rf"pause {names}", self._pause),
            (rf"resume {names}", self._resume),
            (rf"stall disk {name} (\d+) (ms|s)", self._stall),
            (rf"transfer {name}(?: -> ([a-z]))?", self._transfer),
            (rf"prune {name}", self._prune),
            (rf"(add|remove) {name}", self._change_members),
            (rf"clock {name} ([+-]\d+) (ms|s|h)", self._clock),
            (rf"copy {name}", stage.copy),
            (rf"restore {name}", stage.restore),
            (r"forge ([a-z]) -> ([a-z]) ([a-z-]+)(?: (\d+))?(?: in term (\d+))?", self._forge),
            (r"mark", self._expectations.mark),
            (r"expect (.+)", self._expectations.check),
        ]

    def take(self, text: str) -> None:
        """Do what a line says."""
        for pattern, action in self._table:
            match = re.fullmatch(pattern, text)
            if match is not None:
                action(*match.groups())
                return
        raise StageError("nobody knows this step")

    def _eager(self, name: str) -> None:
        self._stage.eager = PARTY + name

    def _advance(self, count: str, unit: str) -> None:
        self._stage.advance(int(count) * _UNITS_S[unit])

    def _propose(self, name: str, blocks: str) -> None:
        if name == "leader":
            leader = self._stage.leader()
            if leader is None:
                raise StageError("nobody leads")
            name = leader.name[len(PARTY) :]
        self._stage.propose(name, blocks.split())

    def _cut_way(self, one: str, arrow: str, other: str) -> None:
        self._block(_pairs(one, arrow, other))

    def _cut_off(self, name: str) -> None:
        others = [other[len(PARTY) :] for other in self._stage.network.voters]
        for other in others:
            if other != name:
                self._block(_pairs(name, "-", other))

    def _block(self, pairs: Iterable[Pair]) -> None:
        fresh = set(pairs) - self._cut
        self._cut |= fresh
        self._stage.links.block(fresh)

    def _heal_way(self, one: str, arrow: str, other: str) -> None:
        self._unblock(set(_pairs(one, arrow, other)))

    def _heal_all(self) -> None:
        self._unblock(set(self._cut))

    def _unblock(self, pairs: set[Pair]) -> None:
        self._stage.links.unblock(pairs & self._cut)
        self._cut -= pairs

    def _hold(self, sender: str, receiver: str, kinds: str) -> None:
        self._stage.links.hold((PARTY + sender, PARTY + receiver), _frame_kinds(kinds))

    def _deliver(self, sender: str, receiver: str) -> None:
        self._stage.links.deliver((PARTY + sender, PARTY + receiver))
        self._stage.world.run(0.01)

    def _lose(self, sender: str, receiver: str) -> None:
        self._stage.links.lose((PARTY + sender, PARTY + receiver))

    def _record(self, sender: str, receiver: str, kinds: str, count: str, unit: str) -> None:
        pair = PARTY + sender, PARTY + receiver
        self._stage.links.record(pair, _frame_kinds(kinds))
        self._advance(count, unit)
        self._stage.links.record(pair, frozenset())

    def _replay(self, sender: str, receiver: str) -> None:
        self._stage.links.replay((PARTY + sender, PARTY + receiver))
        self._stage.world.run(0.01)

    def _check_name(self, name: str) -> None:
        if name != "all":
            self._stage.voter(name)

    def _crash(self, name: str) -> None:
        self._check_name(name)
        for voter in self._stage.running():
            if name in ("all", voter.name[len(PARTY) :]):
                self._stage.network.crash(voter.name)

    def _restart(self, name: str) -> None:
        self._check_name(name)
        for voter in self._stage.network.voters.values():
            if name in ("all", voter.name[len(PARTY) :]) and voter.engine is None:
                self._stage.network.start([voter.name])

    def _pause(self, name: str) -> None:
        self._check_name(name)
        for voter in self._stage.running():
            if name in ("all", voter.name[len(PARTY) :]):
                voter.pause()

    def _resume(self, name: str) -> None:
        self._check_name(name)
        for voter in self._stage.running():
            if name in ("all", voter.name[len(PARTY) :]) and voter.paused:
                voter.resume()

    def _stall(self, name: str, count: str, unit: str) -> None:
        self._stage.voter(name).disk.stall(int(count) * _UNITS_S[unit])

    def _transfer(self, name: str, to: str | None) -> None:
        voter = self._stage.voter(name)
        if voter.engine is None:
            raise StageError(f"{name} does not run")
        voter.engine.transfer_leadership(PARTY + to if to else None)
        voter.wake()

    def _prune(self, name: str) -> None:
        self._stage.voter(name).flush_ledger()
        self._stage.voter(name).prune(kept_count=1)
        self._stage.world.run(0.05)

    def _change_members(self, verb: str, name: str) -> None:
        leader = self._stage.leader()
        if leader is None or leader.engine is None:
            raise StageError("nobody leads")
        add, remove = (PARTY + name, None) if verb == "add" else (None, PARTY + name)
        leader.engine.change_members(add=add, remove=remove, done=self._expectations.changed)
        leader.wake()

    def _clock(self, name: str, count: str, unit: str) -> None:
        self._stage.voter(name).clock.jump(int(int(count) * _UNITS_S[unit] * 1000))

    def _forge(
        self, sender: str, receiver: str, kind: str, number: str | None, term: str | None
    ) -> None:
        status = self._stage.voter(receiver).status
        if status is None:
            raise StageError(f"{receiver} does not run")
        frame = new_frame(CHAIN_ID, int(term) if term else status.term)
        match kind:
            case "vote":
                frame.vote_response.SetInParent()
            case "would-vote":
                frame.vote_response.pre_vote_term = status.term + 1
            case "ack":
                frame.append_response.success = True
                frame.append_response.next_index = int(number or 0) + 1
            case "newer-term":
                frame.term_notice.SetInParent()
            case _:
                raise StageError(f"nobody can forge {kind!r}")
        self._stage.forge(sender, receiver, frame)


def _frame_kinds(names: str) -> frozenset[str]:
    kinds = frozenset(names.split())
    if not kinds <= _KINDS:
        raise StageError(f"kinds of frames are {sorted(_KINDS)}")
    return kinds or _KINDS


def _pairs(one: str, arrow: str, other: str) -> list[Pair]:
    there, back = (PARTY + one, PARTY + other), (PARTY + other, PARTY + one)
    return [there] if arrow == "->" else [there, back]
