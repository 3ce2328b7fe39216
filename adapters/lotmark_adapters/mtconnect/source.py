"""An MTConnect agent as a source: read without a break, each number observed or told as a gap."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from lotmark_adapters.errors import (
    RequestRefused,
    SourceRefused,
    SourceUnavailable,
    UnreadableDocument,
)
from lotmark_adapters.mtconnect.accounting import (
    Scope,
    account,
    account_overrun,
    account_restart,
    account_start,
    is_same_instance,
    unreadable,
)
from lotmark_adapters.mtconnect.agent_client import AgentClient
from lotmark_adapters.mtconnect.assets import all_assets, changed_assets, marked_superseded
from lotmark_adapters.mtconnect.device_model import ProbedSignal, read_signals
from lotmark_adapters.mtconnect.documents import OUT_OF_RANGE, Header, Streams
from lotmark_adapters.mtconnect.settings import MtconnectSettings
from lotmark_adapters.observation import Position, Report, ReportTaker, SourceRecord

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 10.0
POLL_MIN_S = 0.02
COUNT_DIVISOR = 4  # of what is asked for, after an unreadable answer
STREAM_RETRY_S = 60.0  # for so long it polls, once streaming has failed
UNREADABLE_TRIES_MAX = 3  # of one answer, before its observations are given up
UNREADABLE_RUN_MAX = 10_000  # observations in a row that are given up at once

logger = logging.getLogger(__name__)


class MtconnectSource:
    """One agent, or one device of it; `run` gives what it tells.

    Attributes:
        signals: What the agent said that it can tell, by data item id; empty until it was asked.
    """

    def __init__(
        self,
        settings: MtconnectSettings,
        position: Position | None,
        *,
        stream_retry_s: float = STREAM_RETRY_S,
    ) -> None:
        """Prepare to go on behind a position; None: with the oldest that the agent has.

        Raises:
            SourceRefused: The file of certificates cannot be used.
        """
        self.signals: dict[str, ProbedSignal] = {}
        self._settings = settings
        self._position = position
        self._stream_retry_s = stream_retry_s
        self._scope = Scope(is_whole_agent=not settings.device, signals=settings.signals)
        self._client = AgentClient(settings)
        self._count = settings.count  # less, while larger answers are unreadable
        self._count_max = settings.count
        self._unreadable_tries = 0
        self._streams_again_s = 0.0  # monotonic
        self._has_followed = False  # the agent, in this run
        self._has_all_assets = False  # that the agent had when this run began

    async def run(self, taker: ReportTaker) -> None:
        """Give all that the agent tells, until cancelled; once.

        Raises:
            SourceRefused: The agent does not have the device of the address, or a chosen data item,
                or shows a certificate that is not trusted, and it was so from the start.
        """
        backoff_s = BACKOFF_FIRST_S
        async with self._client:
            while True:
                before = self._position
                try:
                    await self._follow(taker)
                except SourceUnavailable as error:
                    logger.warning(
                        "mtconnect agent unavailable",
                        extra={"source": self._settings.name, "problem": str(error)},
                    )
                except SourceRefused as error:
                    if not self._has_followed:
                        raise
                    # It was right before: what answers now may be another for a minute.
                    logger.error(
                        "mtconnect agent refused",
                        extra={"source": self._settings.name, "problem": str(error)},
                    )
                if self._position != before:
                    backoff_s = BACKOFF_FIRST_S
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)

    async def _follow(self, taker: ReportTaker) -> None:
        """Come to where the agent is, then take what it tells, until it does not answer."""
        await self._probe()
        self._unreadable_tries = 0
        await self._catch_up(taker)
        self._has_followed = True
        if not self._has_all_assets:  # a run that was killed may not have come to its last ones
            await self._give_assets(taker, await self._all_assets())
        while True:
            before = self._position
            try:
                await self._take_more(taker)
            except RequestRefused as error:
                if OUT_OF_RANGE not in error.codes:
                    raise
                await self._catch_up(taker)
                if self._position == before:  # then it is not the number that is out of range
                    self._count = max(1, self._count // COUNT_DIVISOR)
                    logger.info(
                        "mtconnect agent refuses, asking for less",
                        extra={"source": self._settings.name, "problem": str(error)},
                    )
            if self._position == before:
                await asyncio.sleep(max(self._settings.interval_ms / 1_000, POLL_MIN_S))

    async def _probe(self) -> None:
        """Learn what the agent can tell; a chosen data item that it lacks at the start is refused.

        One that it lacks later, after its machine was changed, does not end the others.
        """
        read = partial(read_signals, place=self._client.place)
        described = await self._client.parsed(read, await self._client.probe())
        is_first = not self.signals
        self.signals = {each.address: each for each in described}
        self._client.units = {each.address: each.unit for each in described}
        missing = sorted(set(self._settings.signals) - set(self.signals))
        if missing and is_first:
            raise SourceRefused(
                f"{self._client.place} has no data item {missing[0][:80]!a} ({len(missing)} of the"
                " chosen are missing); take ids that `lotmark edge probe` lists"
            )
        if missing:
            logger.warning(
                "mtconnect data items gone",
                extra={"source": self._settings.name, "first": missing[0], "count": len(missing)},
            )

    async def _take_more(self, taker: ReportTaker) -> None:
        """Take a stream to its end, then a single document, which shows whether the agent lives.

        A stream may end without a gap: what it did not bring is asked for again by its number.
        """
        has_failed = False
        if self._count == self._count_max and time.monotonic() >= self._streams_again_s:
            has_failed = not await self._take_stream(taker)
        await self._take_document(taker)
        if has_failed:  # though the agent answers
            self._streams_again_s = time.monotonic() + self._stream_retry_s
            logger.info(
                "mtconnect agent does not stream, polling", extra={"source": self._settings.name}
            )

    async def _take_stream(self, taker: ReportTaker) -> bool:
        """Take the documents of a stream; return whether it brought any.

        It is left at the first document that does not go on where the position is, or has holes:
        whether that is so is asked once more by `_take_document`.
        """
        position = self._known_position()
        documents = 0
        try:
            async with aclosing(
                self._client.stream(position.next_sequence, count=self._count)
            ) as stream:
                async for streams in stream:
                    documents += 1
                    position = self._known_position()
                    if not _goes_on(streams, position):
                        break
                    report = account(streams, position, self._scope)
                    if report.gaps:
                        break
                    await self._give(taker, report, streams)
        except RequestRefused:
            raise
        except SourceUnavailable as error:
            logger.info(
                "mtconnect stream lost",
                extra={"source": self._settings.name, "problem": str(error)},
            )
        return documents > 0

    async def _take_document(self, taker: ReportTaker) -> None:
        position = self._known_position()
        try:
            streams = await self._client.sample(position.next_sequence, count=self._count)
        except UnreadableDocument as error:
            await self._pass_unreadable(taker, error)
            return
        self._unreadable_tries = 0
        self._count = min(2 * self._count, self._count_max)
        if _goes_on(streams, position):
            await self._give(taker, account(streams, position, self._scope), streams)
        else:
            await self._catch_up(taker)

    async def _pass_unreadable(self, taker: ReportTaker, error: UnreadableDocument) -> None:
        """Ask for less, down to a single observation; then give up what stays unreadable."""
        if self._count > 1:
            self._count = max(1, self._count // COUNT_DIVISOR)
            return
        await self._probe()  # where that is unreadable too, not the observations are at fault
        self._unreadable_tries += 1
        if self._unreadable_tries < UNREADABLE_TRIES_MAX:
            return
        self._unreadable_tries = 0
        position = self._known_position()
        last = await self._last_unreadable(position, error)
        logger.warning(
            "mtconnect observations unreadable",
            extra={"source": self._settings.name, "first": position.next_sequence, "last": last},
        )
        await self._give(taker, unreadable(position, last, self._scope), None)

    async def _last_unreadable(self, position: Position, error: UnreadableDocument) -> int:
        """Return the last number before the next observation, or end, that can be read.

        Raises:
            SourceUnavailable: There is none: not the observations are at fault.
        """
        first = position.next_sequence
        for last in range(first, first + UNREADABLE_RUN_MAX):
            for _ in range(UNREADABLE_TRIES_MAX):
                try:
                    behind = await self._client.sample(last + 1, count=1)
                except UnreadableDocument:
                    continue
                if not _goes_on(behind, position) or behind.header.last < last:
                    raise error
                return last
            await self._probe()
        raise error

    async def _catch_up(self, taker: ReportTaker) -> None:
        """Find out where the agent is, and account for what lies between it and the position.

        Where nothing is lost, nothing is taken. Else all is read that the buffer still has: from
        its oldest observation on, asked for without a number, as any number could be lost until
        the agent reads it.
        """
        current = await self._current()
        if current is not None and not self._is_behind(current.header):
            self._count_max = min(self._settings.count, max(1, current.header.buffer_size))
            self._count = min(self._count, self._count_max)
            return
        oldest = await self._oldest()
        if oldest is None and current is not None:
            # Asked for by its number then, and given up if it stays unreadable.
            oldest = Streams(replace(current.header, next=current.header.first), [], ())
        if oldest is None:
            if self._position is None:
                raise UnreadableDocument(
                    f"{self._client.place}: neither its newest nor its oldest observations can be"
                    " read"
                )
            return  # what can be read shows where the agent is
        if current is not None and current.header.instance != oldest.header.instance:
            raise SourceUnavailable(f"{self._client.place}: was started anew just now")
        if self._position is not None and not is_same_instance(self._position, oldest.header):
            await self._probe()  # it may have been started anew for another device model
        report = self._behind(oldest, current)
        if report is not None:
            await self._give(taker, report, oldest, with_all_assets=True)

    def _is_behind(self, header: Header) -> bool:
        """Return whether the buffer has lost the position, or is another one."""
        position = self._position
        return (
            position is None
            or not is_same_instance(position, header)
            or not header.first <= position.next_sequence <= header.last + 1
        )

    def _behind(self, oldest: Streams, current: Streams | None) -> Report | None:
        """Return what a buffer tells that has lost the position; None: it has not."""
        position, header = self._position, oldest.header
        if not self._is_behind(header):
            return None
        if position is None:
            return account_start(oldest, current, self._scope)
        if is_same_instance(position, header) and position.next_sequence <= header.last + 1:
            return account_overrun(oldest, current, position, self._scope)
        return account_restart(oldest, current, position, self._scope)

    async def _current(self) -> Streams | None:
        """Return the newest observations, None where they cannot be read."""
        try:
            return await self._client.current()
        except UnreadableDocument as error:
            self._tell_unreadable(error)
            return None

    async def _oldest(self) -> Streams | None:
        """Return the oldest observations, fewer where the agent refuses or spoils so many.

        None: not even the oldest one can be read.
        """
        count = self._count
        while True:
            try:
                return await self._client.sample(None, count=count)
            except RequestRefused as error:
                if OUT_OF_RANGE not in error.codes or count == 1:
                    raise
            except UnreadableDocument as error:
                self._tell_unreadable(error)
                if count == 1:
                    return None
            count = max(1, count // COUNT_DIVISOR)

    def _tell_unreadable(self, error: UnreadableDocument) -> None:
        logger.info(
            "mtconnect document unreadable",
            extra={"source": self._settings.name, "problem": str(error)},
        )

    async def _give(
        self,
        taker: ReportTaker,
        report: Report,
        streams: Streams | None,
        *,
        with_all_assets: bool = False,
    ) -> None:
        """Hand on a report, then the assets it tells of, or all: no observation waits for them."""
        if report.position == self._position and not report.gaps:
            return  # a heartbeat
        notices = streams.assets if streams is not None and self._settings.assets else ()
        observations = report.observations
        if notices:
            report = replace(report, observations=marked_superseded(observations, notices))
        await taker.take(report)
        self._position = report.position
        changed = await changed_assets(self._client, observations, notices) if notices else []
        known = {each.record for each in changed}
        others = await self._all_assets() if with_all_assets else []
        records = [*(each for each in others if each.record not in known), *changed]
        await self._give_assets(taker, records)

    async def _all_assets(self) -> list[SourceRecord]:
        """Return all assets the agent has, as notices of them may be lost."""
        self._has_all_assets = True
        signal = next((each for each in self.signals.values() if _tells_of_assets(each)), None)
        chosen = self._scope.signals
        if not self._settings.assets or signal is None or (chosen and signal.address not in chosen):
            return []
        return await all_assets(self._client, signal.address, time.time_ns() // 1_000)

    async def _give_assets(self, taker: ReportTaker, records: Sequence[SourceRecord]) -> None:
        if records:
            await taker.take(Report(position=self._known_position(), records=records))

    def _known_position(self) -> Position:
        assert self._position is not None, "it was caught up before"
        return self._position


def _goes_on(streams: Streams, position: Position) -> bool:
    """Return whether a document is of the buffer that the position is in, and not behind it."""
    return is_same_instance(position, streams.header) and (
        streams.header.next >= position.next_sequence
    )


def _tells_of_assets(signal: ProbedSignal) -> bool:
    return signal.type.partition(".")[0] == "ASSET_CHANGED"
