"""A wire in memory that keeps the port's promises: voters of one process, and links to cut."""

import threading
from concurrent.futures import Future
from functools import partial

from lotmark_consensus.raft.peer_memory import Standing
from lotmark_consensus.raft.wire import WireListener


class MemoryHub:
    """Where the wires of one process meet."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.wires: dict[str, MemoryWire] = {}
        self.isolated: set[str] = set()

    def wire(self, name: str) -> "MemoryWire":
        """Return the wire of a voter."""
        return MemoryWire(self, name)

    def isolate(self, name: str) -> None:
        """Cut all links of a voter; what is under way is lost."""
        with self.lock:
            self.isolated.add(name)
            for wire in self.wires.values():
                for peer in list(wire.open):
                    if name in (peer, wire.name):
                        wire.lose(peer)

    def mend(self, name: str) -> None:
        """Let a voter be reached again."""
        with self.lock:
            self.isolated.discard(name)
        self.meet()

    def meet(self) -> None:
        """Let every two voters meet that want to and can."""
        with self.lock:
            wires = list(self.wires.values())
        for wire in wires:
            for peer in sorted(wire.wanted - wire.open):
                wire.dial(peer)


class MemoryWire:
    """A `Wire`: a frame is with the other side before `send` returns."""

    def __init__(self, hub: MemoryHub, name: str) -> None:
        self._hub = hub
        self.name = name
        self.listener: WireListener | None = None
        self.wanted: set[str] = set()
        self.open: set[str] = set()

    def start(self, listener: WireListener) -> None:
        self.listener = listener
        with self._hub.lock:
            self._hub.wires[self.name] = self
        self._hub.meet()

    def connect(self, peer: str) -> None:
        with self._hub.lock:
            self.wanted.add(peer)
        self._hub.meet()

    def disconnect(self, peer: str) -> None:
        with self._hub.lock:
            self.wanted.discard(peer)
            self.lose(peer)

    def lose(self, peer: str) -> None:
        """Close the stream to a peer; called with the lock held."""
        if peer in self.open:
            self.open.discard(peer)
            self._told().down(peer)

    def send(self, peer: str, frame: bytes) -> None:
        with self._hub.lock:
            other = self._reachable(peer)
            if other is not None and peer in self.open:
                other._told().frame(self.name, frame)

    def queued_size(self, _peer: str) -> int:
        return 0

    def stop(self) -> None:
        with self._hub.lock:
            if self._hub.wires.get(self.name) is self:
                del self._hub.wires[self.name]
                for wire in self._hub.wires.values():
                    wire.lose(self.name)
            self.wanted.clear()
            self.open.clear()

    def dial(self, peer: str) -> None:
        """Open a stream where both sides admit each other."""
        with self._hub.lock:
            other = self._reachable(peer)
        if other is not None:
            self._told().standing().add_done_callback(partial(self._show, other))

    def _show(self, other: "MemoryWire", shown: "Future[Standing]") -> None:
        if shown.exception() is None:
            judged = other._told().admit(self.name, shown.result())
            judged.add_done_callback(partial(self._see, other))

    def _see(self, other: "MemoryWire", judged: "Future[None]") -> None:
        if judged.exception() is None:
            other._told().standing().add_done_callback(partial(self._judge, other))

    def _judge(self, other: "MemoryWire", shown: "Future[Standing]") -> None:
        if shown.exception() is None:
            judged = self._told().admit(other.name, shown.result())
            judged.add_done_callback(partial(self._open, other))

    def _open(self, other: "MemoryWire", judged: "Future[None]") -> None:
        with self._hub.lock:
            there = self._reachable(other.name) is other and other.name in self.wanted
            if judged.exception() is None and there and other.name not in self.open:
                self.open.add(other.name)
                self._told().up(other.name)

    def _reachable(self, peer: str) -> "MemoryWire | None":
        if {self.name, peer} & self._hub.isolated:
            return None
        return self._hub.wires.get(peer) if self._hub.wires.get(self.name) is self else None

    def _told(self) -> WireListener:
        assert self.listener is not None, "it was not started"
        return self.listener
