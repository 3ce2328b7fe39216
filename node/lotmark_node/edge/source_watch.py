"""What stands between a source and the pipeline: alarms are told first, and all is counted.

Reports go on in their order, by a bounded queue: while the pipeline waits for room, a source is
listened to for that much longer, so that its alarms are told. Nothing is promised to it by that.
Its place in the memory moves only with what is kept there, and after a kill it goes on from there.

The counts are of this run alone, for whoever watches the process; what must not be lost is in the
site's memory.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from enum import StrEnum

from lotmark_adapters.observation import Report, ReportTaker
from lotmark_consensus.latency import Latency
from lotmark_node.edge.alarms import Alarms, Limits
from lotmark_node.edge.site_settings import SourceSettings

AHEAD_OBSERVATIONS_MAX = 20_000  # that are listened to and not kept yet; about 6 MB
AHEAD_REPORTS_MAX = 2_000
AHEAD_RECORDS_SIZE_MAX = 32_000_000  # bytes of records, beyond which no report is added
JOINED_OBSERVATIONS_MAX = 2_000  # that are kept in one transaction
JOINED_RECORDS_SIZE_MAX = 8_000_000  # bytes of records in one, where they are of several reports


class WatchState(StrEnum):
    """Whether a source is watched."""

    WATCHED = "watched"  # or tried again and again, where it does not answer
    REFUSED = "refused"  # it is not what the settings say, or not trusted: a person must act
    FAILED = "failed"  # by an error in this program


class SourceWatch:
    """Takes the reports of one source; its counts may be read from any thread.

    Attributes:
        settings: The source's.
        state: Whether it is watched.
        why: Why it is not; "" while it is.
        observation_count: Observations that were kept.
        record_count: Records that were kept.
        gap_counts: Gaps, by reason.
        missing_count: Observations in them, as far as they were counted.
        alarm_count: Observations that were not known to be within their limits.
        started_us: When it began.
        last_captured_us: When the newest observation came, Unix time; None: none has.
        capture: From an observation's coming until its report is on disk, and in the outbox.
    """

    def __init__(
        self,
        settings: SourceSettings,
        taker: ReportTaker,
        alarms: Alarms,
        now_us: Callable[[], int],
    ) -> None:
        self.settings = settings
        self.state = WatchState.WATCHED
        self.why = ""
        self.observation_count = self.record_count = 0
        self.gap_counts: Counter[str] = Counter()
        self.missing_count = 0
        self.alarm_count = 0
        self.started_us = now_us()
        self.last_captured_us: int | None = None
        self.capture = Latency()
        self._taker = taker
        self._alarms = alarms
        self._limits = Limits(settings.name, settings.signals)
        self._now_us = now_us
        self._ahead: deque[Report] = deque()
        self._ahead_count = 0  # of observations in these
        self._ahead_size = 0  # bytes of the records in these
        self._changed = asyncio.Condition()
        self._is_finishing = False

    async def take(self, report: Report) -> None:
        """Tell the report's alarms, and let it be kept behind those before it.

        It waits while as much is ahead of what is kept as may be.
        """
        observations = report.observations
        if alarms := self._limits.alarms(observations):
            # On a thread: a slow disk holds up no other source.
            await asyncio.to_thread(self._alarms.tell, alarms)
            self.alarm_count += len(alarms)
        if observations:
            self.last_captured_us = max(each.captured_us for each in observations)
        async with self._changed:
            await self._changed.wait_for(self._has_room)
            self._ahead.append(report)
            self._ahead_count += len(observations)
            self._ahead_size += _records_size(report)
            self._changed.notify_all()

    async def keep(self) -> None:
        """Keep what was taken, report by report, until `finish` was called and all is kept."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._ahead) or self._is_finishing)
            if not self._ahead:
                return
            await self._keep_next()

    async def finish(self) -> None:
        """Let `keep` end; nothing more comes."""
        async with self._changed:
            self._is_finishing = True
            self._changed.notify_all()

    def give_up(self, state: WatchState, why: str) -> None:
        """Take note that the source is watched no more."""
        self.state, self.why = state, why

    async def _keep_next(self) -> None:
        reports = self._next()
        report = _joined(reports)
        await self._taker.take(report)
        observations = report.observations
        async with self._changed:
            for _ in reports:
                self._ahead.popleft()
            self._ahead_count -= len(observations)
            self._ahead_size -= _records_size(report)
            self._changed.notify_all()
        self.observation_count += len(observations)
        self.record_count += len(report.records)
        for gap in report.gaps:
            self.gap_counts[gap.reason.value] += 1
            self.missing_count += gap.count or 0
        if observations:
            first_us = min(each.captured_us for each in observations)
            self.capture.add(max(0.0, (self._now_us() - first_us) / 1e6))

    def _next(self) -> list[Report]:
        """Return the reports that can be kept as one: so they share their waits for the disk."""
        first, *others = self._ahead
        found, count, size = [first], len(first.observations), _records_size(first)
        for each in others:
            count += len(each.observations)
            size += _records_size(each)
            # Gaps lie before a report's observations, and numbers are of one instance.
            if (
                each.gaps
                or each.position.instance != first.position.instance
                or count > JOINED_OBSERVATIONS_MAX
                or size > JOINED_RECORDS_SIZE_MAX
            ):
                break
            found.append(each)
        return found

    def _has_room(self) -> bool:
        return (
            self._ahead_count < AHEAD_OBSERVATIONS_MAX
            and len(self._ahead) < AHEAD_REPORTS_MAX
            and self._ahead_size < AHEAD_RECORDS_SIZE_MAX
        )


def _records_size(report: Report) -> int:
    return sum(len(each.content) for each in report.records)


def _joined(reports: Sequence[Report]) -> Report:
    """Return reports that follow each other, of which only the first has gaps, as one."""
    if len(reports) == 1:
        return reports[0]
    return Report(
        position=reports[-1].position,
        observations=[each for report in reports for each in report.observations],
        gaps=reports[0].gaps,
        records=[each for report in reports for each in report.records],
    )
