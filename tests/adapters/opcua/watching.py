"""A watched welder: its settings, and a taker that keeps every report in memory."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lotmark_adapters.observation import (
    GapReason,
    Observation,
    Position,
    Report,
    SourceGap,
    SourceRecord,
)
from lotmark_adapters.opcua.settings import OpcuaSettings, OpcuaSignal
from lotmark_adapters.opcua.source import OpcuaSource
from lotmark_adapters.trial.welder import COUNTER, CURRENT, FORCE, SERIAL, Welder

WAIT_S = 15.0
POLL_S = 0.01

SIGNALS = (
    OpcuaSignal(name="weld", node=COUNTER, is_counter=True),
    OpcuaSignal(name="current", node=CURRENT, unit="kA"),
    OpcuaSignal(name="force", node=FORCE, unit="kN"),
    OpcuaSignal(name="serial", node=SERIAL),
)


class Kept:
    """Whoever keeps reports: all of them, in their order, and none while it is held."""

    def __init__(self) -> None:
        self.items: list[Observation | SourceGap | SourceRecord] = []
        self.position: Position | None = None
        self.waits = False  # whether a report waits, since it is held
        self._may_keep = asyncio.Event()
        self._may_keep.set()

    async def take(self, report: Report) -> None:
        self.waits = not self._may_keep.is_set()
        await self._may_keep.wait()
        self.waits = False
        self.items += [*report.gaps, *report.observations, *report.records]
        self.position = report.position

    def hold(self) -> None:
        self._may_keep.clear()

    def go_on(self) -> None:
        self._may_keep.set()

    @property
    def observations(self) -> list[Observation]:
        return [each for each in self.items if isinstance(each, Observation)]

    @property
    def gaps(self) -> list[SourceGap]:
        return [each for each in self.items if isinstance(each, SourceGap)]

    @property
    def records(self) -> list[SourceRecord]:
        return [each for each in self.items if isinstance(each, SourceRecord)]

    @property
    def reasons(self) -> list[GapReason]:
        return [gap.reason for gap in self.gaps]

    def values(self, node: str) -> list[str | None]:
        return [each.value for each in self.observations if each.signal == node]


class Machine:
    """A welder that lives as long as its event loop, over many tests."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.welder = Welder(folder)
        self.runner.run(self.welder.__aenter__())

    def close(self) -> None:
        self.runner.run(self.welder.__aexit__(None, None, None))
        self.runner.close()


def welder_settings(welder: Welder, folder: Path, **changes: Any) -> OpcuaSettings:
    """Return settings by which the welder is trusted."""
    trusted = folder / "trusted"
    trusted.mkdir(exist_ok=True)
    shutil.copy(welder.certificate, trusted)
    settings = OpcuaSettings(
        name="W07",
        address=welder.address,
        signals=SIGNALS,
        own=folder / "own",
        application_uri="urn:lotmark:edge:W07",
        trusted=trusted,
        publishing_ms=20,
        answer_s=1.0,
    )
    return replace(settings, **changes)


@asynccontextmanager
async def watching(
    settings: OpcuaSettings, kept: Kept, position: Position | None = None
) -> AsyncIterator[Callable[[Callable[[], object]], Any]]:
    """Run a source; gives what waits for a condition, and raises what the source raises."""
    task = asyncio.create_task(OpcuaSource(settings, position).run(kept))

    async def until(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                if task.done():
                    task.result()
                await asyncio.sleep(POLL_S)

    try:
        yield until
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def refusal(settings: OpcuaSettings) -> str:
    """Return why a source ends at once."""
    async with asyncio.timeout(WAIT_S):
        try:
            await OpcuaSource(settings, None).run(Kept())
        except Exception as error:  # the test says which words it must have
            return f"{type(error).__name__}: {error}"
    raise AssertionError("it went on")
