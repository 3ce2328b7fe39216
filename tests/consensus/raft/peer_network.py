"""Voters of one process that reach each other by gRPC over mTLS on loopback, as nodes do."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import grpc
import grpc.aio

from lotmark import genesis as protocol_genesis
from lotmark.certificates import make_ca, make_leaf, peer_identity, tls_name
from lotmark.v1 import peer_pb2
from lotmark_consensus.raft.grpc_wire import CHANNEL_OPTIONS, SERVER_OPTIONS, Context, GrpcWire
from tests.proto.sample_genesis import sample_genesis

VOTERS = ("LAB-17025/n1", "OEM-A/n1", "T1-STATOR/n1")
WAIT_MAX_S = 20.0
LOOK_S = 0.05  # between two looks at what nobody tells a change of
METHOD = "/lotmark.v1.PeerService/Exchange"

T = TypeVar("T")


class LoopThread:
    """An event loop on a thread of its own, as a node's."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="asyncio", daemon=True)
        self._thread.start()

    def run(self, task: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and return what it returns."""
        return asyncio.run_coroutine_threadsafe(task, self.loop).result(WAIT_MAX_S)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(WAIT_MAX_S)
        self.loop.close()


class PeerNetwork:
    """Wires of the voters, the servers that take their streams, and certificates for all."""

    def __init__(self) -> None:
        self._now_ms = time.time_ns() // 1_000_000
        sample = sample_genesis()
        self._cas = {
            party.id: make_ca(party.id, "test", now_ms=self._now_ms) for party in sample.parties
        }
        self.genesis = replace(
            sample,
            parties=tuple(
                replace(party, ca_pem=self._cas[party.id][0].decode()) for party in sample.parties
            ),
        )
        self.chain_id = protocol_genesis.chain_id(self.genesis.to_json())
        self._leaves = {name: self.leaf(name) for name in VOTERS}
        self._ports: dict[str, int] = {}
        self._servers: dict[str, grpc.aio.Server] = {}
        self.wires: dict[str, GrpcWire] = {}
        self.dialled: list[tuple[str, str]] = []  # channels made: from whom, to whom
        self.thread = LoopThread()

    def leaf(self, name: str) -> tuple[bytes, bytes]:
        """Issue a certificate and its key."""
        party, node = name.split("/")
        return make_leaf(
            *self._cas[party],
            chain_id=self.chain_id,
            party=party,
            node=node,
            addresses=["127.0.0.1"],
            days=2,
            now_ms=self._now_ms,
        )

    def wire(self, name: str, *, chain_id: bytes | None = None) -> GrpcWire:
        """Return a wire of a voter, which its server does not serve yet."""
        return GrpcWire(
            self.thread.loop, chain_id or self.chain_id, lambda peer: self.channel(name, peer)
        )

    def serve(self, name: str, wire: GrpcWire) -> None:
        """Let a voter's wire take streams, at the port that it had before."""
        self.wires[name] = wire
        self.thread.run(self._serve(name, wire))

    def channel(self, name: str, peer: str) -> grpc.aio.Channel:
        """Return a channel with the certificate of `name`; called on the loop."""
        self.dialled.append((name, peer))
        certificate, key = self._leaves[name]
        party, node = peer.split("/")
        credentials = grpc.ssl_channel_credentials(
            self._cas[party][0], private_key=key, certificate_chain=certificate
        )
        expected = tls_name(party, node, self.chain_id)
        return grpc.aio.secure_channel(
            f"127.0.0.1:{self._ports.get(peer, 1)}",
            credentials,
            [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", expected)],
        )

    def stop_voter(self, name: str) -> None:
        """End a voter's wire and server, as the end of its process does."""
        self.wires.pop(name).stop()
        self.thread.run(self._servers.pop(name).stop(0))

    def close(self) -> None:
        """End everything."""
        ended = list(self.wires.values())
        for name in list(self.wires):
            self.stop_voter(name)
        for wire in ended:
            self.thread.run(wire.wait_stopped())
        self.thread.stop()

    async def _serve(self, name: str, wire: GrpcWire) -> None:
        server = grpc.aio.server(options=[*SERVER_OPTIONS, ("grpc.so_reuseport", 0)])

        async def exchange(
            requests: AsyncIterator[peer_pb2.ExchangeRequest], context: Context
        ) -> AsyncIterator[peer_pb2.ExchangeResponse]:
            (certificate,) = context.auth_context()["x509_pem_cert"]
            caller = peer_identity(
                certificate,
                self.genesis.ca_certificates(),
                self.chain_id,
                now_ms=self._now_ms + 1_000,
            )
            peer = f"{caller.party}/{caller.node}"
            async for response in wire.serve_exchange(peer, requests, context):
                yield response

        handler = grpc.stream_stream_rpc_method_handler(
            exchange,
            request_deserializer=peer_pb2.ExchangeRequest.FromString,
            response_serializer=peer_pb2.ExchangeResponse.SerializeToString,
        )
        _, service, method = METHOD.split("/")
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service, {method: handler})]
        )
        certificate, key = self._leaves[name]
        credentials = grpc.ssl_server_credentials(
            [(key, certificate)],
            root_certificates=b"".join(ca for ca, _ in self._cas.values()),
            require_client_auth=True,
        )
        address = f"127.0.0.1:{self._ports.get(name, 0)}"
        self._ports[name] = server.add_secure_port(address, credentials)
        await server.start()
        self._servers[name] = server


class Watch:
    """Something that tests wait for, with a deadline."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    def changed(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds; it is looked at with each change, and now and then."""
        deadline = time.monotonic() + WAIT_MAX_S
        with self._changed:
            while not self._changed.wait_for(condition, LOOK_S):
                assert time.monotonic() < deadline, "it never came about"
