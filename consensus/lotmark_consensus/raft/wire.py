"""The port between a voter and the network: frames to and from peers, by name."""

from concurrent.futures import Future
from typing import Protocol

from lotmark_consensus.raft.peer_memory import Standing

QUEUED_SIZE_HIGH = 32 << 20  # a peer that has this much waiting counts as down ...
QUEUED_SIZE_LOW = 8 << 20  # ... until no more than this waits


class WireListener(Protocol):
    """What a wire tells. Any thread may call; no call waits, and none calls the wire."""

    def frame(self, peer: str, frame: bytes) -> Future[None] | None:
        """Take a frame that `peer` sent.

        Returns:
            None, or what the wire waits for before it reads more from this peer.
        """
        ...

    def up(self, peer: str) -> None:
        """From now on frames to `peer` are taken."""
        ...

    def down(self, peer: str) -> None:
        """From now on frames to `peer` are dropped: it is not there, or too much waits for it."""
        ...

    def standing(self) -> Future[Standing]:
        """Return what this node shows its peers."""
        ...

    def admit(self, peer: str, standing: Standing) -> Future[None]:
        """Judge what a peer shows; the future fails with `PeerRegressed` if it is refused."""
        ...

    def failed(self, error: BaseException) -> None:
        """The wire stopped on an error of its own."""
        ...


class Wire(Protocol):
    """Carries frames. All methods may be called from any thread, and none waits."""

    def start(self, listener: WireListener) -> None:
        """Tell `listener` from now on; called once."""
        ...

    def connect(self, peer: str) -> None:
        """Keep trying to reach a peer."""
        ...

    def disconnect(self, peer: str) -> None:
        """Let go of a peer."""
        ...

    def send(self, peer: str, frame: bytes) -> None:
        """Send a frame after those sent before it; it is dropped where the peer is not up."""
        ...

    def queued_size(self, peer: str) -> int:
        """Return how many bytes wait to be sent to a peer."""
        ...

    def stop(self) -> None:
        """Let go of all peers; again has no effect."""
        ...
