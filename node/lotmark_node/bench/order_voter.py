"""A voter without a ledger, for `lotmark bench order`: `python -m` this module, with a node.toml.

It orders opaque blocks over the wire that nodes use, and makes a load of them where it leads: a
ledger, too, proposes in the process that orders.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from lotmark import genesis as protocol_genesis
from lotmark.genesis import Genesis
from lotmark.v1 import peer_pb2
from lotmark_consensus.ordering import Ordered, Ordering, Role
from lotmark_consensus.raft.grpc_wire import SERVER_OPTIONS, GrpcWire
from lotmark_consensus.raft.ordering import PROPOSALS_MAX, RaftOrdering
from lotmark_consensus.raft.rocks_log import RocksLogStore
from lotmark_node.compose import SWITCH_INTERVAL_S, now_ms, read_consortium
from lotmark_node.engine.membership import Membership
from lotmark_node.node_settings import NodeSettings, read_node_settings
from lotmark_node.rpc.grpc_peers import GrpcPeers
from lotmark_node.rpc.identity import Identities
from lotmark_node.state_machine.genesis_block import make_genesis_block
from lotmark_node.tls_pair import TlsPair

SERVICE, METHOD = "lotmark.bench.Order", "Load"
PRUNE_EVERY = 64  # blocks
ANSWERS_MAX_S = 60.0
_NUMBER_SIZE = 8

Context = grpc.aio.ServicerContext[Any, Any]


class _Proposing:
    """Blocks of one size, a number of them always on their way."""

    def __init__(self, ordering: Ordering, *, size: int, in_flight: int) -> None:
        self._ordering = ordering
        self._rest = os.urandom(size - _NUMBER_SIZE)
        self._room = threading.Semaphore(in_flight)
        self._in_flight = in_flight
        self._latencies_ms: list[float] = []  # grows on the voter's thread

    def run(self, seconds: float) -> dict[str, object]:
        """Propose for so long, wait for what is on its way, and return how it went."""
        term = self._ordering.status().term
        proposed: list[Future[Ordered]] = []
        start_s = time.perf_counter()
        while time.perf_counter() - start_s < seconds:
            self._room.acquire()
            block = len(proposed).to_bytes(_NUMBER_SIZE, "big") + self._rest
            proposed.append(self._ordering.propose(block, time_ms=now_ms(), term=term))
            self._count(proposed[-1])
        for future in proposed:
            future.result(ANSWERS_MAX_S)
        return {
            "count": len(proposed),
            "seconds": time.perf_counter() - start_s,
            "latencies_ms": self._latencies_ms,
        }

    def _count(self, future: "Future[Ordered]") -> None:
        start_s = time.perf_counter()

        def done(_future: "Future[Ordered]") -> None:
            self._latencies_ms.append((time.perf_counter() - start_s) * 1_000)
            self._room.release()

        future.add_done_callback(done)


async def _run(settings: NodeSettings) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    genesis, _ = read_consortium(settings)
    chain_id = protocol_genesis.chain_id(genesis.to_json())
    pair = TlsPair(settings.tls_certificate.read_bytes(), settings.tls_key.read_bytes())
    peers = GrpcPeers(genesis, chain_id, addresses=settings.peers, tls=lambda: pair)
    ordering = RaftOrdering(
        RocksLogStore(settings.data / "journal", chain_id),
        chain_id,
        name=settings.name,
        voters=frozenset(f"{voter.party}/{voter.node}" for voter in genesis.voters),
        wire=peers.wire,
        applied_index=0,
        applied_term=0,
        now_ms=now_ms,
    )

    def prune(ordered: Ordered) -> None:
        if ordered.index % PRUNE_EVERY == 0:
            ordering.prune(ordered.index)

    ordering.on_committed(prune)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    membership = Membership(make_genesis_block(genesis, chain_id).changes, lambda: 0)
    server = _server(settings, genesis, key=pair.key, certificate=pair.certificate)
    _serve_exchange(server, peers.wire, Identities(membership, chain_id, settings.party, now_ms))
    _serve_load(server, ordering)
    await server.start()
    sys.stdout.write(json.dumps({"ready": True}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    await loop.run_in_executor(None, ordering.stop)
    await server.stop(0)
    await peers.close()


def _server(
    settings: NodeSettings, genesis: Genesis, *, key: bytes, certificate: bytes
) -> grpc.aio.Server:
    server = grpc.aio.server(options=[*SERVER_OPTIONS, ("grpc.so_reuseport", 0)])
    authorities = "".join(party.ca_pem for party in genesis.parties).encode("ascii")
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authorities, require_client_auth=True
    )
    server.add_secure_port(settings.listen, credentials)
    return server


def _serve_exchange(server: grpc.aio.Server, wire: GrpcWire, identities: Identities) -> None:
    """Take the order's messages, and nothing else of what nodes ask each other."""

    async def exchange(
        requests: AsyncIterator[peer_pb2.ExchangeRequest], context: Context
    ) -> AsyncIterator[peer_pb2.ExchangeResponse]:
        caller = identities.caller(context.auth_context())
        async for response in wire.serve_exchange(
            f"{caller.party}/{caller.node}", requests, context
        ):
            yield response

    handler = grpc.stream_stream_rpc_method_handler(
        exchange,
        request_deserializer=peer_pb2.ExchangeRequest.FromString,
        response_serializer=peer_pb2.ExchangeResponse.SerializeToString,
    )
    service = peer_pb2.DESCRIPTOR.services_by_name["PeerService"].full_name
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {"Exchange": handler})]
    )


def _serve_load(server: grpc.aio.Server, ordering: Ordering) -> None:
    """Let the bench ask for a load: it sends what `_Proposing` takes, and gets what it returns."""

    async def load(request: bytes, context: Context) -> bytes:
        status = ordering.status()
        if not (status.role is Role.LEADER and status.committed_index >= status.term_start_index):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another voter leads")
        asked = json.loads(request)
        in_flight = min(asked["in_flight"], PROPOSALS_MAX)
        proposing = _Proposing(ordering, size=asked["size"], in_flight=in_flight)
        run = asyncio.get_running_loop().run_in_executor
        done = await run(None, proposing.run, asked["seconds"])
        return json.dumps({"in_flight": in_flight, **done}).encode()

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(load)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})]
    )


if __name__ == "__main__":
    asyncio.run(_run(read_node_settings(Path(sys.argv[1]))))
