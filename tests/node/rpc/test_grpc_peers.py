"""What a node asks of another voter, while the channel between them is closed or made anew."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from lotmark.v1 import peer_pb2, peer_pb2_grpc
from lotmark_node.engine.errors import PeerUnreachable
from lotmark_node.rpc import grpc_peers
from lotmark_node.rpc.checkpoint_peers import VoterPeer
from lotmark_node.rpc.grpc_peers import GrpcPeers
from lotmark_node.tls_pair import TlsPair
from tests.node.engine.running_engine import DEADLINE_S, run
from tests.node.rpc.served_ledger import FoundedConsortium

VOTER = "OEM-A/n1"


class SilentVoter(peer_pb2_grpc.PeerServiceServicer):
    """A voter that takes calls and says nothing.

    Attributes:
        batches: What was forwarded to it.
        calls: How many other calls it has taken.
    """

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self.calls = 0
        self.changed = asyncio.Condition()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S), self.changed:
            await self.changed.wait_for(condition)

    async def Exchange(  # noqa: N802 - the name is fixed by the proto
        self, request_iterator: AsyncIterator[peer_pb2.ExchangeRequest], context: Any
    ) -> AsyncIterator[peer_pb2.ExchangeResponse]:
        await self._stay_silent()
        yield peer_pb2.ExchangeResponse()

    async def Forward(  # noqa: N802 - the name is fixed by the proto
        self, request_iterator: AsyncIterator[peer_pb2.ForwardRequest], context: Any
    ) -> AsyncIterator[peer_pb2.ForwardResponse]:
        async for request in request_iterator:
            async with self.changed:
                self.batches.extend(request.batches)
                self.changed.notify_all()
        for refusal in list[peer_pb2.ForwardResponse]():
            yield refusal

    async def FetchBlocks(  # noqa: N802 - the name is fixed by the proto
        self, request: peer_pb2.FetchBlocksRequest, context: Any
    ) -> AsyncIterator[peer_pb2.FetchedBlock]:
        await self._stay_silent()
        yield peer_pb2.FetchedBlock()

    async def ShareCheckpoint(  # noqa: N802 - the name is fixed by the proto
        self, request: peer_pb2.ShareCheckpointRequest, context: Any
    ) -> peer_pb2.ShareCheckpointResponse:
        await self._stay_silent()
        return peer_pb2.ShareCheckpointResponse()

    async def ReadIndex(  # noqa: N802 - the name is fixed by the proto
        self, request: peer_pb2.ReadIndexRequest, context: Any
    ) -> peer_pb2.ReadIndexResponse:
        await self._stay_silent()
        return peer_pb2.ReadIndexResponse()

    async def _stay_silent(self) -> None:
        async with self.changed:
            self.calls += 1
            self.changed.notify_all()
        await asyncio.Event().wait()


@asynccontextmanager
async def peers_of(consortium: FoundedConsortium) -> AsyncIterator[tuple[GrpcPeers, SilentVoter]]:
    """Serve a silent voter, and give what calls it."""
    settings = consortium.settings
    pair = TlsPair(settings.tls_certificate.read_bytes(), settings.tls_key.read_bytes())
    authorities = "".join(consortium.genesis.ca_certificates().values()).encode()
    voter, server = SilentVoter(), grpc.aio.server()
    peer_pb2_grpc.add_PeerServiceServicer_to_server(voter, server)
    credentials = grpc.ssl_server_credentials(
        [(pair.key, pair.certificate)], authorities, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    peers = GrpcPeers(
        consortium.genesis,
        consortium.chain_id,
        addresses={VOTER: f"127.0.0.1:{port}"},
        tls=lambda: pair,
    )
    try:
        yield peers, voter
    finally:
        await peers.close()
        await server.stop(None)


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_peers, "OLD_CHANNEL_GRACE_S", 0.0)


def refuse_nothing(batch_id: bytes, outcome: object) -> None:
    raise AssertionError(f"nobody refused {batch_id.hex()}: {outcome}")


def ended_by(
    consortium: FoundedConsortium,
    begin: Callable[[GrpcPeers], Awaitable[object]],
    end: Callable[[GrpcPeers], Awaitable[None]],
) -> None:
    """Begin a call, end its channel, and let pass what the call then raises."""

    async def scenario() -> None:
        async with peers_of(consortium) as (peers, voter):
            call = asyncio.ensure_future(begin(peers))
            await voter.until(lambda: voter.calls == 1)
            await end(peers)
            async with asyncio.timeout(DEADLINE_S):
                await call

    run(scenario())


async def first_block(peers: GrpcPeers) -> None:
    async with aclosing(peers.fetch_blocks(VOTER, 1)) as fetched:
        await anext(fetched)


async def read_index(peers: GrpcPeers) -> None:
    await peers.read_index(VOTER)


async def share(peers: GrpcPeers) -> None:
    """Share a checkpoint from another thread, as gathering does."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, VoterPeer(VOTER, peers, loop).share, b"a note")


def test_forwarding_goes_on_over_a_new_channel_when_a_certificate_is_renewed(
    consortium: FoundedConsortium,
) -> None:
    async def scenario() -> None:
        async with peers_of(consortium) as (peers, voter):
            broken = asyncio.Event()
            link = peers.forward_to(VOTER, refuse_nothing, broken.set)
            link.send(b"before")
            await voter.until(lambda: voter.batches == [b"before"])

            await peers.renew()
            async with asyncio.timeout(DEADLINE_S):
                await broken.wait()  # or whoever forwards would wait for ever

            again = peers.forward_to(VOTER, refuse_nothing, broken.set)
            again.send(b"after")
            await voter.until(lambda: voter.batches == [b"before", b"after"])
            again.close()

    run(scenario())


def test_a_link_that_is_closed_on_purpose_tells_nobody(consortium: FoundedConsortium) -> None:
    async def scenario() -> None:
        async with peers_of(consortium) as (peers, voter):
            broken = asyncio.Event()
            link = peers.forward_to(VOTER, refuse_nothing, broken.set)
            link.send(b"one")
            await voter.until(lambda: voter.batches == [b"one"])
            link.close()
            await peers.close()

            assert not broken.is_set()

    run(scenario())


@pytest.mark.parametrize("begin", [first_block, read_index, share])
@pytest.mark.parametrize("end", [GrpcPeers.renew, GrpcPeers.close])
def test_a_call_whose_channel_is_closed_did_not_reach_the_peer(
    consortium: FoundedConsortium,
    begin: Callable[[GrpcPeers], Awaitable[object]],
    end: Callable[[GrpcPeers], Awaitable[None]],
) -> None:
    with pytest.raises(PeerUnreachable, match=VOTER):
        ended_by(consortium, begin, end)
