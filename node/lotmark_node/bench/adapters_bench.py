"""`lotmark bench adapters`: what watching machines costs, and how soon it is signed."""

import asyncio
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from lotmark.batch import Batch
from lotmark.client.client import LINGER_S
from lotmark.client.clock import Clock
from lotmark.client.delivery import Delivery
from lotmark.client.outbox import Lane, Outbox
from lotmark.client.settings import ClientSettings
from lotmark.client.waiting import OutboxBounds, Waiting
from lotmark.client.writer import Signer, Writer
from lotmark.key_file import read_key_file
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.observation import Observation, Position, Report
from lotmark_adapters.trial.agent import Agent
from lotmark_adapters.trial.recorded_notifications import (
    VALUES_PER_WELD,
    decode_notifications,
    record_notifications,
    take_notifications,
)
from lotmark_adapters.trial.recorded_stream import account_stream, record_stream
from lotmark_adapters.trial.watched_welds import watch_welds
from lotmark_adapters.trial.welder import Welder
from lotmark_node.bench import machine
from lotmark_node.consortium.plan import make_plan
from lotmark_node.edge.alarms import Alarms
from lotmark_node.edge.pipeline import SitePipeline
from lotmark_node.edge.site_settings import (
    Anchor,
    Policy,
    PolicyRule,
    SignalSettings,
    SiteSettings,
    SourceSettings,
    When,
)
from lotmark_node.edge.source_watch import SourceWatch
from lotmark_node.trial.network import TrialNetwork, free_address
from lotmark_node.trial.trial_site import MILL, TrialSite

CLIENT = "OEM-A/erp"
CAPTURES_PER_S = 100  # measurements that go on record in full
BESIDE_SIGNALS = 250  # of another machine, whose windows are closed together
BESIDE_WINDOW_S = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much a run does."""

    weld_seconds: float  # by the welder, over an encrypted channel
    recorded_welds: int
    recorded_observations: int
    capture_seconds: float
    site_seconds: float  # by a whole site, before its memory is looked at


FULL = Extent(
    weld_seconds=15,
    recorded_welds=60_000,
    recorded_observations=500_000,
    capture_seconds=20,
    site_seconds=20,
)
QUICK = Extent(
    weld_seconds=3,
    recorded_welds=10_000,
    recorded_observations=100_000,
    capture_seconds=3,
    site_seconds=3,
)


def run(*, quick: bool) -> dict[str, object]:
    """Run the bench and return its figures."""
    extent = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="lotmark-bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        plan = make_plan("bench", [], [f"OEM-A/n1@{free_address()}"], [CLIENT])
        network = TrialNetwork(folder / "consortium", plan)  # its node is never started
        figures: dict[str, object] = {
            "machine": machine.machine(),
            "versions": machine.versions()
            | {each: version(each) for each in ("asyncua", "httpx", "lxml")},
            "load": machine.load(),
            "fdatasync_p99_ms": machine.fdatasync_p99_ms(folder),
        }
        for part in ("opcua", "alone", "beside", "site"):
            (folder / part).mkdir()
        figures["opcua_per_s"] = asyncio.run(_opcua_rate(folder / "opcua", extent.weld_seconds))
        figures |= _decode_rates(extent.recorded_welds)
        figures["mtconnect_per_s"] = _mtconnect_rate(extent.recorded_observations)
        settings = network.client_settings(CLIENT)
        figures |= asyncio.run(_capture_alone(settings, folder / "alone", extent.capture_seconds))
        figures |= asyncio.run(_capture_beside(settings, folder / "beside", extent.capture_seconds))
        client = network.client_file(CLIENT)
        figures["rss_mb"] = asyncio.run(_site_rss_mb(folder / "site", client, extent.site_seconds))
        return figures


async def _opcua_rate(folder: Path, seconds: float) -> int:
    """Return how many notifications a second come from a server in this process."""
    watched = await watch_welds(folder, seconds)
    if watched.gaps:
        raise RuntimeError(f"{watched.gaps} gaps of a machine that waits for who watches it")
    return round(watched.observations / watched.elapsed_s)


def _decode_rates(welds: int) -> dict[str, int]:
    """Return how many recorded notifications are taken a second of processor, from their bytes."""
    messages = record_notifications(welds)
    start_s = time.process_time()
    decoded = decode_notifications(messages)
    decoded_s = time.process_time()
    taken = take_notifications(decoded)
    end_s = time.process_time()
    count = welds * VALUES_PER_WELD
    if (taken.observations, taken.gaps) != (count, 0):
        raise RuntimeError(f"{taken} came of {count} notifications")
    return {
        "opcua_decode_per_s": round(count / (end_s - start_s)),
        "opcua_decode_own_per_s": round(count / (end_s - decoded_s)),  # without the library's part
    }


def _mtconnect_rate(observations: int) -> int:
    """Return how many observations are parsed and accounted for in a second of processor."""
    stream = record_stream(observations)
    start_s = time.process_time()
    accounted = account_stream(stream)
    elapsed_s = time.process_time() - start_s
    if accounted.missing:
        raise RuntimeError(f"{accounted.missing} observations of a whole stream are missing")
    return round(accounted.observations / elapsed_s)


# From a value's coming until it is signed and on disk


class _TimedOutbox(Outbox):
    """Notes when an event is on disk in a signed batch."""

    def __init__(self, path: Path, *, chain_id: bytes) -> None:
        super().__init__(path, chain_id=chain_id)
        self.signed: list[tuple[float, bytes]] = []  # when, and the event, in their order

    def write(
        self,
        *,
        events: Sequence[bytes] = (),
        batched_up_to: int = 0,
        batches: Sequence[Batch] = (),
        settled: Sequence[int] = (),
        refused: Sequence[tuple[Batch, str]] = (),
        lane: Lane | None = None,
    ) -> None:
        super().write(
            events=events,
            batched_up_to=batched_up_to,
            batches=batches,
            settled=settled,
            refused=refused,
            lane=lane,
        )
        now_s = time.perf_counter()
        self.signed += [(now_s, event) for batch in batches for event in batch.events]


class _SigningOutbox:
    """A client's outbox without its sender: it signs at once, as if a node had answered before."""

    def __init__(self, settings: ClientSettings, file: Path) -> None:
        self.timed = _TimedOutbox(file, chain_id=settings.chain_id)
        self._waiting = Waiting(file, OutboxBounds(), _delivery, ())
        signer = Signer(
            key=read_key_file(settings.batch_key),
            chain_id=settings.chain_id,
            party=settings.party,
            clock=Clock(),
            seen=lambda: (0, bytes(32)),
        )
        self._writer = Writer(self.timed, self._waiting, signer, linger_s=LINGER_S)
        self._writer.allow_signing()
        self._writer.start()

    def submit(self, events: Sequence[bytes]) -> None:
        """Put events into the outbox; they are on disk when this returns."""
        self._waiting.enter(events, room_s=0.0).stored.result()

    def close(self) -> None:
        """Sign what is left, and close the file."""
        self._waiting.close()
        self._writer.join()
        self.timed.close()


def _delivery(event_id: bytes) -> Delivery:
    return Delivery(event_id, lambda: "", lambda *_: None)  # type: ignore[arg-type]  # nobody asks


async def _capture_alone(
    settings: ClientSettings, folder: Path, seconds: float
) -> dict[str, float]:
    """Return how long measurements take from their coming until they are signed and on disk."""
    taken_ms = await _capture(settings, folder, seconds)
    return {
        "capture_p50_ms": round(machine.percentile(taken_ms, 50), 1),
        "capture_p99_ms": round(machine.percentile(taken_ms, 99), 1),
    }


async def _capture_beside(
    settings: ClientSettings, folder: Path, seconds: float
) -> dict[str, float]:
    """Return the same while another machine's windows are closed, all at once, each second."""
    taken_ms = await _capture(settings, folder, seconds, beside=_tell_beside)
    return {"capture_beside_windows_p99_ms": round(machine.percentile(taken_ms, 99), 1)}


async def _capture(
    settings: ClientSettings,
    folder: Path,
    seconds: float,
    *,
    beside: Callable[[SitePipeline], Awaitable[None]] | None = None,
) -> list[float]:
    """Return for each measurement the milliseconds until it is signed and on disk.

    Raises:
        RuntimeError: What is told beside them has closed no window.
    """
    outbox = _SigningOutbox(settings, folder / "outbox.db")
    count = round(seconds * CAPTURES_PER_S)
    site = _capture_settings(folder)
    pipeline = await SitePipeline.open(site, outbox=outbox, calibration=_uncalibrated)
    watch = SourceWatch(site.sources[0], pipeline.taker("W07"), Alarms(folder), _now_us)
    tasks = [asyncio.create_task(pipeline.run())]
    if beside is not None:
        tasks.append(asyncio.ensure_future(beside(pipeline)))
    keeping = asyncio.create_task(watch.keep())
    start_s = time.perf_counter()
    # They come when they do, also while those before them wait.
    came_s = [start_s + number / CAPTURES_PER_S for number in range(count)]
    try:
        for number, at_s in enumerate(came_s, start=1):
            await asyncio.sleep(max(0.0, at_s - time.perf_counter()))
            await watch.take(_measured(number))
        await watch.finish()
        await keeping
    finally:
        for task in (keeping, *tasks):
            task.cancel()
        await asyncio.gather(keeping, *tasks, return_exceptions=True)
        await pipeline.close()
        outbox.close()
    signed_s = dict[str, list[float]]()
    for at_s, event in outbox.timed.signed:
        body = event_pb2.Event.FromString(event).WhichOneof("body") or ""
        signed_s.setdefault(body, []).append(at_s)
    if beside is not None and "observation_window" not in signed_s:
        raise RuntimeError("no window was closed meanwhile; let the run last longer")
    return [
        (end - start) * 1_000 for start, end in zip(came_s, signed_s["measurement"], strict=True)
    ]


async def _tell_beside(pipeline: SitePipeline) -> None:
    """Tell a value of each signal of the other machine, twice in a window's time."""
    sequence = 1
    while True:
        now_us = _now_us()
        observations = [
            Observation(f"signal_{each}", sequence + each, now_us, now_us, "8.1")
            for each in range(BESIDE_SIGNALS)
        ]
        sequence += BESIDE_SIGNALS
        position = Position(instance="bench", next_sequence=sequence, last_made_us=now_us)
        await pipeline.take("W08", Report(position=position, observations=observations))
        await asyncio.sleep(BESIDE_WINDOW_S / 2)


def _capture_settings(folder: Path) -> SiteSettings:
    rule = PolicyRule(signals="W07/*", when=When.ALWAYS, anchor=Anchor.FULL)
    beside = PolicyRule(
        signals="W08/*", when=When.ALWAYS, anchor=Anchor.WINDOW, window_s=BESIDE_WINDOW_S
    )
    signal = SignalSettings(name="current", address="current", unit="kA")
    return SiteSettings(
        site="bench",
        data=folder / "data",
        client=folder / "client.toml",
        sources=(
            SourceSettings(name="W07", protocol="opcua", address="", signals=(signal,)),
            SourceSettings(name="W08", protocol="opcua", address="", signals=()),
        ),
        policy=Policy(name="bench", version=1, rules=(rule, beside)),
    )


def _uncalibrated(
    _source: str, _made_us: int
) -> tuple[str, "quality_pb2.CalibrationState.ValueType"]:
    return "", quality_pb2.CALIBRATION_STATE_MISSING


def _now_us() -> int:
    """Return the time by this machine's clock."""
    return time.time_ns() // 1_000


def _measured(number: int) -> Report:
    now_us = _now_us()
    return Report(
        position=Position(instance="bench", next_sequence=number + 1, last_made_us=now_us),
        observations=[Observation("current", number, now_us, now_us, f"7.{number % 9}5")],
    )


# A whole site


async def _site_rss_mb(folder: Path, client: Path, seconds: float) -> float:
    """Return the memory of a site's process that has watched two busy machines for a while."""
    hosts = ("127.0.0.1", socket.gethostname())
    async with Welder(folder / "welder", hosts=hosts) as welder, Agent() as mill:
        await welder.prepare()
        site = TrialSite(folder, client, welder, mill)
        try:
            await site.start()
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s:
                for _ in range(25):
                    await welder.weld()
                mill.burst(1_000)
                await site.until(
                    lambda: site.sources()[MILL].position.next_sequence == mill.next_sequence
                )
            return round(machine.rss_mb(site.pid), 1)
        finally:
            site.kill()  # its outbox would wait for a node in vain
