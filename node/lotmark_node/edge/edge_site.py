"""An edge site that runs: its parts, from the session's beginning to its end.

What comes first: the outbox, the memory, the session's beginning; then one task for each source
and station. One that is refused is told and left alone, and the others go on. What comes last:
sources and stations stop, windows are closed, the session's end is put on record, and the outbox
is emptied for a while.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lotmark.client.client import Client
from lotmark.client.clock import Clock
from lotmark.client.settings import read_client_settings
from lotmark_adapters.errors import AdapterError
from lotmark_adapters.observation import ReportTaker
from lotmark_adapters.webhooks.message import Message
from lotmark_node.edge.alarms import Alarms
from lotmark_node.edge.errors import MemoryUnusable
from lotmark_node.edge.gauges import CertificateRecorder, Gauges
from lotmark_node.edge.image_listener import listening
from lotmark_node.edge.pipeline import SitePipeline
from lotmark_node.edge.referenced_images import ReferencedImages
from lotmark_node.edge.sessions import SiteSessions
from lotmark_node.edge.site_outbox import SiteOutbox
from lotmark_node.edge.site_recorder import Standing
from lotmark_node.edge.site_settings import SiteSettings
from lotmark_node.edge.source_watch import SourceWatch, WatchState
from lotmark_node.edge.sources import check_source, is_insecure_source, make_source
from lotmark_node.edge.station_alerts import alerting
from lotmark_node.edge.station_keeping import SiteKeeper
from lotmark_node.edge.station_run import StationImage
from lotmark_node.edge.station_settings import StationSettings
from lotmark_node.edge.station_watch import StationState, StationWatch

BEGIN_S = 2.0  # for the session's beginning to be in the outbox, before sources are watched
END_S = 10.0  # for the last windows and the session's end to be put on record
KEEP_RETRY_S = 10.0  # after which a source's reports are tried again that could not be kept
LOOK_S = 2.0  # so old are the figures that monitoring is shown

logger = logging.getLogger(__name__)


def machine_time_us() -> int:
    """Return this machine's time."""
    return time.time_ns() // 1_000


@dataclass(slots=True, kw_only=True)
class EdgeSite:
    """A site that runs; monitoring reads it from other threads.

    Attributes:
        settings: Its settings.
        outbox: Takes its events.
        pipeline: Keeps what its sources tell.
        alarms: Tells values outside their limits.
        watches: One for each source.
        stations: One for each inspection station.
        image_addresses: Where images may be pushed, by station; those that listen.
        session: Id of this run.
        standing: Where it stood a little while ago.
    """

    settings: SiteSettings
    outbox: SiteOutbox
    pipeline: SitePipeline
    alarms: Alarms
    watches: Sequence[SourceWatch]
    stations: Sequence[StationWatch]
    image_addresses: Mapping[str, str]
    session: bytes
    standing: Standing
    is_insecure: bool
    now_us: Callable[[], int]

    def not_ready(self) -> str | None:
        """Return why the site does not do all of its work now; None: it does."""
        if trouble := self.pipeline.trouble:
            return f"sources wait: {trouble}"
        for watch in self.watches:
            if watch.state is not WatchState.WATCHED:
                return f"source {watch.settings.name} is not watched: {watch.why}"
        for station in self.stations:
            if station.state is not StationState.JUDGING:
                why = station.why or "it is being opened"
                return f"station {station.settings.station} does not judge: {why}"
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Watch all until `stop` is set; what was taken is kept when this returns."""
        certificates = CertificateRecorder(self.settings, self.pipeline, self.now_us)
        async with asyncio.TaskGroup() as group:
            keeping = [group.create_task(self._keep(watch)) for watch in self.watches]
            others = [
                group.create_task(each)
                for each in (
                    self.pipeline.run(),
                    certificates.run(),
                    self._look(),
                    *(self._watch(watch) for watch in self.watches),
                )
            ]
            judging = [group.create_task(station.run(stop)) for station in self.stations]
            await stop.wait()
            for task in others:
                task.cancel()
            for watch in self.watches:
                await watch.finish()
            ending = [*keeping, *judging]  # stations alone, or sources alone, make a site as well
            await asyncio.wait(ending, timeout=END_S)
            for task in ending:
                task.cancel()

    async def _keep(self, watch: SourceWatch) -> None:
        """Keep what one source tells; whatever becomes of it, the others are kept."""
        while True:
            try:
                return await watch.keep()
            except Exception as error:  # in this program; nothing of the report was kept
                logger.exception("a report is not kept", extra={"source": watch.settings.name})
                why = f"a report is not kept: {error!r}"
            if watch.state is WatchState.WATCHED:
                watch.give_up(WatchState.FAILED, why)
            await asyncio.sleep(KEEP_RETRY_S)
            if watch.why == why:
                watch.state, watch.why = WatchState.WATCHED, ""

    async def _watch(self, watch: SourceWatch) -> None:
        """Watch one source; whatever becomes of it, the others are watched."""
        name = watch.settings.name
        if is_insecure_source(watch.settings):
            logger.warning(
                "source is insecure: neither encrypted nor known",
                extra={"source": name, "remedy": "name trusted certificates before real use"},
            )
        try:
            source = make_source(
                watch.settings,
                await self.pipeline.position(name),
                folder=self.settings.folder,
                is_insecure=self.is_insecure,
            )
            await source.run(watch)
        except AdapterError as error:
            watch.give_up(WatchState.REFUSED, str(error))
            logger.error("source is not watched", extra={"source": name, "reason": str(error)})
        except Exception as error:  # in this program; a restart would stop the others too
            watch.give_up(WatchState.FAILED, repr(error))
            logger.exception("source is not watched", extra={"source": name})

    async def _look(self) -> None:
        """Take note of where the site stands, again and again, until cancelled."""
        told = ""
        while True:
            trouble = self.pipeline.trouble
            if trouble and not told:
                self.alarms.tell_trouble(self.settings.site, trouble, self.now_us())
            told = trouble
            self.outbox.look()
            with suppress(MemoryUnusable):  # which is told where it matters
                self.standing = await self.pipeline.standing()
            await asyncio.sleep(LOOK_S)


def check_sources(settings: SiteSettings, *, is_insecure: bool) -> None:
    """Check what only the sources' protocols know of the settings; nothing is connected to.

    Raises:
        SourceRefused: An option is unknown or cannot be, or one is insecure and may not be.
    """
    for source in settings.sources:
        check_source(source, folder=settings.folder, is_insecure=is_insecure)


@asynccontextmanager
async def open_site(
    settings: SiteSettings,
    client: Client,
    *,
    is_insecure: bool,
    now_us: Callable[[], int] = machine_time_us,
) -> AsyncIterator[EdgeSite]:
    """Open a site's memory and begin a session; put its end on record after the block.

    Args:
        settings: The site's; `check_sources` finds nothing wrong.
        client: Sends what goes on record; its owner closes it afterwards.
        is_insecure: Whether an OPC UA server may be watched that nobody knows.
        now_us: This machine's time.

    Raises:
        EdgeError: The memory or the policy cannot be used.
        AdapterError: A source's settings, the trusted laboratories or webhooks cannot be used.
        OSError: An address for pushed images cannot be used.
    """
    sessions, outbox = SiteSessions(settings, Clock()), SiteOutbox(client)
    gauges = Gauges(settings, now_us)
    async with AsyncExitStack() as stack:
        pipeline = await SitePipeline.open(
            settings, outbox=outbox, calibration=gauges.state_at, now_us=now_us
        )
        stack.push_async_callback(pipeline.close)
        opening = sessions.opening(await pipeline.standing())
        begun = asyncio.create_task(pipeline.put(opening.events, session=opening.session))
        stack.push_async_callback(_end, pipeline, sessions)
        stack.callback(begun.cancel)
        # Where the outbox is full, the session's beginning waits there for room; sources need not.
        await asyncio.wait([begun], timeout=BEGIN_S)
        alarms = Alarms(settings.data, post=settings.alarm_post)
        stack.callback(alarms.close)
        watches = [
            SourceWatch(source, _taker(source.name, settings, pipeline), alarms, now_us)
            for source in settings.sources
        ]
        alerts = {
            webhooks: stack.enter_context(alerting(webhooks))
            for webhooks in {each.webhooks for each in settings.stations}
        }
        stations = [
            _station(each, settings, pipeline, alarms, alerts[each.webhooks], now_us)
            for each in settings.stations
        ]
        listeners = {
            each.station: stack.enter_context(listening(each)) for each in settings.stations
        }
        yield EdgeSite(
            settings=settings,
            outbox=outbox,
            pipeline=pipeline,
            alarms=alarms,
            watches=watches,
            stations=stations,
            image_addresses={name: at for name, at in listeners.items() if at is not None},
            session=opening.session.session,
            standing=await pipeline.standing(),
            is_insecure=is_insecure,
            now_us=now_us,
        )


def _taker(source: str, settings: SiteSettings, pipeline: SitePipeline) -> ReportTaker:
    """Return who takes a source's reports, and brings the images that its results name."""
    return ReferencedImages(
        source, pipeline.taker(source), settings.stations, pipeline.put, pipeline.put_original
    )


def _station(
    station: StationSettings,
    site: SiteSettings,
    pipeline: SitePipeline,
    alarms: Alarms,
    alert: Callable[[Callable[[], Message | None]], None],
    now_us: Callable[[], int],
) -> StationWatch:
    """Return a station whose alarms, originals and events are the site's."""

    def alarm(image: StationImage) -> None:
        alarms.tell_part(image.alarm(station.station, now_us=now_us()))

    def tell(image: StationImage, _kept: Path) -> None:
        alert(partial(image.alert, station.station, made_ms=now_us() // 1_000))

    return StationWatch(
        station,
        read_client_settings(site.client),
        site.stations_folder,
        SiteKeeper(pipeline, station.station),
        alarm=alarm,
        tell=tell,
    )


async def _end(pipeline: SitePipeline, sessions: SiteSessions) -> None:
    """Close windows and put the session's end on record, if there is room for it in time."""
    try:
        async with asyncio.timeout(END_S):
            await pipeline.close_windows()
            closing = sessions.closing(await pipeline.standing())
            await pipeline.put(closing.events, session=closing.session)
    except (TimeoutError, MemoryUnusable) as error:
        # Nothing that was kept is lost. Where the end was not kept, the next run says that this one
        # was broken off.
        logger.error(
            "the site's end found no room",
            extra={"reason": pipeline.trouble or str(error) or f"not within {END_S:g} s"},
        )
