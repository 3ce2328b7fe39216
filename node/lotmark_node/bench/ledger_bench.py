"""`lotmark bench ledger`: one node, TLS, fsync, signed events."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lotmark.client.settings import ClientSettings
from lotmark_node import terminal
from lotmark_node.bench import machine
from lotmark_node.bench.load import LANES, Load
from lotmark_node.bench.running import WIDE, per_event_us, running, stage_ns, stopped
from lotmark_node.bench.sending import Sent, send
from lotmark_node.consortium.plan import make_plan
from lotmark_node.trial.network import TrialNetwork, free_address

BATCH_SIZE = 64
NODE = "OEM-A/n1"
CLIENT = "OEM-A/load"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much a run does."""

    seconds: float
    events: int  # in batches of 64, at most
    single_seconds: float
    single_events: int  # one in a batch, at most


FULL = Extent(seconds=60, events=2_400_000, single_seconds=15, single_events=100_000)
QUICK = Extent(seconds=6, events=240_000, single_seconds=4, single_events=30_000)


def run(*, quick: bool) -> dict[str, object]:
    """Run the bench and return its figures."""
    extent = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="lotmark-bench-", dir=Path.cwd()) as folder:
        plan = make_plan("bench", [], [f"{NODE}@{free_address()}"], [CLIENT])
        network = TrialNetwork(Path(folder) / "consortium", plan, parameters=WIDE)
        return _measure(network, extent)


def _measure(network: TrialNetwork, extent: Extent) -> dict[str, object]:
    settings, node = network.client_settings(CLIENT), network.voters[NODE]
    load = Load(settings, BATCH_SIZE)
    figures: dict[str, object] = {
        "machine": machine.machine(),
        "versions": machine.versions(),
        "load": machine.load(),
        "fdatasync_p99_ms": machine.fdatasync_p99_ms(network.folder),
    }
    terminal.note(f"Signing {extent.events} events beforehand")
    load.ready(extent.events)
    figures["signing_us_per_event"] = round(load.signing_ns / extent.events / 1_000, 2)
    with running([node]):
        sent = _send(settings, load, extent.events, extent.seconds)
        # What the time left goes there too: memory and start-up are those of a full run.
        if rest := extent.events - sent.events:
            _send(settings, load, rest, extent.seconds * 10)
        figures["rss_mb"] = machine.rss_mb(node.pid)
        figures["events"] = extent.events
    figures |= _throughput(sent)
    figures |= _costs(stopped(network, NODE), extent.events, node.log.with_name("data"))
    with running([node]):
        figures["startup_s"] = round(node.startup_s, 2)
        singles = Load(settings, 1, first_lane=load.first_lane + LANES)
        single = _send(settings, singles, extent.single_events, extent.single_seconds)
    figures["events_per_s_single"] = round(single.events / single.seconds)
    figures["p50_ms_single"] = round(machine.percentile(single.latencies_ms, 50), 1)
    figures["p99_ms_single"] = round(machine.percentile(single.latencies_ms, 99), 1)
    return figures


def _send(settings: ClientSettings, load: Load, events: int, seconds: float) -> Sent:
    per_message, in_flight = (1, 32) if load.batch_size > 1 else (64, 8)
    sent = asyncio.run(
        send(
            settings,
            load.ready(events),
            batch_size=load.batch_size,
            batches_per_message=per_message,
            messages_in_flight=in_flight,
            seconds=seconds,
        )
    )
    load.took(sent.events)
    return sent


def _throughput(sent: Sent) -> dict[str, object]:
    return {
        "events_per_s": round(sent.events / sent.seconds),
        "measured_s": round(sent.seconds, 1),
        "p50_ms": round(machine.percentile(sent.latencies_ms, 50), 1),
        "p99_ms": round(machine.percentile(sent.latencies_ms, 99), 1),
        "client_cpu_us_per_event": round(sent.client_processor_ns / sent.events / 1_000, 2),
    }


def _costs(record: dict[str, object], events: int, data: Path) -> dict[str, object]:
    processor_ns = record["processor_ns"]
    assert isinstance(processor_ns, int), "the node logs its processor time"
    return {
        "cpu_us_per_event": per_event_us(stage_ns(record), processor_ns, events),
        "bytes_per_event": round(_size(data / "ledger") / events),
        "journal_bytes_per_event": round(_size(data / "journal") / events),
        "fsyncs": record["fsyncs"],
        "blocks": record["height"],
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
