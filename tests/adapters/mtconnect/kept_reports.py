"""Whoever keeps what a source tells, in memory, and what a test asks of that."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from lotmark_adapters.mtconnect.settings import MtconnectSettings
from lotmark_adapters.mtconnect.source import MtconnectSource
from lotmark_adapters.observation import (
    GapReason,
    Observation,
    Position,
    Report,
    SourceGap,
    SourceRecord,
)
from lotmark_adapters.trial.agent import Agent

WAIT_MAX_S = 20.0
POLL_S = 0.005


class KeptReports:
    """Keeps all reports, as a memory that outlives its source does."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    async def take(self, report: Report) -> None:
        self.reports.append(report)

    @property
    def position(self) -> Position | None:
        return self.reports[-1].position if self.reports else None

    @property
    def observations(self) -> list[Observation]:
        return [each for report in self.reports for each in report.observations]

    @property
    def gaps(self) -> list[SourceGap]:
        return [each for report in self.reports for each in report.gaps]

    @property
    def records(self) -> list[SourceRecord]:
        return [each for report in self.reports for each in report.records]

    def has_caught_up(self, agent: Agent) -> bool:
        """Return whether all that an agent has made is accounted for, one way or another."""
        position = self.position
        return position is not None and (position.instance, position.next_sequence) == (
            agent.instance,
            agent.next_sequence,
        )

    def check_account(self, agent: Agent, *, since: int = 1) -> None:
        """Check that each observation ever made is here once, or lies in a gap that counts it.

        Args:
            agent: Who made them.
            since: The first of its first instance that had to be accounted for.
        """
        observed = Counter(
            (report.position.instance, each.sequence)
            for report in self.reports
            for each in report.observations
        )
        assert not [each for each, times in observed.items() if times > 1], "observed twice"
        produced = list(agent.produced())
        last = dict(produced)  # the last number of each instance
        starts = list(last)
        missing: set[tuple[str, int]] = set()
        for gap in self.gaps:
            end = gap.last or last[gap.instance]
            numbers = {(gap.instance, number) for number in range(gap.first, end + 1)}
            if gap.reason is GapReason.INSTANCE_CHANGED:
                # A start that came and went before anybody asked lies between the two.
                between = starts[starts.index(gap.instance) + 1 : starts.index(gap.next_instance)]
                numbers |= {each for each in produced if each[0] in between}
            numbers -= set(observed)
            assert not numbers & missing, f"missing twice: {gap}"
            assert gap.count in (None, len(numbers)), gap
            assert gap.last or gap.reason is GapReason.INSTANCE_CHANGED
            missing |= numbers
        first_instance = produced[0][0]
        owed = {each for each in produced if each[0] != first_instance or each[1] >= since}
        assert set(observed) | missing == owed


async def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for a condition, within a deadline."""
    end_s = time.monotonic() + WAIT_MAX_S
    while not is_so():
        assert time.monotonic() < end_s, f"not within {WAIT_MAX_S:g} s: {what}"
        await asyncio.sleep(POLL_S)


@asynccontextmanager
async def watched(
    address: str,
    kept: KeptReports,
    *,
    signals: frozenset[str] = frozenset(),
    heartbeat_ms: int = 150,
    count: int = 1_000,
    stream_retry_s: float = 60.0,
    document_size_max: int = 8_000_000,
    assets: bool = True,
) -> AsyncIterator[MtconnectSource]:
    """Watch an agent from where `kept` has come to, as a process does until it is killed."""
    settings = MtconnectSettings(
        name="press-7",
        address=address,
        signals=signals,
        interval_ms=10,
        heartbeat_ms=heartbeat_ms,
        count=count,
        document_size_max=document_size_max,
        assets=assets,
    )
    source = MtconnectSource(settings, kept.position, stream_retry_s=stream_retry_s)
    task = asyncio.create_task(source.run(kept))
    try:
        yield source
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
