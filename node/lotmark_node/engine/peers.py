"""The port to the other voters: what an engine asks of them."""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from lotmark.outcome import Outcome
from lotmark_consensus.ordering import Ordered
from lotmark_consensus.raft.wire import Wire

Refused = Callable[[bytes, Outcome], None]  # batch id, why the leader does not take it
Broken = Callable[[], None]


class ForwardLink(Protocol):
    """A stream of batches to the leader."""

    def send(self, raw: bytes) -> None:
        """Send a batch behind those sent before; never waits."""
        ...

    def close(self) -> None:
        """End the stream; neither callback is called any more."""
        ...


class Peers(Protocol):
    """The other voters, by name; used from the event loop's thread unless said otherwise."""

    @property
    def wire(self) -> Wire:
        """The order's messages."""
        ...

    def forward_to(self, peer: str, refused: Refused, broken: Broken) -> ForwardLink:
        """Open a stream of batches; `broken` is called once when it has ended by itself."""
        ...

    def fetch_blocks(
        self, peer: str, from_height: int
    ) -> AsyncGenerator[tuple[int, Ordered], None]:
        """Return heights and blocks, ascending, up to what the peer holds at the time.

        Raises:
            PeerUnreachable: The peer does not answer, or not like this (also while iterating).
        """
        ...

    async def read_index(self, peer: str) -> int:
        """Return an index of the order that covers all that was acknowledged before this call.

        Raises:
            PeerUnreachable: The peer does not answer, or does not lead.
        """
        ...
