"""Links between processes: FIFO streams that stall and break, and links that lose frames.

Every directed link is a stream of its own, as on the wire: the sender dials, both ends say where
they stand, then frames flow one way.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Protocol

from tests.simulation.world import World

KEEPALIVE_S = 3.5  # a stream that stalls for longer is given up
REDIAL_S = (0.05, 0.6)

Pair = tuple[str, str]  # (sender, receiver)


class LinkEnds(Protocol):
    """Whoever the links connect."""

    def runs(self, name: str) -> bool:
        """Whether there is such a process now."""
        ...

    def answers(self, name: str) -> bool:
        """Whether it runs and is not paused."""
        ...

    def stream_up(self, sender: str, receiver: str) -> bool:
        """Let both ends say where they stand; False: one refused the other."""
        ...

    def stream_down(self, sender: str, receiver: str) -> None:
        """Tell the sender that its stream is gone."""
        ...

    def frame_arrives(self, sender: str, receiver: str, frame: bytes) -> None:
        """Hand over a frame."""
        ...


class Links(Protocol):
    """What a network needs of its links, whatever they do to a frame."""

    def started(self, name: str) -> None:
        """Dial to and from a process that has started."""
        ...

    def died(self, name: str) -> None:
        """Break every stream of a process that has died."""
        ...

    def send(self, sender: str, receiver: str, frame: bytes) -> None:
        """Send, or drop where the stream is not up."""
        ...

    def passable(self, sender: str, receiver: str) -> bool:
        """Whether nothing blocks the way from one to the other."""
        ...


@dataclass(slots=True)
class _Stream:
    chance: Random
    up: bool = False
    dialing: bool = False
    epoch: int = 0  # frames of an earlier one are lost
    last_arrival_s: float = 0.0
    waiting: deque[tuple[int, bytes]] = field(default_factory=deque)
    due_count: int = 0  # frames that would have arrived while the link was blocked


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What links do to frames."""

    latency_s: tuple[float, float]
    drop: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0  # how many frames come seconds late
    late_s: float = 0.0  # at most this


class Streams:
    """What both kinds of links share: dialing, blocking, breaking."""

    def __init__(self, world: World, names: Iterable[str], ends: LinkEnds) -> None:
        self._world = world
        self._names = sorted(names)
        self._ends = ends
        self._blocked: Counter[Pair] = Counter()
        self._streams = {
            (sender, receiver): _Stream(world.chance(f"link {sender} {receiver}"))
            for sender in self._names
            for receiver in self._names
            if sender != receiver
        }

    def started(self, name: str) -> None:
        """Dial to and from a process that has started."""
        for sender, receiver in self._streams:
            if name in (sender, receiver):
                self._dial(sender, receiver)

    def died(self, name: str) -> None:
        """Break every stream of a process that has died."""
        for sender, receiver in self._streams:
            if name == sender:  # what it has sent may still arrive
                self._streams[sender, receiver].up = False
            elif name == receiver:
                self.break_stream(sender, receiver)

    def break_stream(self, sender: str, receiver: str) -> None:
        """Break a stream with all that is on its way; it is dialled again."""
        stream = self._streams[sender, receiver]
        stream.epoch += 1
        if stream.up:
            stream.up = False
            self._ends.stream_down(sender, receiver)
            self._redial(sender, receiver)

    def is_up(self, sender: str, receiver: str) -> bool:
        """Whether frames are taken."""
        return self._streams[sender, receiver].up

    def passable(self, sender: str, receiver: str) -> bool:
        """Whether nothing blocks the way from one to the other."""
        return not self._blocked[sender, receiver]

    def block(self, pairs: Iterable[Pair]) -> None:
        """Let nothing pass; each block needs an `unblock` of its own."""
        self._blocked.update(pairs)

    def unblock(self, pairs: Iterable[Pair]) -> None:
        """Take a block away."""
        self._blocked.subtract(pairs)

    def _dial(self, sender: str, receiver: str) -> None:
        stream = self._streams[sender, receiver]
        if stream.up or stream.dialing or not self._ends.runs(sender):
            return
        passable = self.passable(sender, receiver) and self.passable(receiver, sender)
        if passable and self._ends.answers(sender) and self._ends.answers(receiver):
            stream.epoch += 1
            stream.up = self._ends.stream_up(sender, receiver)
        if not stream.up:
            self._redial(sender, receiver)

    def _redial(self, sender: str, receiver: str) -> None:
        stream = self._streams[sender, receiver]
        if stream.dialing:
            return
        stream.dialing = True

        def again() -> None:
            stream.dialing = False
            self._dial(sender, receiver)

        self._world.after(stream.chance.uniform(*REDIAL_S), again)


class FifoLinks(Streams):
    """What TCP gives: in order and without loss, until a stream breaks with all on its way."""

    def __init__(
        self, world: World, names: Iterable[str], ends: LinkEnds, weather: Weather
    ) -> None:
        super().__init__(world, names, ends)
        self._latency_s = weather.latency_s

    def send(self, sender: str, receiver: str, frame: bytes) -> None:
        """Queue a frame behind the earlier ones."""
        stream = self._streams[sender, receiver]
        if not stream.up:
            return
        arrival_s = self._world.now_s + stream.chance.uniform(*self._latency_s)
        arrival_s = max(arrival_s, stream.last_arrival_s)
        stream.last_arrival_s = arrival_s
        stream.waiting.append((stream.epoch, frame))
        self._world.after(arrival_s - self._world.now_s, partial(self._arrive, sender, receiver))

    def block(self, pairs: Iterable[Pair]) -> None:
        """Stall streams; those that stall for long break."""
        pairs = list(pairs)
        super().block(pairs)
        self._world.after(KEEPALIVE_S, partial(self._give_up, pairs))

    def unblock(self, pairs: Iterable[Pair]) -> None:
        """Let what has waited through, at once and in order."""
        pairs = list(pairs)
        super().unblock(pairs)
        for pair in pairs:
            stream = self._streams[pair]
            due_count, stream.due_count = stream.due_count, 0
            for _ in range(due_count):
                self._world.after(0.0, partial(self._arrive, *pair))

    def calm(self) -> None:
        """Be quick from now on."""
        self._latency_s = (0.0005, 0.003)

    def _give_up(self, pairs: list[Pair]) -> None:
        for sender, receiver in pairs:
            if not self.passable(sender, receiver):
                self.break_stream(sender, receiver)
                self.break_stream(receiver, sender)

    def _arrive(self, sender: str, receiver: str) -> None:
        stream = self._streams[sender, receiver]
        if self._blocked[sender, receiver]:
            stream.due_count += 1
            return
        epoch, frame = stream.waiting.popleft()
        if epoch == stream.epoch:
            self._ends.frame_arrives(sender, receiver, frame)


class LossyLinks(Streams):
    """Worse than any stream: frames get lost, doubled, overtaken, and come seconds late."""

    def __init__(
        self, world: World, names: Iterable[str], ends: LinkEnds, weather: Weather
    ) -> None:
        super().__init__(world, names, ends)
        self._weather = weather

    def send(self, sender: str, receiver: str, frame: bytes) -> None:
        """Send a frame on its own way, or two of it, or none."""
        stream = self._streams[sender, receiver]
        if not stream.up:
            return
        chance, weather = stream.chance, self._weather
        for _ in range(2 if chance.random() < weather.duplicate else 1):
            if chance.random() < weather.drop:
                continue
            delay_s = chance.uniform(*weather.latency_s)
            if chance.random() < weather.late:
                delay_s += chance.uniform(0.0, weather.late_s)
            self._world.after(delay_s, partial(self._arrive, sender, receiver, frame))

    def calm(self) -> None:
        """Lose nothing from now on."""
        self._weather = Weather(latency_s=(0.0005, 0.003))

    def _arrive(self, sender: str, receiver: str, frame: bytes) -> None:
        if not self._blocked[sender, receiver]:
            self._ends.frame_arrives(sender, receiver, frame)
