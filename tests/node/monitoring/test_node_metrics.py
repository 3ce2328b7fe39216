"""A running node shows what it does, under labels of closed sets, and whether it takes events."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lotmark.key_grant import NODE_PURPOSES
from lotmark.outcome import Outcome
from lotmark.v1 import ledger_pb2
from lotmark_node.engine.ledger_engine import LedgerEngine
from lotmark_node.monitoring.node_metrics import node_registry, not_ready
from tests.node.ledger_in_memory import measurement
from tests.node.rpc.served_ledger import FoundedConsortium, ServedLedger, served

DAY_MS = 86_400_000
LABELS = {
    "version", "role", "node", "peer", "reason", "rpc", "outcome", "stage", "folder", "purpose",
    "certificate", "within_days", "le",
}  # fmt: skip


class Shown:
    """What `/metrics` shows at one moment."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.text = generate_latest(registry).decode()
        self.families = list(text_string_to_metric_families(self.text))

    def value(self, name: str, **labels: str) -> float:
        """Return the one sample of this name with just these labels."""
        (found,) = [
            sample.value
            for family in self.families
            for sample in family.samples
            if (sample.name, sample.labels) == (name, labels)
        ]
        return found


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> FoundedConsortium:
    return FoundedConsortium(tmp_path_factory.mktemp("metrics") / "consortium")


@asynccontextmanager
async def watched(
    consortium: FoundedConsortium, data: Path
) -> AsyncIterator[tuple[ServedLedger, CollectorRegistry]]:
    async with served(consortium, data) as ledger:
        ends_ms = {"node": ledger.engine.now_ms() + 30 * DAY_MS, "ca": 0}
        yield ledger, node_registry(ledger.engine, ledger.identities, lambda: ends_ms)


def test_what_was_taken_applied_and_refused_is_counted(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> Shown:
        async with watched(consortium, tmp_path) as (ledger, registry):
            author = ledger.author()
            await ledger.put(author.batch([measurement(1), measurement(2)]))
            await ledger.put(author.batch([measurement(1)]))  # a duplicate event, on the log
            stub = await ledger.stub("T1-STATOR")
            foreign = author.batch([measurement(3)], chain_id=bytes(32))
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.Submit(ledger_pb2.SubmitRequest(batches=[foreign.raw]))
            return Shown(registry)

    shown = asyncio.run(scenario())

    assert shown.value("lotmark_admission_answers_total", outcome="ACCEPTED") == 2
    assert shown.value("lotmark_admission_answers_total", outcome="CHAIN_UNKNOWN") == 1
    assert shown.value("lotmark_admitted_events_total") == 3
    assert shown.value("lotmark_applied_blocks_total") == 2
    assert shown.value("lotmark_applied_batches_total", outcome="ACCEPTED") == 2
    assert shown.value("lotmark_applied_events_total", outcome="ACCEPTED") == 2
    assert shown.value("lotmark_applied_events_total", outcome="EVENT_DUPLICATE") == 1
    assert shown.value("lotmark_acknowledgement_seconds_count") == 2
    assert shown.value("lotmark_order_write_seconds_count") == 2
    assert shown.value("lotmark_order_write_seconds_sum") > 0
    assert shown.value("lotmark_waiting_events") == shown.value("lotmark_waiting_bytes") == 0
    assert shown.value("lotmark_height") == shown.value("lotmark_order_applied_index") == 2
    assert shown.value("lotmark_tree_size") == 2 + 4 + 3
    assert shown.value("lotmark_stage_processor_seconds_total", stage="apply") > 0
    assert shown.value("lotmark_folder_bytes", folder="journal") > 300


def test_a_node_alone_leads_and_its_keys_and_certificates_have_an_end(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> Shown:
        async with watched(consortium, tmp_path) as (ledger, registry):
            await (await ledger.stub("T1-STATOR")).GetLedger(ledger_pb2.GetLedgerRequest())
            return Shown(registry)

    shown = asyncio.run(scenario())

    assert shown.value("lotmark_role", role="leader") == 1
    assert shown.value("lotmark_role", role="follower") == 0
    assert shown.value("lotmark_leader", node="OEM-A/n1") == 1
    assert shown.value("lotmark_term") == 1
    for purpose in NODE_PURPOSES:
        left_s = shown.value("lotmark_key_expiry_seconds", purpose=purpose.name.lower())
        assert 4 * 365 * 86_400 < left_s < 5 * 365 * 86_400 + 1
    left_s = shown.value("lotmark_certificate_expiry_seconds", certificate="node")
    assert 30 * 86_400 - 60 < left_s <= 30 * 86_400
    assert shown.value("lotmark_certificate_expiry_seconds", certificate="ca") < 0
    assert shown.value("lotmark_client_certificates_ending", within_days="90") == 0
    assert shown.value("lotmark_takes_events") == 1
    assert shown.value("process_resident_memory_bytes") > 10 << 20


def test_clients_whose_certificate_ends_soon_are_counted_not_named(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> Shown:
        async with watched(consortium, tmp_path) as (ledger, registry):
            now_ms = ledger.engine.now_ms()
            for days in (3, 20, 60, 500):
                ledger.identities.ends_ms[f"T1-STATOR/line-{days}"] = now_ms + days * DAY_MS
            ledger.identities.ends_ms["OEM-A/n1"] = now_ms + 5 * DAY_MS
            return Shown(registry)

    shown = asyncio.run(scenario())

    assert [
        shown.value("lotmark_client_certificates_ending", within_days=days)
        for days in ("7", "30", "90")
    ] == [1, 2, 3]
    assert shown.value("lotmark_peer_certificate_expiry_seconds", peer="OEM-A/n1") > 4 * 86_400
    assert "line-" not in shown.text


def test_calls_without_right_are_counted(consortium: FoundedConsortium, tmp_path: Path) -> None:
    async def scenario() -> Shown:
        async with watched(consortium, tmp_path) as (ledger, registry):
            stub = await ledger.stub("T1-STATOR")
            for _ in range(2):
                with pytest.raises(grpc.aio.AioRpcError):
                    async for _piece in stub.ExportSnapshot(ledger_pb2.ExportSnapshotRequest()):
                        pass
            return Shown(registry)

    shown = asyncio.run(scenario())

    name = "lotmark_calls_refused_total"
    assert shown.value(name, reason="access", rpc="ExportSnapshot") == 2


def test_labels_are_of_closed_sets_and_names_end_in_units(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> Shown:
        async with watched(consortium, tmp_path) as (ledger, registry):
            await ledger.put(ledger.author().batch([measurement(1)]))
            return Shown(registry)

    shown = asyncio.run(scenario())
    own = [family for family in shown.families if family.name.startswith("lotmark_")]

    assert len(own) > 35
    for family in own:
        for sample in family.samples:
            assert set(sample.labels) <= LABELS, sample
            assert not any(re.search("[0-9a-f]{16}", text) for text in sample.labels.values())
        assert family.documentation.endswith("."), family.name


def test_a_node_that_takes_no_events_says_why(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> list[str | None]:
        async with served(consortium, tmp_path) as ledger:
            engine: LedgerEngine = ledger.engine
            told = [not_ready(engine)]
            engine.admission.closed = Outcome.STORAGE_FULL
            told.append(not_ready(engine))
            engine.admission.closed = None
            return told

    ready, full = asyncio.run(scenario())

    assert ready is None
    assert full is not None
    assert full.startswith("OEM-A/n1 takes no events: ")
    assert "full" in full or "disk" in full


def test_a_node_that_stops_is_not_ready(consortium: FoundedConsortium, tmp_path: Path) -> None:
    async def scenario() -> str | None:
        async with served(consortium, tmp_path) as ledger:
            engine = ledger.engine
        return not_ready(engine)

    assert "takes no events: " in (asyncio.run(scenario()) or "")
