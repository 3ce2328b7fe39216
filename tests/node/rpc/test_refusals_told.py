"""Whoever is refused, for identity, access or quota, is counted and logged, without secrets."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from lotmark.outcome import Outcome
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc, peer_pb2, peer_pb2_grpc
from lotmark_node.consortium.found import PARAMETERS
from lotmark_node.engine.refusal_log import LINES_PER_MINUTE_MAX
from lotmark_node.rpc.peer_service import PeerService
from lotmark_node.rpc.refused_calls import RefusedFor
from tests.node.ledger_in_memory import measurement
from tests.node.rpc.served_ledger import FoundedConsortium, served
from tests.node.rpc.test_access import renamed

SECRET = b"-----BEGIN"


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> FoundedConsortium:
    folder = tmp_path_factory.mktemp("refused") / "consortium"
    return FoundedConsortium(folder, replace(PARAMETERS, quota_events=3))


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.message == event]


def test_a_certificate_under_another_name_is_counted_and_logged(
    consortium: FoundedConsortium, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> dict[tuple[RefusedFor, str], int]:
        async with served(consortium, tmp_path) as ledger:
            certificate, key = renamed(consortium, ca_of="SITE-1", named="OEM-A")
            channel = await ledger.channel(certificate=certificate, key=key)
            stub: Any = ledger_pb2_grpc.LedgerServiceStub(channel)
            for _ in range(LINES_PER_MINUTE_MAX + 5):
                with pytest.raises(grpc.aio.AioRpcError):
                    await stub.GetLedger(ledger_pb2.GetLedgerRequest())
            return dict(ledger.identities.refused.counts)

    counts = asyncio.run(scenario())
    lines = told(caplog, "call refused")

    assert counts == {(RefusedFor.IDENTITY, "GetLedger"): LINES_PER_MINUTE_MAX + 5}
    assert len(lines) == LINES_PER_MINUTE_MAX, "counted all, logged within the bound"
    assert (lines[0]["reason"], lines[0]["rpc"]) == ("identity", "GetLedger")
    assert lines[0]["peer"].startswith("ipv4:127.0.0.1:")
    assert "was not issued by the CA of OEM-A" in lines[0]["text"]
    assert SECRET.decode() not in caplog.text


def test_a_party_over_its_quota_is_counted_and_named(
    consortium: FoundedConsortium, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> dict[int, int]:
        async with served(consortium, tmp_path) as ledger:
            author = ledger.author()
            await ledger.put(author.batch([measurement(number) for number in range(1, 4)]))
            stub = await ledger.stub("T1-STATOR")
            over = author.batch([measurement(9)])
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.Submit(ledger_pb2.SubmitRequest(batches=[over.raw]))
            return dict(ledger.engine.traffic.admission)

    counts = asyncio.run(scenario())
    (line,) = told(caplog, "batch refused")

    assert counts == {Outcome.ACCEPTED: 1, Outcome.QUOTA_EXCEEDED: 1}
    assert (line["party"], line["outcome"]) == ("T1-STATOR", "QUOTA_EXCEEDED")


def test_a_caller_of_what_is_for_voters_without_a_certificate_is_counted_and_logged(
    consortium: FoundedConsortium, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> dict[tuple[RefusedFor, str], int]:
        async with served(consortium, tmp_path) as ledger:
            server = grpc.aio.server()
            service = PeerService(ledger.engine, ledger.identities, wire=None)  # type: ignore[arg-type]  # never reached
            peer_pb2_grpc.add_PeerServiceServicer_to_server(service, server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub: Any = peer_pb2_grpc.PeerServiceStub(channel)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.ReadIndex(peer_pb2.ReadIndexRequest())
            await server.stop(0)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            return dict(ledger.identities.refused.counts)

    assert asyncio.run(scenario()) == {(RefusedFor.IDENTITY, "ReadIndex"): 1}
    assert told(caplog, "call refused")[0]["rpc"] == "ReadIndex"
