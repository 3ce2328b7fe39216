"""From what sources tell to the outbox: the coroutines' face of the recorder.

    pipeline = await SitePipeline.open(settings, outbox=…, calibration=…)
    source.run(pipeline.taker("W07"))      # each report is on disk when `take` returns
    await pipeline.run()                   # closes windows in time, until cancelled
    await pipeline.close()

All that is kept is kept by one thread, in the order in which it came. Where there is no room on a
disk, in the store or in the outbox, `take` waits; and a source that has lost something over that
says so with its next report.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from lotmark.client.errors import OutboxFull, OutboxUnusable
from lotmark_adapters.observation import GapReason, Position, Report
from lotmark_node.edge.clock_jumps import ClockJumps
from lotmark_node.edge.errors import MemoryBusy, MemoryUnusable, StoreFull, StoreUnusable
from lotmark_node.edge.evidence_store import EvidenceStore
from lotmark_node.edge.memory_file import SIZE_MAX
from lotmark_node.edge.memory_records import Session
from lotmark_node.edge.recording import Calibration
from lotmark_node.edge.site_memory import SiteMemory
from lotmark_node.edge.site_recorder import EventOutbox, SiteRecorder, Standing
from lotmark_node.edge.site_settings import SiteSettings

logger = logging.getLogger(__name__)

RETRY_S = 1.0  # after which what found no room is tried again
TICK_S = 1.0  # in which windows are looked at whose time may be over
TIDY_S = 3_600.0  # in which the store is looked at for files whose retention is over

# What passes by itself once somebody has made room, or the ledger has taken what waits.
NO_ROOM = (MemoryBusy, MemoryUnusable, StoreFull, StoreUnusable, OutboxFull, OutboxUnusable)
_LOST_BY_WAITING = frozenset({GapReason.CLIENT_QUEUE, GapReason.OVERRUN, GapReason.OVERFLOW_BIT})

_Result = TypeVar("_Result")


def _now_us() -> int:
    return time.time_ns() // 1_000


class SitePipeline:
    """Keeps what the sources of a site tell. For the coroutines of one event loop."""

    def __init__(
        self,
        recorder: SiteRecorder,
        memory: SiteMemory,
        thread: ThreadPoolExecutor,
        *,
        now_us: Callable[[], int],
        jumped_us: Callable[[], int],
        retry_s: float,
    ) -> None:
        """Take over what `open` has opened on the thread."""
        self._recorder = recorder
        self._memory = memory
        self._thread = thread
        self._now_us = now_us
        self._jumped_us = jumped_us
        self._retry_s = retry_s
        self._troubles: dict[object, str] = {}
        self._backlog_until_us: dict[
            str, int
        ] = {}  # by source that had to wait; as if the clock were never set

    @classmethod
    async def open(
        cls,
        settings: SiteSettings,
        *,
        outbox: EventOutbox,
        calibration: Calibration,
        now_us: Callable[[], int] = _now_us,
        jumped_us: Callable[[], int] | None = None,
        retry_s: float = RETRY_S,
        memory_size_max: int = SIZE_MAX,
    ) -> Self:
        """Open a site's memory and store, and go on where they end.

        Args:
            settings: The site's.
            outbox: Takes events; called on the pipeline's thread.
            calibration: Tells of a source's gauge at a time; called on the pipeline's thread.
            now_us: This machine's clock.
            jumped_us: By how much that was set ahead since; None: its steady clock shows it.
            retry_s: After which what found no room is tried again.
            memory_size_max: Bytes of the memory's file, beyond which sources wait.

        Raises:
            MemoryBusy: The site runs already.
            MemoryUnusable: The memory cannot be opened.
            PolicyRefused: The policy contradicts what is on record under its name.
        """
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lotmark-site")
        jumped_us = jumped_us or ClockJumps(now_us)

        def opened() -> tuple[SiteRecorder, SiteMemory]:
            settings.data.mkdir(parents=True, exist_ok=True)
            memory = SiteMemory.open(settings.data, site=settings.site, size_max=memory_size_max)
            try:
                store = EvidenceStore(settings.data, memory, settings.store)
                return (
                    SiteRecorder(
                        settings,
                        memory,
                        store,
                        outbox,
                        calibration=calibration,
                        now_us=now_us,
                        jumped_us=jumped_us,
                    ),
                    memory,
                )
            except BaseException:
                memory.close()
                raise

        try:
            recorder, memory = await asyncio.get_running_loop().run_in_executor(thread, opened)
        except BaseException:
            thread.shutdown()
            raise
        return cls(recorder, memory, thread, now_us=now_us, jumped_us=jumped_us, retry_s=retry_s)

    @property
    def trouble(self) -> str:
        """Why sources wait at present; "" where all is well."""
        return next(iter(self._troubles.values()), "")

    def taker(self, source: str) -> "SourceTaker":
        """Return who takes the reports of a source."""
        return SourceTaker(self, source)

    async def take(self, source: str, report: Report) -> None:
        """Keep a report and hand on what follows from it, waiting for room without end.

        When this returns, the report is on disk, and so are the events that are made of it, in the
        outbox. Where it is cancelled, the report was kept or not; if it comes again, it is not
        kept twice.
        """
        report = self._told_truly(source, report)
        places, waited = await self._until_room(partial(self._recorder.take, source, report))
        waited |= await self._hand_on(places)
        if waited:
            self._backlog_until_us[source] = self._now_us() - self._jumped_us()

    def _told_truly(self, source: str, report: Report) -> Report:
        """Return the report with the reason of gaps that came of waiting for room here.

        A source knows only that what it holds was not taken in time.
        """
        until_us = self._backlog_until_us.get(source)
        if until_us is None:
            return report
        until_us += self._jumped_us()
        if all(each.captured_us >= until_us for each in report.observations) and not report.gaps:
            del self._backlog_until_us[source]
            return report
        gaps = [
            replace(gap, reason=GapReason.DISK_FULL) if gap.reason in _LOST_BY_WAITING else gap
            for gap in report.gaps
        ]
        return replace(report, gaps=gaps)

    async def put(self, events: Sequence[bytes], *, session: Session | None = None) -> None:
        """Put events on record that were made elsewhere; waits for room as `take` does.

        Args:
            events: In the order in which they go on record.
            session: The run that begins or ends with them; None: none does.
        """
        await self._hand_on()  # what a run's begin and end are about goes before them
        await self._until_room(partial(self._recorder.put, events, session=session))
        await self._hand_on()

    async def put_original(self, station: str, content: bytes, events: Sequence[bytes]) -> Path:
        """Keep a station's original, and put its events on record; waits for room as `take` does.

        When this returns, the file is in the store and the events are in the outbox.

        Args:
            station: Whose.
            content: The file.
            events: In the order in which they go on record.

        Returns:
            Where the file lies.
        """
        job = partial(self._recorder.put_original, station, content, events)
        places, _ = await self._until_room(job)
        await self._hand_on(places)
        return self._recorder.path_of(content)

    async def standing(self) -> Standing:
        """Return where the site stands.

        Raises:
            MemoryUnusable: The memory cannot be read.
        """
        return await self._on_thread(self._recorder.standing)

    async def position(self, source: str) -> Position | None:
        """Return how far a source has come; None: nothing of it was taken yet.

        Raises:
            MemoryUnusable: The memory cannot be read.
        """
        standing = await self.standing()
        return next((each.position for each in standing.sources if each.name == source), None)

    async def run(self) -> None:
        """Close windows in time, hand on what waits, remove what is outdated; until cancelled."""
        tidy_at_s = time.monotonic()
        while True:
            await self.close_due()
            if time.monotonic() >= tidy_at_s:
                await self._until_room(self._recorder.remove_outdated)
                tidy_at_s = time.monotonic() + TIDY_S
            await asyncio.sleep(TICK_S)

    async def close_due(self) -> None:
        """Close the windows whose time is over, and hand on all that waits."""
        await self._close_windows(due_only=True)

    async def close_windows(self) -> None:
        """Close all windows, as the site stops taking; waits for room as `take` does."""
        await self._close_windows(due_only=False)

    async def close(self) -> None:
        """Close the memory; open windows stay open in it, and what waits is handed on next time."""
        try:
            with contextlib.suppress(*NO_ROOM):  # then it is handed on twice, which does no harm
                await self._on_thread(self._recorder.forget_handed_on)
        finally:
            await self._on_thread(self._memory.close)
            self._thread.shutdown()

    async def _close_windows(self, *, due_only: bool) -> None:
        """Close windows in turns, each handed on before the next: others' reports go between."""
        has_more = True
        while has_more:
            close = partial(self._recorder.close_windows, due_only=due_only)
            has_more, _ = await self._until_room(close)
            await self._hand_on()

    async def _hand_on(self, wanted: range | None = None) -> bool:
        """Hand on what waits, in turns, until what is wanted is; None: all.

        Returns:
            Whether it had to wait for room.
        """
        has_more, has_waited = True, False
        while has_more:
            has_more, waited = await self._until_room(partial(self._recorder.hand_on_next, wanted))
            has_waited |= waited
        return has_waited

    async def _until_room(self, job: Callable[[], _Result]) -> tuple[_Result, bool]:
        """Do a job, again and again while there is no room.

        Returns:
            What it returns, and whether it had to wait.
        """
        has_waited = False
        with self._troubled() as tell:
            while True:
                try:
                    result = await self._on_thread(job)
                except NO_ROOM as error:
                    if not has_waited:
                        logger.warning("sources wait for room", extra={"reason": str(error)})
                    has_waited = True
                    tell(str(error))
                    await asyncio.sleep(self._retry_s)
                else:
                    break
        if has_waited:
            logger.info("there is room again")
        return result, has_waited

    @contextlib.contextmanager
    def _troubled(self) -> Iterator[Callable[[str], None]]:
        """Give what tells of trouble, which is over when this ends."""
        token = object()
        try:
            yield partial(self._troubles.__setitem__, token)
        finally:
            self._troubles.pop(token, None)

    async def _on_thread(self, job: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)


class SourceTaker:
    """Takes the reports of one source."""

    def __init__(self, pipeline: SitePipeline, source: str) -> None:
        """Hand them to a pipeline under the source's name."""
        self._pipeline = pipeline
        self._source = source

    async def take(self, report: Report) -> None:
        """Keep a report; it is on disk when this returns."""
        await self._pipeline.take(self._source, report)
