"""The pipeline: on disk when told, waiting for room without end, and no lie after it."""

import asyncio
import resource
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark.client.errors import OutboxFull
from lotmark_adapters.observation import (
    GapReason,
    Position,
    Report,
    SourceGap,
    SourceRecord,
)
from lotmark_node.edge.errors import EvidenceUnavailable, MemoryBusy
from lotmark_node.edge.kept_file import check_against_event
from lotmark_node.edge.pipeline import SitePipeline
from lotmark_node.edge.site_settings import Anchor, PolicyRule, SiteSettings, StoreSettings, When
from tests.node.edge.trial_site import (
    START_US,
    Clock,
    Kept,
    TrialSite,
    always_valid,
    observed,
    report,
    site_settings,
)

DEADLINE_S = 20.0
RETRY_S = 0.01
DAY_US = 86_400_000_000


class FullOutbox(Kept):
    """An outbox that has no room until somebody makes some."""

    def __init__(self) -> None:
        super().__init__()
        self.has_room = threading.Event()

    def submit(self, events: Sequence[bytes]) -> None:
        if not self.has_room.is_set():
            raise OutboxFull("the outbox holds 200000 events")
        super().submit(events)


async def opened(
    settings: SiteSettings,
    outbox: Kept,
    clock: Clock | None = None,
    jumped_us: Callable[[], int] = lambda: 0,
    **bounds: int,
) -> SitePipeline:
    return await SitePipeline.open(
        settings,
        outbox=outbox,
        calibration=always_valid,
        now_us=clock or Clock(),
        jumped_us=jumped_us,
        retry_s=RETRY_S,
        **bounds,
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # what it waits for happens on a thread
            await asyncio.sleep(RETRY_S)


async def ended(pipeline: SitePipeline, *tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await pipeline.close()


def test_what_was_taken_is_in_the_outbox_when_take_returns(tmp_path: Path) -> None:
    async def run() -> None:
        outbox = Kept()
        pipeline = await opened(site_settings(tmp_path), outbox)
        await pipeline.taker("W07").take(report([observed(1, "current", "9.1")]))

        assert len(outbox.events("measurement")) == 1
        assert pipeline.trouble == ""
        assert await pipeline.position("W07") == Position(
            instance="1", next_sequence=2, last_made_us=START_US + 100_000
        )
        await pipeline.close()

    asyncio.run(run())


def test_a_source_waits_while_the_outbox_is_full_and_nothing_is_lost_or_doubled(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        outbox = FullOutbox()
        pipeline = await opened(site_settings(tmp_path), outbox)
        take = asyncio.create_task(pipeline.take("W07", report([observed(1, "current", "9.1")])))
        await until(lambda: pipeline.trouble)
        assert "holds 200000 events" in pipeline.trouble
        assert not take.done()

        outbox.has_room.set()
        await asyncio.wait_for(take, DEADLINE_S)
        assert pipeline.trouble == ""
        assert len(outbox.events("measurement")) == 1
        await pipeline.close()

    asyncio.run(run())


def test_a_source_that_is_stopped_while_it_waits_may_tell_again_what_it_told(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        outbox = FullOutbox()
        pipeline = await opened(site_settings(tmp_path), outbox)
        told = report([observed(1, "current", "9.1")])
        take = asyncio.create_task(pipeline.take("W07", told))
        await until(lambda: pipeline.trouble)
        take.cancel()
        await asyncio.gather(take, return_exceptions=True)
        assert pipeline.trouble == ""

        outbox.has_room.set()
        await pipeline.take("W07", told)
        assert len(outbox.events("measurement")) == 1
        await pipeline.close()

    asyncio.run(run())


def test_what_no_outbox_took_is_handed_on_by_the_next_run(tmp_path: Path) -> None:
    async def first() -> None:
        pipeline = await opened(site_settings(tmp_path), FullOutbox())
        take = asyncio.create_task(pipeline.take("W07", report([observed(1, "current", "9.1")])))
        await until(lambda: pipeline.trouble)
        await ended(pipeline, take)

    async def second() -> None:
        outbox = Kept()
        pipeline = await opened(site_settings(tmp_path), outbox)
        await pipeline.close_due()
        assert len(outbox.events("measurement")) == 1
        await pipeline.close()

    asyncio.run(first())
    asyncio.run(second())


def gap(reason: GapReason) -> SourceGap:
    return SourceGap(reason=reason, count=3)


def reasons(outbox: Kept) -> list[str]:
    return [each.gap.reason for each in outbox.events("gap")]


def test_what_a_source_lost_while_it_waited_for_room_is_a_gap_of_a_full_disk(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        outbox, clock = FullOutbox(), Clock()
        pipeline = await opened(site_settings(tmp_path), outbox, clock)
        take = asyncio.create_task(pipeline.take("W07", report([observed(1, "current", "9.1")])))
        await until(lambda: pipeline.trouble)
        clock.now_us = START_US + 10_000_000
        outbox.has_room.set()
        await take
        # What waited in the source's queue was captured before there was room again.
        await pipeline.take(
            "W07",
            report([observed(2, "current", "8.1")], gaps=[gap(GapReason.CLIENT_QUEUE)]),
        )
        await pipeline.take(
            "W07", report([observed(3, "current", "8.1")], gaps=[gap(GapReason.STREAM_LOST)])
        )
        await pipeline.take("W07", report([observed(200, "current", "8.1")]))
        await pipeline.take(
            "W07", report([observed(201, "current", "8.1")], gaps=[gap(GapReason.CLIENT_QUEUE)])
        )

        assert reasons(outbox) == ["disk_full", "stream_lost", "client_queue"]
        await pipeline.close()

    asyncio.run(run())


def test_a_clock_that_is_set_back_does_not_prolong_what_came_of_waiting(tmp_path: Path) -> None:
    async def run() -> None:
        outbox, clock = FullOutbox(), Clock()
        clock.now_us = START_US + DAY_US
        set_by_us = 0
        pipeline = await opened(site_settings(tmp_path), outbox, clock, lambda: set_by_us)
        take = asyncio.create_task(pipeline.take("W07", report([observed(1, "current", "9.1")])))
        await until(lambda: pipeline.trouble)
        outbox.has_room.set()
        await take
        set_by_us, clock.now_us = -DAY_US, START_US

        await pipeline.take("W07", report([observed(2, "current", "8.1")]))
        await pipeline.take(
            "W07", report([observed(3, "current", "8.1")], gaps=[gap(GapReason.CLIENT_QUEUE)])
        )
        assert reasons(outbox) == ["client_queue"]
        await pipeline.close()

    asyncio.run(run())


def test_a_source_that_lost_nothing_while_it_waited_has_no_gap(tmp_path: Path) -> None:
    async def run() -> None:
        outbox = FullOutbox()
        pipeline = await opened(site_settings(tmp_path), outbox)
        take = asyncio.create_task(pipeline.take("W07", report([observed(1, "current", "9.1")])))
        await until(lambda: pipeline.trouble)
        outbox.has_room.set()
        await take
        await pipeline.take("W07", report([observed(2, "current", "8.1")]))

        assert reasons(outbox) == []
        await pipeline.close()

    asyncio.run(run())


def record(number: int, size: int) -> Report:
    content = number.to_bytes(4, "big") * (size // 4)
    told = SourceRecord(
        kind="vision_result",
        record=str(number),
        signal="result",
        made_us=START_US,
        media_type="application/octet-stream",
        content=content,
    )
    return Report(position=Position(instance="1", next_sequence=1), records=[told])


def test_a_source_waits_where_the_quota_is_reached_until_something_is_old_enough_to_go(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        settings = replace(
            site_settings(tmp_path), store=StoreSettings(quota_mb=1, retention_days=30)
        )
        outbox, clock = Kept(), Clock()
        pipeline = await opened(settings, outbox, clock)
        await pipeline.take("W07", record(1, 600_000))
        take = asyncio.create_task(pipeline.take("W07", record(2, 600_000)))
        await until(lambda: pipeline.trouble)
        assert "1200000 bytes, of 1000000 that quota_mb allows" in pipeline.trouble
        clock.now_us = START_US + 29 * DAY_US
        for _ in range(3):
            await pipeline.standing()  # the young file stays however often it is tried
        assert not take.done()

        clock.now_us = START_US + 31 * DAY_US
        await asyncio.wait_for(take, DEADLINE_S)
        await pipeline.close()

    asyncio.run(run())
    site = TrialSite(replace(site_settings(tmp_path)))
    (first, second) = (
        each for each in site.memory.decided_for("W07", "result") if each.what == "record"
    )
    kept = [site.memory.evidence(each.file) for each in (first, second)]
    (gone,) = [each for each in kept if each is not None and each.removed_us is not None]
    with pytest.raises(EvidenceUnavailable, match=r"unavailable since 2026-\d\d-\d\d"):
        site.store.read(gone.file)
    site.kill()


@contextmanager
def files_at_most(size: int) -> Iterator[Callable[[], None]]:
    """Let no file of this process grow beyond a size, as on a full disk; gives what ends that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    def make_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    try:
        yield make_room
    finally:
        make_room()


def many(first: int, count: int) -> Report:
    return report(observed(each, "current", "8.1") for each in range(first, first + count))


async def take_until_full(
    pipeline: SitePipeline, next_report: Callable[[int], Report]
) -> tuple[int, "asyncio.Task[None]"]:
    """Give reports until one has to wait; returns how many were given, and the last one's task."""
    for number in range(10_000):
        take = asyncio.create_task(pipeline.take("W07", next_report(number)))
        await until(lambda: pipeline.trouble or take.done())  # noqa: B023  # awaited within
        if not take.done():
            return number + 1, take
    raise AssertionError("it never was full")


def test_a_source_waits_while_the_disk_is_full_and_every_observation_is_kept_once(
    tmp_path: Path,
) -> None:
    outbox = Kept()

    async def run() -> int:
        pipeline = await opened(site_settings(tmp_path), outbox)
        with files_at_most(400_000) as make_room:
            # No window ends with a report: what was refused must not count in one.
            count, take = await take_until_full(pipeline, lambda at: many(1 + 98 * at, 98))
            assert "site.sqlite" in pipeline.trouble
            make_room()
            await asyncio.wait_for(take, DEADLINE_S)
        await pipeline.close_windows()
        await pipeline.close()
        return count * 98

    count = asyncio.run(run())
    site = TrialSite(site_settings(tmp_path))
    kept = site.kept_sequences()
    assert sorted(sequence for _, sequence in kept) == list(range(1, count + 1))
    assert set(kept.values()) == {1}
    windows = outbox.events("observation_window")
    assert sum(each.observation_window.observation_count for each in windows) == count
    for event in windows:
        check_against_event(site.store.read(event.files[0].sha256), event)
    site.kill()


def test_a_source_waits_while_a_file_finds_no_room_and_it_is_kept_afterwards(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        outbox = Kept()
        settings = site_settings(tmp_path, rules=[])
        pipeline = await opened(settings, outbox)
        await pipeline.take("W07", record(1, 4))
        content = record(2, 900_000)
        with files_at_most(700_000) as make_room:
            take = asyncio.create_task(pipeline.take("W07", content))
            await until(lambda: pipeline.trouble)
            make_room()
            await asyncio.wait_for(take, DEADLINE_S)
        await pipeline.close()
        files = [path for path in (tmp_path / "evidence").glob("??/*") if not path.suffix]
        assert sorted(path.stat().st_size for path in files) == [4, 900_000]

    asyncio.run(run())


def test_a_memory_that_reaches_its_bound_goes_on_once_windows_are_closed(tmp_path: Path) -> None:
    rule = PolicyRule(signals="*", when=When.ALWAYS, anchor=Anchor.LOCAL, window_count=100_000)

    async def run() -> None:
        clock = Clock()
        settings = site_settings(tmp_path, rules=[rule])
        pipeline = await opened(settings, Kept(), clock, memory_size_max=1_000_000)
        told = [many(1 + 100 * at, 100) for at in range(100)]
        told = [replace_captured(each) for each in told]
        _, take = await take_until_full(pipeline, lambda at: told[at])
        assert "of 1000000 at most" in pipeline.trouble
        clock.now_us = START_US + 3_600_000_000
        await pipeline.close_due()
        await pipeline.close_due()  # with this, what was handed on is forgotten
        await asyncio.wait_for(take, DEADLINE_S)
        await pipeline.close()

    asyncio.run(run())


def replace_captured(told: Report) -> Report:
    """Return a report whose observations were all captured at once."""
    at_once = [replace(each, captured_us=START_US) for each in told.observations]
    return replace(told, observations=at_once)


def test_a_window_is_closed_in_time_while_the_pipeline_runs(tmp_path: Path) -> None:
    async def run() -> None:
        outbox, clock = Kept(), Clock()
        pipeline = await opened(site_settings(tmp_path), outbox, clock)
        await pipeline.take("W07", report([observed(1, "current", "8.1")]))
        clock.now_us = START_US + 61_000_000
        task = asyncio.create_task(pipeline.run())
        await until(lambda: outbox.events("observation_window"))
        await ended(pipeline, task)

    asyncio.run(run())


def test_reports_of_others_go_between_where_very_many_windows_are_closed(tmp_path: Path) -> None:
    async def run() -> None:
        settings = site_settings(tmp_path)
        other = replace(settings.sources[0], name="W08")
        settings = replace(settings, sources=(*settings.sources, other))
        outbox, clock = Kept(), Clock()
        pipeline = await opened(settings, outbox, clock)
        told = [observed(each, f"signal {each}", "8.1") for each in range(1, 251)]
        await pipeline.take("W07", report(told))
        assert (await pipeline.standing()).window_count == 250

        clock.now_us = START_US + 3_600_000_000
        closing = asyncio.create_task(pipeline.close_due())
        await asyncio.sleep(0)  # it is ahead of the report
        await pipeline.take("W08", report([observed(1, "current", "9.1")]))
        between = await pipeline.standing()
        assert len(outbox.events("measurement")) == 1
        assert between.window_count > 200

        await closing
        after = await pipeline.standing()
        assert (after.window_count, after.pending_count) == (0, 0)
        await pipeline.close()

    asyncio.run(run())
    site = TrialSite(site_settings(tmp_path))
    assert len(site.files()) == 251
    site.kill()


def test_a_site_that_stops_closes_its_windows(tmp_path: Path) -> None:
    async def run() -> None:
        outbox = Kept()
        pipeline = await opened(site_settings(tmp_path), outbox)
        await pipeline.take("W07", report([observed(1, "current", "8.1")]))
        await pipeline.close_windows()
        standing = await pipeline.standing()
        assert (standing.window_count, standing.pending_count, standing.event_count) == (0, 0, 2)
        assert len(outbox.events("observation_window")) == 1
        await pipeline.close()

    asyncio.run(run())


def test_a_site_runs_once(tmp_path: Path) -> None:
    async def run() -> None:
        pipeline = await opened(site_settings(tmp_path), Kept())
        with pytest.raises(MemoryBusy, match="a site runs once"):
            await opened(site_settings(tmp_path), Kept())
        await pipeline.close()
        await (await opened(site_settings(tmp_path), Kept())).close()

    asyncio.run(run())
