"""`lotmark bench ledger`: one node, TLS, fsync, signed events."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lotmark.client.settings import ClientSettings, read_client_settings
from lotmark.genesis import Parameters
from lotmark_node import terminal
from lotmark_node.bench import machine
from lotmark_node.bench.load import Load, Sent, send
from lotmark_node.consortium.found import found_consortium
from lotmark_node.consortium.plan import make_plan

BATCH_SIZE = 64
START_WAIT_S = 60.0
_REASON_MAX = 500  # characters of the node's last words


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much a run does."""

    seconds: float
    events: int  # in batches of 64, at most
    single_seconds: float
    single_events: int  # one in a batch, at most


FULL = Extent(seconds=60, events=2_400_000, single_seconds=15, single_events=100_000)
QUICK = Extent(seconds=6, events=240_000, single_seconds=4, single_events=30_000)

_WIDE = Parameters(
    duplicate_window_events=100_000,
    quota_events=10**9,
    quota_bytes=10**12,
    quota_signatures=10**9,
    quota_state_keys=10**9,
)


def run(*, quick: bool) -> dict[str, object]:
    """Run the bench and return its figures."""
    extent = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="lotmark-bench-", dir=Path.cwd()) as folder:
        work = Path(folder) / "consortium"
        plan = make_plan("bench", [], [f"OEM-A/n1@127.0.0.1:{_free_port()}"], ["OEM-A/load"])
        now_ms = time.time_ns() // 1_000_000
        found_consortium(work, plan, now_ms=now_ms - 1_000, parameters=_WIDE)
        settings = read_client_settings(work / "OEM-A/clients/load/client.toml")
        return _measure(work, settings, extent)


def _measure(work: Path, settings: ClientSettings, extent: Extent) -> dict[str, object]:
    node_folder = work / "OEM-A/nodes/n1"
    load = Load(settings)
    figures: dict[str, object] = {
        "machine": machine.machine(),
        "versions": machine.versions(),
        "load": machine.load(),
        "fdatasync_p99_ms": machine.fdatasync_p99_ms(work),
    }
    terminal.note(f"Signing {extent.events} events beforehand")
    batches = load.batches(extent.events, batch_size=BATCH_SIZE)
    figures["signing_us_per_event"] = round(load.signing_ns / extent.events / 1_000, 2)
    with _Node(node_folder) as node:
        sent = _send(settings, batches, extent.seconds, batch_size=BATCH_SIZE, per_message=1)
        _fill(settings, batches, sent, extent)
        figures["rss_mb"] = machine.rss_mb(node.process.pid)
        figures["events"] = extent.events
    stopped = node.stopped()
    figures |= _throughput(sent)
    figures |= _costs(stopped, extent.events, node_folder / "data")
    with _Node(node_folder) as node:
        figures["startup_s"] = round(node.startup_s, 2)
        singles = load.batches(extent.single_events, batch_size=1)
        single = _send(settings, singles, extent.single_seconds, batch_size=1, per_message=64)
    figures["events_per_s_single"] = round(single.events / single.seconds)
    figures["p50_ms_single"] = round(machine.percentile(single.latencies_ms, 50), 1)
    figures["p99_ms_single"] = round(machine.percentile(single.latencies_ms, 99), 1)
    return figures


def _send(
    settings: ClientSettings,
    batches: list[bytes],
    seconds: float,
    *,
    batch_size: int,
    per_message: int,
) -> Sent:
    with terminal.progress("Sending events", len(batches) * batch_size) as advance:
        shown = 0

        def show(count: int) -> None:
            nonlocal shown
            advance(count - shown)
            shown = count

        return asyncio.run(
            send(
                settings,
                batches,
                batch_size=batch_size,
                batches_per_message=per_message,
                messages_in_flight=32 if per_message == 1 else 8,
                seconds=seconds,
                progress=show,
            )
        )


def _fill(settings: ClientSettings, batches: list[bytes], sent: Sent, extent: Extent) -> None:
    """Send what the measured time left, so that memory and start-up are those of a full run."""
    rest = batches[sent.events // BATCH_SIZE :]
    if rest:
        _send(settings, rest, extent.seconds * 10, batch_size=BATCH_SIZE, per_message=1)


def _throughput(sent: Sent) -> dict[str, object]:
    return {
        "events_per_s": round(sent.events / sent.seconds),
        "measured_s": round(sent.seconds, 1),
        "p50_ms": round(machine.percentile(sent.latencies_ms, 50), 1),
        "p99_ms": round(machine.percentile(sent.latencies_ms, 99), 1),
        "client_cpu_us_per_event": round(sent.client_processor_ns / sent.events / 1_000, 2),
    }


def _costs(stopped: dict[str, object], events: int, data: Path) -> dict[str, object]:
    stages = stopped["stage_ns"]
    processor_ns = stopped["processor_ns"]
    assert isinstance(stages, dict), "the node logs its stages"
    assert isinstance(processor_ns, int), "the node logs its processor time"
    per_event = {name: round(ns / events / 1_000, 2) for name, ns in sorted(stages.items())}
    counted_ns = sum(stages.values())
    per_event["transport_and_rest"] = round((processor_ns - counted_ns) / events / 1_000, 2)
    per_event["total"] = round(processor_ns / events / 1_000, 2)
    return {
        "cpu_us_per_event": per_event,
        "bytes_per_event": round(_size(data / "ledger") / events),
        "journal_bytes_per_event": round(_size(data / "journal") / events),
        "fsyncs": stopped["fsyncs"],
        "blocks": stopped["height"],
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class _Node:
    """A node process, from its start to its end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "bench.log"
        self.startup_s = 0.0

    def __enter__(self) -> "_Node":
        start = time.perf_counter()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lotmark_node.main", "node", "run", "node.toml", "--json"],
                cwd=self._folder,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        assert self.process.stdout is not None, "it was asked for"
        ready = self.process.stdout.readline()
        self.startup_s = time.perf_counter() - start
        if not ready:
            self.process.communicate()
            lines = self._log.read_text().split("\n")
            reason = next((line for line in reversed(lines) if line.strip()), "it said nothing")
            terminal.fail(f"The node of the bench did not start: {reason[:_REASON_MAX]}")
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=START_WAIT_S)

    def stopped(self) -> dict[str, object]:
        """Return what the node logged when it stopped."""
        for line in reversed(self._log.read_text().splitlines()):
            record: dict[str, object] = json.loads(line)
            if record.get("event") == "ledger stopped":
                return record
        raise RuntimeError(f"the node did not stop well: {self._log.read_text()[-2_000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
