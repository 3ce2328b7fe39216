"""`lotmark bench client`: what a system pays that submits, with one node beside it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lotmark.batch import sign_batch
from lotmark.client.client import Client
from lotmark.client.outbox import Lane, Outbox
from lotmark.client.report_file import read_report_file
from lotmark.client.sealing import start_sealing
from lotmark.client.settings import ClientSettings
from lotmark.ed25519 import PrivateKey
from lotmark.key_file import read_key_file
from lotmark.report_fields import missing_fields
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_node import terminal
from lotmark_node.bench import machine
from lotmark_node.bench.running import WIDE, running
from lotmark_node.consortium.plan import make_plan
from lotmark_node.trial.network import TrialNetwork, free_address

NODE = "OEM-A/n1"
CLIENT = "OEM-A/erp"
GROUP_EVENTS = 2_048  # that the measured program hands over at once
ACKNOWLEDGED_S = 120.0
REPORT_SIZE = 10_000_000  # of the file that a sealed report has
REPORTS = 9
IMPORTS = 9  # of which the fastest counts: the others tell of the machine's other work

_MEASURED_IMPORT = """
import json, time
from pathlib import Path
start_s = time.perf_counter()
import grpc
grpc_s = time.perf_counter()
import lotmark.client
end_s = time.perf_counter()
status = Path("/proc/self/status").read_text().splitlines()
(peak,) = (line.split()[1] for line in status if line.startswith("VmHWM:"))
size = int(peak) * 1_024
print(json.dumps({"grpc": grpc_s - start_s, "client": end_s - start_s, "size": size}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much a run does."""

    events: int  # by the client, from objects to acknowledgements
    single_events: int  # one by one, each waited for
    outbox_seconds: float


FULL = Extent(events=600_000, single_events=500, outbox_seconds=10)
QUICK = Extent(events=100_000, single_events=100, outbox_seconds=2)


def run(*, quick: bool) -> dict[str, object]:
    """Run the bench and return its figures."""
    extent = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="lotmark-bench-", dir=Path.cwd()) as folder:
        plan = make_plan("bench", [], [f"{NODE}@{free_address()}"], [CLIENT])
        network = TrialNetwork(Path(folder) / "consortium", plan, parameters=WIDE)
        figures: dict[str, object] = {
            "machine": machine.machine(),
            "versions": machine.versions(),
            "load": machine.load(),
            "fdatasync_p99_ms": machine.fdatasync_p99_ms(network.folder),
        }
        figures |= _import_costs(Path(folder) / "compiled")
        settings = network.client_settings(CLIENT)
        figures["outbox_per_s"] = _outbox_rate(settings, network.folder, extent.outbox_seconds)
        figures["seal_ms"] = _seal_ms(settings, Path(folder))
        with running([network.voters[NODE]]), Client(settings) as client:
            figures |= _many(client, extent.events)
            figures |= _one_by_one(client, extent.single_events)
        return figures


def _import_costs(folder: Path) -> dict[str, object]:
    """Return what a process pays that imports the client: time and memory, its own start aside."""
    # Compiled beforehand, as an installed package is, whatever this environment says about that.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder)}
    found = [
        json.loads(
            subprocess.run(  # noqa: S603  # our own program
                [sys.executable, "-c", _MEASURED_IMPORT],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
            ).stdout
        )
        for _ in range(IMPORTS)
    ]
    least = {name: min(each[name] for each in found) for name in found[0]}
    return {
        "import_ms": round(least["client"] * 1_000),
        "import_grpc_ms": round(least["grpc"] * 1_000),
        "rss_mb": round(least["size"] / 1e6, 1),
    }


def _outbox_rate(settings: ClientSettings, folder: Path, seconds: float) -> int:
    """Return how many batches of one event of 1 kB are signed and made durable in a second."""
    key = read_key_file(settings.batch_key)
    lane = Lane(key.public, 1)
    outbox = Outbox(folder / "outbox-alone.db", chain_id=settings.chain_id)
    try:
        start_s = time.perf_counter()
        while time.perf_counter() - start_s < seconds:
            lane = _write_signed(outbox, key, lane, settings)
        return round(lane.sequence / (time.perf_counter() - start_s))
    finally:
        outbox.close()


def _write_signed(outbox: Outbox, key: PrivateKey, lane: Lane, settings: ClientSettings) -> Lane:
    batch = sign_batch(
        key,
        [os.urandom(1_000)],
        chain_id=settings.chain_id,
        lane=lane.number,
        sequence=lane.sequence + 1,
        previous=lane.batch_id,
        created_at_ms=time.time_ns() // 1_000_000,
        party=settings.party,
    )
    lane = Lane(lane.key, lane.number, lane.sequence + 1, batch.batch_id)
    outbox.write(batches=[batch], lane=lane)
    return lane


def _seal_ms(settings: ClientSettings, folder: Path) -> float:
    """Return how long sealing a report with a large file takes without a node, until it waits."""
    (folder / "report.pdf").write_bytes(os.urandom(REPORT_SIZE))
    took_ms = []
    with ExitStack() as stack:
        client = Client(settings, outbox=folder / "outbox-of-seals.db")
        stack.callback(client.close, timeout_s=0.0)
        for number in range(REPORTS):
            file = folder / f"report-{number}.json"
            file.write_text(json.dumps(_report(number)))
            start_s = time.perf_counter()
            start_sealing(client, None, read_report_file(file))
            took_ms.append((time.perf_counter() - start_s) * 1_000)
    return round(machine.percentile(took_ms, 50), 1)


def _report(number: int) -> dict[str, object]:
    """Return a report with every field that it needs."""
    fields = {each.field.name: "stated" for each in missing_fields({})}
    return {
        **fields,
        "kind": "test",
        "verdict": "UNDETERMINED",
        "item_identification": f"lot-{number}",
        **dict.fromkeys(("date_of_receipt", "date_of_performance", "date_of_issue"), "2025-12-23"),
        "results": [{"characteristic": "resistivity", "value": "17.241", "unit": "nOhm.m"}],
        "files": [{"path": "report.pdf", "media_type": "application/pdf"}],
    }


def _many(client: Client, count: int) -> dict[str, object]:
    """Return how many events a second go from objects to acknowledgements."""
    start_s, start_ns = time.perf_counter(), time.process_time_ns()
    making_s = 0.0
    newest = []
    with terminal.progress("Submitting events", count) as advance:
        for at in range(0, count, GROUP_EVENTS):
            making_start_s = time.perf_counter()
            objects = [_event(number) for number in range(at, min(at + GROUP_EVENTS, count))]
            making_s += time.perf_counter() - making_start_s
            newest = client.submit_all(
                [event.SerializeToString(deterministic=True) for event in objects]
            )
            advance(len(objects))
    stored_s = time.perf_counter()
    newest[-1].result(ACKNOWLEDGED_S)
    end_s = time.perf_counter()
    if left := client.flush(0.0):
        raise RuntimeError(f"{left} events were not acknowledged")
    return {
        "sdk_events_per_s": round(count / (end_s - start_s - making_s)),
        "sdk_events": count,
        "sdk_stored_per_s": round(count / (stored_s - start_s - making_s)),
        "client_cpu_us_per_event": round((time.process_time_ns() - start_ns) / count / 1_000, 1),
    }


def _one_by_one(client: Client, count: int) -> dict[str, object]:
    """Return how long a caller waits for the disk, and then for the acknowledgement."""
    stored_ms, acknowledged_ms = [], []
    for _ in range(count):
        event = _event(0).SerializeToString(deterministic=True)
        start_s = time.perf_counter()
        delivery = client.submit(event)
        stored_ms.append((time.perf_counter() - start_s) * 1_000)
        delivery.result(ACKNOWLEDGED_S)
        acknowledged_ms.append((time.perf_counter() - start_s) * 1_000)
    return {
        "submit_p50_ms": round(machine.percentile(stored_ms, 50), 2),
        "submit_p99_ms": round(machine.percentile(stored_ms, 99), 2),
        "acknowledged_p50_ms": round(machine.percentile(acknowledged_ms, 50), 1),
    }


def _event(number: int) -> event_pb2.Event:
    """Return a measurement of a stator, as a station makes it."""
    now_ms = time.time_ns() // 1_000_000
    return event_pb2.Event(
        nonce=os.urandom(16),
        device="line-l3/W07",
        time=event_pb2.TimeInterval(start_ms=now_ms, end_ms=now_ms, uncertainty_us=2_000),
        capture_mode=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
        items=[
            event_pb2.ItemReference(
                id=f"https://id.gs1.org/01/04012345000023/21/ST{number:012}",
                role=event_pb2.ITEM_ROLE_SUBJECT,
            )
        ],
        measurement=quality_pb2.Measurement(
            feature=f"weld_{number % 192}.current",
            value="14.250",
            unit="kA",
            uncertainty="0.020",
            lower_limit="13.500",
            upper_limit="15.000",
            verdict=quality_pb2.VERDICT_CONFORMING,
            method="program-7",
        ),
    )
