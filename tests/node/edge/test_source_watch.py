"""A source's watch: alarms before anything else, order, bounds and counts."""

import asyncio
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark.client.errors import OutboxUnusable
from lotmark_adapters.observation import GapReason, Report, SourceGap, SourceRecord
from lotmark_node.edge import source_watch
from lotmark_node.edge.alarms import Alarms
from lotmark_node.edge.pipeline import SitePipeline
from lotmark_node.edge.source_watch import SourceWatch
from tests.node.edge.site_process import until
from tests.node.edge.trial_site import (
    Clock,
    Kept,
    always_valid,
    observed,
    report,
    site_settings,
)

RETRY_S = 0.01
DEADLINE_S = 10.0


class FullDisk(Kept):
    """An outbox whose disk is full until somebody makes room."""

    def __init__(self) -> None:
        super().__init__()
        self.has_room = threading.Event()

    def submit(self, events: Sequence[bytes]) -> None:
        if not self.has_room.is_set():
            raise OutboxUnusable("outbox.db cannot be written: its disk is full")
        super().submit(events)


class Held:
    """A taker that keeps nothing before it may; then everything, in its order."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.reports: list[Report] = []
        self.kept: list[int] = []

    async def take(self, report: Report) -> None:
        await self.may.wait()
        self.reports.append(report)
        self.kept += [each.sequence for each in report.observations]


def _watch(folder: Path, taker: Held) -> SourceWatch:
    (source,) = site_settings(folder).sources
    return SourceWatch(source, taker, Alarms(folder), Clock())


def test_alarms_are_told_while_the_disk_of_the_outbox_is_full_and_all_is_kept_afterwards(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        outbox, settings = FullDisk(), site_settings(tmp_path)
        pipeline = await SitePipeline.open(
            settings, outbox=outbox, calibration=always_valid, now_us=Clock(), retry_s=RETRY_S
        )
        alarms = Alarms(tmp_path)
        watch = SourceWatch(settings.sources[0], pipeline.taker("W07"), alarms, Clock())
        keeping = asyncio.create_task(watch.keep())

        for sequence in range(1, 51):
            # Returns at once, though nothing finds room.
            await watch.take(report([observed(sequence, "ns=2;s=Current", "9.1")]))

        assert alarms.count == 50
        assert len((tmp_path / "alarms.jsonl").read_text().splitlines()) == 50
        await until(lambda: "disk is full" in pipeline.trouble)
        assert (watch.observation_count, len(outbox.raw)) == (0, 0)
        outbox.has_room.set()
        await watch.finish()
        await keeping
        assert watch.observation_count == 50
        assert len(outbox.events("measurement")) == 50
        await pipeline.close()

    asyncio.run(scenario())


def test_alarms_are_told_while_no_file_can_be_stored(tmp_path: Path) -> None:
    async def scenario() -> None:
        outbox, settings = Kept(), site_settings(tmp_path)
        settings.data.mkdir(parents=True, exist_ok=True)
        in_the_way = settings.data / "evidence"
        in_the_way.write_bytes(b"no folder")
        pipeline = await SitePipeline.open(
            settings, outbox=outbox, calibration=always_valid, now_us=Clock(), retry_s=RETRY_S
        )
        alarms = Alarms(tmp_path)
        watch = SourceWatch(settings.sources[0], pipeline.taker("W07"), alarms, Clock())
        keeping = asyncio.create_task(watch.keep())
        await watch.take(report([observed(1, "ns=2;s=Note", "tip")]))  # a file of its own
        await until(lambda: "cannot be written" in pipeline.trouble)

        for sequence in range(2, 52):
            await watch.take(report([observed(sequence, "ns=2;s=Current", "9.1")]))
        assert len((tmp_path / "alarms.jsonl").read_text().splitlines()) == 50
        assert watch.observation_count == 0

        in_the_way.unlink()
        await watch.finish()
        await keeping
        assert len(outbox.events("measurement")) == 50
        await pipeline.close()

    asyncio.run(scenario())


def test_a_disk_that_does_not_take_an_alarm_holds_up_no_other_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alarms.jsonl")  # an append waits until somebody reads
    may_read, told = threading.Event(), list[bytes]()

    def read() -> None:
        may_read.wait(DEADLINE_S)
        told.append((tmp_path / "alarms.jsonl").read_bytes())

    async def scenario() -> None:
        held, alarms = Held(), Alarms(tmp_path)
        (source,) = site_settings(tmp_path).sources
        watch, other = (SourceWatch(source, held, alarms, Clock()) for _ in range(2))
        taking = asyncio.create_task(watch.take(report([observed(1, "ns=2;s=Current", "9.1")])))
        await asyncio.sleep(0)  # it has begun
        await other.take(report([observed(1, "ns=2;s=Current", "8.1")]))
        assert not taking.done()
        may_read.set()
        await taking

    reading = threading.Thread(target=read)
    reading.start()
    asyncio.run(scenario())
    reading.join()
    assert b'"value": "9.1"' in told[0]


def test_a_source_waits_once_so_much_is_ahead_of_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_watch, "AHEAD_OBSERVATIONS_MAX", 3)

    async def scenario() -> None:
        held = Held()
        watch = _watch(tmp_path, held)
        keeping = asyncio.create_task(watch.keep())
        giving = asyncio.create_task(_give(watch, 10))

        await until(lambda: watch.alarm_count == 4)  # the fourth waits, and was looked at
        for _ in range(10):
            await asyncio.sleep(0)
        assert (watch.alarm_count, giving.done()) == (4, False)

        held.may.set()
        await giving
        await watch.finish()
        await keeping
        assert held.kept == list(range(1, 11))

    asyncio.run(scenario())


def _with_record(sequence: int, size: int) -> Report:
    record = SourceRecord(
        kind="mtconnect_asset",
        record=f"T{sequence}",
        signal="changed",
        made_us=1,
        media_type="application/xml",
        content=bytes(size),
    )
    return replace(report([observed(sequence, "ns=2;s=Current", "9.1")]), records=[record])


def test_a_source_waits_once_so_many_bytes_of_records_are_ahead_of_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_watch, "AHEAD_RECORDS_SIZE_MAX", 3_000)
    monkeypatch.setattr(source_watch, "JOINED_RECORDS_SIZE_MAX", 2_000)

    async def scenario() -> None:
        held = Held()
        watch = _watch(tmp_path, held)
        await watch.take(_with_record(1, 1_000))
        await watch.take(_with_record(2, 1_000))
        await watch.take(_with_record(3, 1_000))
        waiting = asyncio.create_task(watch.take(_with_record(4, 1_000)))
        await until(lambda: watch.alarm_count == 4)  # told, though it waits
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()

        held.may.set()
        keeping = asyncio.create_task(watch.keep())
        await waiting
        await watch.finish()
        await keeping
        assert held.kept == [1, 2, 3, 4]
        assert all(len(each.records) <= 2 for each in held.reports)

    asyncio.run(scenario())


async def _give(watch: SourceWatch, count: int) -> None:
    for sequence in range(1, count + 1):
        await watch.take(report([observed(sequence, "ns=2;s=Current", "9.1")]))


def test_gaps_are_counted_by_reason_and_only_what_was_kept_counts(tmp_path: Path) -> None:
    async def scenario() -> None:
        held = Held()
        watch = _watch(tmp_path, held)
        keeping = asyncio.create_task(watch.keep())
        gaps = [
            SourceGap(reason=GapReason.OVERRUN, first=1, last=7, count=7),
            SourceGap(reason=GapReason.STREAM_LOST),
        ]
        await watch.take(report([observed(8, "ns=2;s=Current", "8.0")], gaps=gaps))
        assert (watch.observation_count, dict(watch.gap_counts)) == (0, {})
        assert watch.last_captured_us is not None

        held.may.set()
        await watch.finish()
        await keeping
        assert watch.observation_count == 1
        assert dict(watch.gap_counts) == {"overrun": 1, "stream_lost": 1}
        assert watch.missing_count == 7
        assert sum(watch.capture.read().counts) == 1

    asyncio.run(scenario())


def test_reports_that_wait_are_kept_as_one_up_to_the_next_gap_or_instance(tmp_path: Path) -> None:
    def seen(*numbers: int, instance: str = "1", is_gap: bool = False) -> Report:
        return report(
            [observed(number, "ns=2;s=Current", "8.0") for number in numbers],
            instance=instance,
            gaps=[SourceGap(reason=GapReason.OVERRUN)] if is_gap else [],
        )

    async def scenario() -> None:
        held = Held()
        watch = _watch(tmp_path, held)
        for each in (
            seen(1, 2), seen(3), seen(5, is_gap=True), seen(6), seen(1, instance="2"),
            seen(2, instance="2"),
        ):  # fmt: skip
            await watch.take(each)
        held.may.set()
        await watch.finish()
        await watch.keep()

        kept = [[each.sequence for each in one.observations] for one in held.reports]
        assert kept == [[1, 2, 3], [5, 6], [1, 2]]
        assert [len(one.gaps) for one in held.reports] == [0, 1, 0]
        assert [(one.position.instance, one.position.next_sequence) for one in held.reports] == [
            ("1", 4),
            ("1", 7),
            ("2", 3),
        ]

    asyncio.run(scenario())
