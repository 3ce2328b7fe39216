"""A station that runs: opened by its licence, watched image by image, and opened anew in time.

What is slow has threads of its own: one judges and reads the folder, one asks the ledger. So the
sources of the site beside it, and other stations, wait for neither.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from lotmark.client.settings import ClientSettings
from lotmark.errors import ProtocolError
from lotmark_consensus.latency import Latency
from lotmark_inference.errors import InferenceError
from lotmark_inference.policy import InspectionPolicy, Trigger, read_policy
from lotmark_node.edge.image_folder import ImageFolder
from lotmark_node.edge.licence_file import LicenceFile
from lotmark_node.edge.station_licence import NO_ANSWER, StationLicence
from lotmark_node.edge.station_mode import ModeFile
from lotmark_node.edge.station_run import StationImage, StationRun, opened_station
from lotmark_node.edge.station_settings import StationSettings

POLL_S = 0.2  # between two looks at the folder; an image is taken at the second one
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 60.0  # after which a refused station is tried again

# What a person has to mend, or a node that answers; the message says how.
REFUSALS = (InferenceError, ProtocolError, OSError)

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class StationState(StrEnum):
    """Whether a station judges."""

    OPENING = "opening"
    JUDGING = "judging"
    REFUSED = "refused"  # it is tried again and again
    FAILED = "failed"  # by an error in this program
    STOPPED = "stopped"


class StationKeeper(Protocol):
    """Keeps what a station makes; all is on disk when its calls return."""

    async def put(self, events: Sequence[bytes]) -> None:
        """Keep events, and hand them to the outbox."""

    async def keep(self, run: StationRun, image: StationImage) -> Path:
        """Keep an original and then its events, and return where the original lies."""


class StationWatch:
    """Runs one station; its figures may be read from any thread.

    Attributes:
        settings: The station's.
        state: Whether it judges.
        why: Why it does not; "" while it does.
        inference_count: Results of models.
        refused_count: Images that could not be judged, or not by every model that was asked.
        unnamed_count: Images whose name told no unit.
        unread_count: Images that lie there and cannot be read.
        alarm_count: Images of parts that do not conform.
        seconds: From taking an image up until it is kept and its events are in the outbox.
        alarm_seconds: From taking an image up until its alarm was told.
        licence_ms: When a node last said what the station may run, Unix time; None: not in this
            run, or not yet.
    """

    def __init__(
        self,
        settings: StationSettings,
        client: ClientSettings,
        folder: Path,
        keeper: StationKeeper,
        *,
        alarm: Callable[[StationImage], None],
        tell: Callable[[StationImage, Path], None],
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            settings: Of the station.
            client: Whose word counts, and whom it asks.
            folder: Where licence and mode are kept; made if absent.
            keeper: Keeps originals and events.
            alarm: Called first of all with an image whose part does not conform, on the station's
                thread, as `tell` is.
            tell: Called with every image once it is kept, and with where.
        """
        self.settings = settings
        self.state = StationState.OPENING
        self.why = ""
        self.inference_count = self.refused_count = self.alarm_count = 0
        self.unnamed_count = self.unread_count = 0
        self.seconds, self.alarm_seconds = Latency(), Latency()
        self.licence_ms: int | None = None
        self._client = client
        self._keeper = keeper
        self._alarm, self._tell = alarm, tell
        self._licence_file = LicenceFile(folder, settings.station)
        self._mode_file = ModeFile(folder, settings.station)
        self._images = ImageFolder(settings.images)
        self._settled_count = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=settings.station)

    @property
    def unremoved_count(self) -> int:
        """Images that are on record, and lie there still as they cannot be removed."""
        return self._images.unremoved_count

    async def run(self, stop: asyncio.Event) -> None:
        """Judge until `stop` is set; a refusal is told, and tried again.

        The pauses before that grow until an image was settled again.
        """
        retry_s, told = RETRY_FIRST_S, ""
        while not stop.is_set():
            settled_count = self._settled_count
            try:
                await self.run_once(stop)
                retry_s, told = RETRY_FIRST_S, ""
            except REFUSALS as error:
                # That it judged is not enough: each opening has an event, and may fail behind it.
                if self._settled_count > settled_count:
                    retry_s = RETRY_FIRST_S
                self._give_up(StationState.REFUSED, str(error))
                if str(error) != told:
                    self._log("station does not judge", str(error))
                told = str(error)
                await _set_within(stop, retry_s)
                retry_s = min(2 * retry_s, RETRY_MAX_S)
            except Exception as error:  # in this program; a restart would stop the others too
                self._give_up(StationState.FAILED, repr(error))
                logger.exception("station failed", extra={"station": self.settings.station})
                return
        self._give_up(StationState.STOPPED, "it was told to stop")

    async def run_once(
        self, stop: asyncio.Event, *, triggers: Sequence[Trigger] = (), only_present: bool = False
    ) -> None:
        """Open the station and judge, until `stop` is set or the ledger allows something else.

        Args:
            stop: Ends it behind the image that is being judged.
            triggers: What has happened at the line before.
            only_present: End once the images are judged that are there.

        Raises:
            InferenceError, ProtocolError, OSError: It may not or cannot run, or runs no more.
        """
        settings = self.settings
        policy = await self._on_thread(partial(_read_policy, settings.policy))
        ask = partial(self._licence_file.obtained, settings, self._client, policy)
        licence = await _aside(partial(ask, now_ms=_unix_ms()))
        self.licence_ms = licence.read_ms
        remembered = await self._on_thread(self._mode_file.read)
        opening = opened_station(settings, policy, licence, remembered)
        station = await self._on_thread(opening.__enter__)
        changed = asyncio.Event()
        renewing = asyncio.create_task(self._renew(policy, licence, changed))
        try:
            run = await self._on_thread(
                partial(StationRun, settings, station, self._mode_file, self._images)
            )
            # What cannot be written or read now would fail behind the event of each opening.
            await self._on_thread(run.keep_mode)
            await self._on_thread(run.poll)
            await self._put(run, run.opened())
            for trigger in triggers:
                await self._put(run, run.trigger(trigger))
            self.state, self.why = StationState.JUDGING, ""
            logger.info("station judges", extra={"station": settings.station})
            await self._judge(run, (stop, changed), only_present=only_present)
        finally:
            renewing.cancel()
            await self._on_thread(partial(opening.__exit__, None, None, None))

    async def _judge(
        self, run: StationRun, ends: Sequence[asyncio.Event], *, only_present: bool
    ) -> None:
        while not any(end.is_set() for end in ends):
            await _set_within(ends[0], POLL_S)
            for path, trigger in await self._on_thread(run.told_triggers):
                if events := run.trigger(trigger):
                    await self._keeper.put(events)
                await self._on_thread(partial(run.settle_trigger, path))
            for path in await self._on_thread(run.poll):
                if any(end.is_set() for end in ends):
                    return
                await self._take(run, path)
            self.unread_count = len(run.unread)
            if only_present:
                return

    async def _take(self, run: StationRun, path: Path) -> None:
        image = await self._on_thread(partial(run.judge, path))
        if image is None:
            return
        judgement = image.inspected.judgement
        if image.is_nonconforming:
            # On its thread: a slow disk holds up no source, and no other station.
            await self._on_thread(partial(self._alarm, image))
            self.alarm_count += 1
            self.alarm_seconds.add((time.monotonic_ns() - image.triggered_ns) / 1e9)
        kept = await self._keeper.keep(run, image)
        self.seconds.add((time.monotonic_ns() - image.triggered_ns) / 1e9)
        if image.inspected.trouble:
            self.refused_count += 1
        if judgement is not None:
            self.inference_count += len(judgement.results)
        if not image.unit:
            self.unnamed_count += 1
        try:
            await self._on_thread(partial(run.settle, image))
            self._settled_count += 1
        finally:  # also where its mode cannot be kept: it is not judged again
            await self._on_thread(partial(self._tell, image, kept))

    async def _put(self, run: StationRun, events: Sequence[bytes]) -> None:
        if events:
            await self._keeper.put(events)
        await self._on_thread(run.keep_mode)

    async def _renew(
        self, policy: InspectionPolicy, licence: StationLicence, changed: asyncio.Event
    ) -> None:
        """Ask again and again what may run, and set `changed` once that is something else."""
        ask = partial(self._licence_file.renewed, self.settings, self._client, policy)
        is_told = False
        while not changed.is_set():
            await asyncio.sleep(self.settings.renew_s)
            try:
                found = await _aside(partial(ask, now_ms=_unix_ms()))
            except (*NO_ANSWER, OSError) as error:
                if not is_told:
                    self._log("licence is not renewed", str(error))
                is_told = True
            except InferenceError:
                changed.set()  # opening anew says why not
            else:
                self.licence_ms, is_told = found.read_ms, False
                if found != licence:
                    logger.info(
                        "the ledger allows something else",
                        extra={"station": self.settings.station},
                    )
                    changed.set()

    def _give_up(self, state: StationState, why: str) -> None:
        self.state, self.why = state, why

    def _log(self, phrase: str, why: str) -> None:
        logger.error(phrase, extra={"station": self.settings.station, "reason": why})

    async def _on_thread(self, job: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)


def _read_policy(path: Path) -> InspectionPolicy:
    return read_policy(path.read_bytes(), source=str(path))


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


async def _set_within(event: asyncio.Event, timeout_s: float) -> None:
    """Return once an event is set, or the time is over."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)


def _aside(job: Callable[[], _Result]) -> Awaitable[_Result]:
    """Do a job in a thread for which the process's end does not wait, as a node may be silent."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()

    def end(settle: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(lambda: None if future.done() else settle())

    def work() -> None:
        try:
            result = job()
        except BaseException as error:  # whoever waits for the job gets it
            end(partial(future.set_exception, error))
        else:
            end(partial(future.set_result, result))

    threading.Thread(target=work, name="ledger", daemon=True).start()
    return future
