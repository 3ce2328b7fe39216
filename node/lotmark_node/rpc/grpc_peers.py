"""The other voters over gRPC: what an engine asks of them, by mTLS to the node that is meant."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import grpc
import grpc.aio

from lotmark.block import parse_block_head
from lotmark.certificates import tls_name
from lotmark.errors import MalformedError
from lotmark.genesis import Genesis
from lotmark.outcome import Outcome
from lotmark.v1 import peer_pb2, peer_pb2_grpc
from lotmark_consensus.ordering import Ordered
from lotmark_consensus.raft.grpc_wire import CHANNEL_OPTIONS, GrpcWire
from lotmark_node.engine.errors import PeerUnreachable
from lotmark_node.engine.peers import Broken, Refused
from lotmark_node.tls_pair import TlsPair

logger = logging.getLogger(__name__)

FETCHED_PER_CALL = 1_000
FORWARDED_SIZE_MAX = 1 << 20  # of batches in one message
CALL_S = 5.0
OLD_CHANNEL_GRACE_S = 5.0  # for calls under way when a certificate is renewed


class GrpcPeers:
    """The other voters; on the event loop's thread unless said otherwise."""

    def __init__(
        self,
        genesis: Genesis,
        chain_id: bytes,
        *,
        addresses: Mapping[str, str],
        tls: Callable[[], TlsPair],
    ) -> None:
        """Make it; nothing is dialled yet.

        Args:
            genesis: Names the voters and their CAs.
            chain_id: The chain's.
            addresses: host:port of every other voter.
            tls: Returns this node's certificate and key as they are now.
        """
        self._genesis = genesis
        self._chain_id = chain_id
        self._addresses = addresses
        self._tls = tls
        self._channels = {name: self._open(name) for name in addresses}
        self.wire = GrpcWire(asyncio.get_running_loop(), chain_id, self._open)

    def _open(self, name: str) -> grpc.aio.Channel:
        party_id, _, node = name.partition("/")
        party = self._genesis.party(party_id)
        assert party is not None, "the settings were checked against the genesis"
        pair = self._tls()
        credentials = grpc.ssl_channel_credentials(
            root_certificates=party.ca_pem.encode("ascii"),
            private_key=pair.key,
            certificate_chain=pair.certificate,
        )
        override = ("grpc.ssl_target_name_override", tls_name(party_id, node, self._chain_id))
        return grpc.aio.secure_channel(
            self._addresses[name], credentials, [override, *CHANNEL_OPTIONS]
        )

    def _stub(self, peer: str) -> "peer_pb2_grpc.PeerServiceAsyncStub":
        stub: peer_pb2_grpc.PeerServiceAsyncStub = peer_pb2_grpc.PeerServiceStub(
            self._channels[peer]
        )
        return stub

    def forward_to(self, peer: str, refused: Refused, broken: Broken) -> "GrpcForwardLink":
        """As `Peers` promises."""
        return GrpcForwardLink(self._stub(peer), peer, refused, broken)

    async def fetch_blocks(
        self, peer: str, from_height: int
    ) -> AsyncGenerator[tuple[int, Ordered], None]:
        """As `Peers` promises."""
        height = from_height
        while True:
            request = peer_pb2.FetchBlocksRequest(from_height=height, count=FETCHED_PER_CALL)
            first = height
            with _failing(f"{peer} gives no blocks"):
                async for fetched in self._stub(peer).FetchBlocks(request):
                    height = fetched.height + 1
                    yield fetched.height, _ordered(fetched)
            if height == first:
                return

    async def read_index(self, peer: str) -> int:
        """As `Peers` promises."""
        with _failing(f"{peer} gives no index to read at"):
            answer = await self._stub(peer).ReadIndex(peer_pb2.ReadIndexRequest(), timeout=CALL_S)
        return answer.index

    async def share(self, peer: str, note: bytes, timeout_s: float) -> bytes | None:
        """Show a checkpoint to a voter and return its cosigned note; None: it does not cosign.

        Raises:
            PeerUnreachable: It does not answer in time.
        """
        request = peer_pb2.ShareCheckpointRequest(note=note)
        with _failing(f"{peer} answers no checkpoint"):
            answer = await self._stub(peer).ShareCheckpoint(request, timeout=timeout_s)
        return answer.note or None

    @property
    def names(self) -> Iterable[str]:
        """The other voters."""
        return self._addresses

    async def renew(self) -> None:
        """Make all channels anew, with the certificate of now; calls under way may end in errors.

        The order's streams go on: each is dialled anew when it ends, as any connection does.
        """
        old, self._channels = self._channels, {name: self._open(name) for name in self._addresses}
        self.wire.dial_anew()
        for channel in old.values():
            await channel.close(OLD_CHANNEL_GRACE_S)

    async def close(self) -> None:
        """End all channels; the order has been stopped before."""
        await self.wire.wait_stopped()
        for channel in self._channels.values():
            await channel.close()


class GrpcForwardLink:
    """One Forward stream. What is sent in one turn of the event loop shares messages."""

    def __init__(
        self,
        stub: "peer_pb2_grpc.PeerServiceAsyncStub",
        peer: str,
        refused: Refused,
        broken: Broken,
    ) -> None:
        self._peer = peer
        self._refused = refused
        self._broken = broken
        self._waiting: list[bytes] = []  # bounded by admission, as whatever is sent here
        self._changed = asyncio.Event()
        self._call = stub.Forward()
        self._writing = asyncio.create_task(self._write())
        self._reading = asyncio.create_task(self._read())

    def send(self, raw: bytes) -> None:
        """As `ForwardLink` promises."""
        self._waiting.append(raw)
        self._changed.set()

    def close(self) -> None:
        """As `ForwardLink` promises."""
        self._broken = self._refused = _ignore
        self._end()

    def _end(self) -> None:
        self._writing.cancel()
        self._reading.cancel()
        self._call.cancel()

    async def _write(self) -> None:
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                waiting, self._waiting = self._waiting, []
                for batches in _messages(waiting):
                    await self._call.write(peer_pb2.ForwardRequest(batches=batches))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the reader meets the same, and tells

    async def _read(self) -> None:
        try:
            async for response in self._call:
                self._refused(response.batch_id, Outcome(response.reason))
            reason = "the leader ended the stream"
        except (grpc.aio.AioRpcError, ValueError) as error:
            reason = _told(error)
        except asyncio.CancelledError:
            if _is_to_end():
                raise
            reason = "the call was cancelled"
        logger.info("forwarding broke off", extra={"peer": self._peer, "reason": reason})
        broken, self._broken = self._broken, _ignore
        self._writing.cancel()
        self._call.cancel()
        broken()


def _messages(raws: list[bytes]) -> Iterable[list[bytes]]:
    """Return the batches, in order, in lists that fit a message."""
    message: list[bytes] = []
    size = 0
    for raw in raws:
        if message and size + len(raw) > FORWARDED_SIZE_MAX:
            yield message
            message, size = [], 0
        message.append(raw)
        size += len(raw)
    if message:
        yield message


def _ordered(fetched: peer_pb2.FetchedBlock) -> Ordered:
    """Return a fetched block with the time that it states itself.

    Raises:
        MalformedError: It is no block.
    """
    proposal, _ = parse_block_head(fetched.block)
    return Ordered(
        index=fetched.index, term=fetched.term, time_ms=proposal.time_ms, block=fetched.block
    )


@contextmanager
def _failing(problem: str) -> Iterator[None]:
    """Raise `PeerUnreachable` where a call has failed."""
    try:
        yield
    except (grpc.aio.AioRpcError, MalformedError) as error:
        raise PeerUnreachable(f"{problem}: {_told(error)}") from error
    except asyncio.CancelledError as error:
        if _is_to_end():
            raise
        raise PeerUnreachable(f"{problem}: the call was cancelled") from error


def _told(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name} {error.details()}"
    return str(error)


def _is_to_end() -> bool:
    """Return whether the task itself is cancelled, and not only a call that it waits for.

    The library cancels calls when their channel is closed, and on errors of its own.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _ignore(*_: object) -> None:
    """The stream was closed on purpose."""
