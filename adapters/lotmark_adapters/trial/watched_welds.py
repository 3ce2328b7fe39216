"""Welds from a machine's server to a taker, over an encrypted channel: how many a second."""

import asyncio
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lotmark_adapters.observation import Report
from lotmark_adapters.opcua.settings import OpcuaSettings, OpcuaSignal
from lotmark_adapters.opcua.source import OpcuaSource
from lotmark_adapters.trial.welder import COUNTER, CURRENT, FORCE, QUEUE_SIZE, Welder

WELDS_AT_ONCE = 25
UNSEEN_WELDS_MAX = QUEUE_SIZE // 2  # the machine waits, so that its server's queues never overrun
ARRIVE_S = 30.0
POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class Watched:
    """What came of the welds."""

    welds: int
    observations: int
    gaps: int
    elapsed_s: float


class Counting:
    """A taker that counts, and keeps nothing."""

    def __init__(self) -> None:
        self.observations = 0
        self.gaps = 0
        self.welds = 0

    async def take(self, report: Report) -> None:
        """Count what a report holds."""
        self.observations += len(report.observations)
        self.gaps += len(report.gaps)
        for each in report.observations:
            if each.signal == COUNTER and each.value is not None:
                self.welds = int(each.value)


async def watch_welds(folder: Path, for_s: float) -> Watched:
    """Weld for so long as fast as the server tells it; return when all has come.

    Server, source and machine share one event loop and one core: the server takes most of it.

    Args:
        folder: For certificates; empty.
        for_s: How long to weld.
    """
    counting = Counting()
    hosts = ("127.0.0.1", socket.gethostname())
    async with Welder(folder / "welder", hosts=hosts) as welder:
        trusted = folder / "trusted"
        trusted.mkdir()
        shutil.copy(welder.certificate, trusted)
        settings = OpcuaSettings(
            name="W07",
            address=welder.address,
            signals=(
                OpcuaSignal(name="weld", node=COUNTER, is_counter=True),
                OpcuaSignal(name="current", node=CURRENT),
                OpcuaSignal(name="force", node=FORCE),
            ),
            own=folder / "own",
            application_uri="urn:lotmark:edge:W07",
            trusted=trusted,
            publishing_ms=10,
        )
        source = asyncio.create_task(OpcuaSource(settings, None).run(counting))
        try:
            await _until(lambda: counting.observations >= len(settings.signals), source)
            before, started_at = counting.observations, time.monotonic()
            while time.monotonic() - started_at < for_s:
                for _ in range(WELDS_AT_ONCE):
                    await welder.weld(7.6 + len(welder.made) % 13 / 10)
                await _until(lambda: len(welder.made) - counting.welds < UNSEEN_WELDS_MAX, source)
            expected = before + len(settings.signals) * len(welder.made)
            await _until(lambda: counting.observations >= expected or counting.gaps, source)
            elapsed_s = time.monotonic() - started_at
        finally:
            source.cancel()
            with suppress(asyncio.CancelledError):
                await source
        return Watched(len(welder.made), counting.observations - before, counting.gaps, elapsed_s)


async def _until(condition: Callable[[], object], source: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(ARRIVE_S):
        while not condition():
            if source.done():
                source.result()
            await asyncio.sleep(POLL_S)
