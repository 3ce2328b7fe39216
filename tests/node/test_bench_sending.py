"""The bench's client, against a node that answers late."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from lotmark.client.settings import ClientSettings
from lotmark.v1 import ledger_pb2
from lotmark_node.bench.sending import Sent, send, send_paced
from lotmark_node.consortium.plan import make_plan
from lotmark_node.rpc.server import SERVICE
from lotmark_node.trial.network import TrialNetwork, free_address

BATCHES = [b"batch"] * 10
INTERVAL_S = 0.02

Requests = AsyncIterator[ledger_pb2.SubmitRequest]


class LateNode:
    """Takes batches over mTLS, and answers only once so many wait; what is left at the end."""

    def __init__(self, folder: Path, *, answers_at: int, reason: int = 0) -> None:
        plan = make_plan("bench", [], [f"OEM-A/n1@{free_address()}"], ["OEM-A/load"])
        self._network = TrialNetwork(folder / "consortium", plan)
        self.client: ClientSettings = self._network.client_settings("OEM-A/load")
        self._answers_at = answers_at
        self._reason = reason
        self.waiting_most = 0

    def serve(self) -> grpc.aio.Server:
        server = grpc.aio.server()
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            self._submit_stream,
            request_deserializer=ledger_pb2.SubmitRequest.FromString,
            response_serializer=ledger_pb2.SubmitResponse.SerializeToString,
        )
        methods = {"SubmitStream": handler}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, methods)])
        tls = self._network.node_settings("OEM-A/n1").with_name("tls")
        pair = (tls / "key.pem").read_bytes(), (tls / "cert.pem").read_bytes()
        ca = (self._network.folder / "OEM-A/ca/ca.pem").read_bytes()
        credentials = grpc.ssl_server_credentials([pair], ca, require_client_auth=True)
        server.add_secure_port(self.client.node_address, credentials)
        return server

    async def _submit_stream(
        self, requests: Requests, _context: object
    ) -> AsyncIterator[ledger_pb2.SubmitResponse]:
        waiting = 0
        async for request in requests:
            waiting += len(request.batches)
            self.waiting_most = max(self.waiting_most, waiting)
            if waiting >= self._answers_at:
                yield self._answers(waiting)
                waiting = 0
        yield self._answers(waiting)

    def _answers(self, count: int) -> ledger_pb2.SubmitResponse:
        response = ledger_pb2.SubmitResponse()
        for _ in range(count):
            response.answers.add().admission.reason = self._reason
            response.answers.add().acknowledgement.batch_index = 1
        return response


async def _paced(node: LateNode) -> Sent:
    server = node.serve()
    await server.start()
    try:
        return await send_paced(node.client, BATCHES, batch_size=1, events_per_s=1 / INTERVAL_S)
    finally:
        await server.stop(0)


async def _saturating(node: LateNode, in_flight: int) -> Sent:
    server = node.serve()
    await server.start()
    try:
        return await send(
            node.client,
            BATCHES,
            batch_size=1,
            batches_per_message=1,
            messages_in_flight=in_flight,
            seconds=60,
        )
    finally:
        await server.stop(0)


def test_a_node_that_is_silent_for_a_while_is_charged_for_every_batch_due_meanwhile(
    tmp_path: Path,
) -> None:
    sent = asyncio.run(_paced(LateNode(tmp_path, answers_at=len(BATCHES))))

    assert sent.events == len(BATCHES)
    for at, latency_ms in enumerate(sent.latencies_ms):
        # The answer came after the last batch was due.
        assert latency_ms >= (len(BATCHES) - 1 - at) * INTERVAL_S * 1_000, at


def test_no_more_messages_wait_for_an_answer_than_were_asked_for(tmp_path: Path) -> None:
    node = LateNode(tmp_path, answers_at=3)

    sent = asyncio.run(_saturating(node, 3))

    assert (sent.events, len(sent.latencies_ms)) == (len(BATCHES), len(BATCHES))
    assert node.waiting_most == 3


def test_a_refused_batch_ends_the_load_although_the_client_waits_for_room(tmp_path: Path) -> None:
    node = LateNode(tmp_path, answers_at=1, reason=7)

    with pytest.raises(RuntimeError, match="the load was refused"):
        asyncio.run(_saturating(node, 1))
