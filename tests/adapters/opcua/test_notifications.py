"""Messages taken in without a network: order, numbers, and every sign of a gap."""

import asyncio
import itertools
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from lotmark_adapters.observation import (
    GapReason,
    Observation,
    Position,
    Report,
    SourceGap,
    SourceRecord,
)
from lotmark_adapters.opcua.arrivals import REPORT_ITEMS_MAX, Arrivals
from lotmark_adapters.opcua.gap_signs import SignalWatch
from lotmark_adapters.opcua.notifications import Notifications
from lotmark_adapters.opcua.settings import OpcuaSignal
from lotmark_adapters.trial.recorded_notifications import (
    Taken,
    decode_notifications,
    record_notifications,
    take_notifications,
)
from lotmark_adapters.trial.watched_welds import watch_welds

COUNTER = OpcuaSignal(name="piece", node="ns=2;s=Piece", is_counter=True)
START = Position(instance="i", next_sequence=1)


def message(number: int, *values: object, code: int = 0) -> ua.NotificationMessage:
    items = [
        ua.MonitoredItemNotification(
            ClientHandle=1,
            Value=ua.DataValue(ua.Variant(value), ua.StatusCode(ua.UInt32(code))),
        )
        for value in values
    ]
    return ua.NotificationMessage(
        SequenceNumber=number, NotificationData=[ua.DataChangeNotification(MonitoredItems=items)]
    )


def gaps_of(*messages: ua.NotificationMessage) -> list[SourceGap]:
    """Return the gaps that messages of one counter show."""
    taken = Notifications({1: SignalWatch(COUNTER)}, "i", 1, items_max=1_000)
    for each in messages:
        taken.take(each, 1)
    gaps = list[SourceGap]()
    while len(taken.arrivals):
        gaps += taken.arrivals.report(START).gaps
    return gaps


def test_a_counter_that_passes_numbers_over_tells_which_and_how_many() -> None:
    (gap,) = gaps_of(message(1, 5, 6, 6, 10))

    assert gap.reason is GapReason.COUNTER_JUMP
    assert (gap.first, gap.last, gap.count) == (7, 9, 3)


def test_a_counter_set_back_is_a_new_instance_and_nothing_is_counted() -> None:
    (gap,) = gaps_of(message(1, 5, 2, 3))

    assert gap.reason is GapReason.INSTANCE_CHANGED
    assert (gap.first, gap.last, gap.count) == (6, 0, None)


@pytest.mark.parametrize("after", [3, 5, 6, 9])
def test_after_a_restart_of_the_server_no_counter_is_relied_on(after: int) -> None:
    watch = SignalWatch(COUNTER)
    taken = Notifications({1: watch}, "i", 1, items_max=1_000)
    taken.take(message(1, 5), 1)
    watch.resubscribed(has_restarted=True)
    taken.take(message(2, after, after + 1), 1)
    taken.arrivals.report(START)

    (gap,) = taken.arrivals.report(START).gaps
    assert gap.reason is GapReason.INSTANCE_CHANGED
    assert (gap.first, gap.last, gap.count) == (6, 0, None)


@pytest.mark.parametrize("code", [0x480, 0x4090_0480, 0x580])
def test_the_overflow_bit_is_seen_in_any_status(code: int) -> None:
    assert [gap.reason for gap in gaps_of(message(1, 5, code=code))] == [GapReason.OVERFLOW_BIT]


@pytest.mark.parametrize("code", [0, 0x400, 0x080, 0x8000_0000])
def test_half_of_the_overflow_bits_is_no_overflow(code: int) -> None:
    assert gaps_of(message(1, 5, code=code)) == []


SERIAL = OpcuaSignal(name="serial", node="ns=2;s=Serial")
CURRENT = OpcuaSignal(name="current", node="ns=2;s=Current")
SIGNALS = (COUNTER, CURRENT, SERIAL)
SOME_TIME = ua.DateTime(2026, 1, 12, 8, tzinfo=UTC)


def part(number: int, *told: tuple[int, int, object]) -> ua.NotificationMessage:
    """Return a message, or a part of it, of (handle, milliseconds, value)."""
    items = [
        ua.MonitoredItemNotification(
            ClientHandle=handle,
            Value=ua.DataValue(
                ua.Variant(value), SourceTimestamp=SOME_TIME + timedelta(milliseconds=ms)
            ),
        )
        for handle, ms, value in told
    ]
    return ua.NotificationMessage(
        SequenceNumber=number, NotificationData=[ua.DataChangeNotification(MonitoredItems=items)]
    )


def machine(*, items_max: int = 10_000) -> Notifications:
    watches = {handle: SignalWatch(signal) for handle, signal in enumerate(SIGNALS, 1)}
    return Notifications(watches, "i", 1, items_max=items_max)


def reports_of(taken: Notifications) -> list[Report]:
    reports, position = list[Report](), START
    while len(taken.arrivals):
        reports.append(taken.arrivals.report(position))
        position = reports[-1].position
    return reports


def told_by(report: Report) -> list[tuple[str, str | None]]:
    return [(each.signal.rpartition("=")[2], each.value) for each in report.observations]


def test_values_of_one_message_are_given_by_the_time_at_which_they_were_made() -> None:
    taken = machine()
    # As servers do: all of one signal, then all of the next.
    taken.take(part(1, (2, 10, 8.1), (2, 20, 8.2), (2, 30, 8.3), (3, 10, "A"), (3, 25, "B")), 1)

    (report,) = reports_of(taken)

    assert told_by(report) == [
        ("Current", "8.1"),
        ("Serial", "A"),
        ("Current", "8.2"),
        ("Serial", "B"),
        ("Current", "8.3"),
    ]
    assert [each.sequence for each in report.observations] == [1, 2, 3, 4, 5]
    assert report.position.next_sequence == 6


def test_a_clock_that_is_set_back_within_a_message_makes_no_gap_of_a_counter() -> None:
    taken = machine()
    taken.take(part(1, (1, 10, 5), (1, 20, 6), (1, 3, 7), (1, 13, 8)), 1)

    (report,) = reports_of(taken)

    assert not report.gaps
    assert [value for _, value in told_by(report)] == ["7", "5", "8", "6"]


def test_a_report_ends_between_two_instants_and_never_within_one() -> None:
    taken = machine()
    told = [(2, 10 * (at // 7), at) for at in range(7 * 300)]
    taken.take(part(1, *told), 1)

    reports = reports_of(taken)

    times = [{each.made_us for each in report.observations} for report in reports]
    assert len(reports) > 2
    for before, after in itertools.pairwise(times):
        assert before.isdisjoint(after)
    assert all(len(each.observations) <= REPORT_ITEMS_MAX for each in reports)


def test_an_instant_of_more_values_than_a_report_has_is_one_report() -> None:
    taken = machine()
    taken.take(part(1, *[(2, 10, at) for at in range(REPORT_ITEMS_MAX + 5)], (3, 10, "A")), 1)

    (report,) = reports_of(taken)

    assert len(report.observations) == REPORT_ITEMS_MAX + 6


def test_a_gap_within_a_message_lies_before_the_whole_instant_that_shows_it() -> None:
    taken = machine()
    taken.take(part(1, (2, 10, 8.1), (2, 20, 8.2), (1, 10, 5), (1, 20, 9), (3, 20, "B")), 1)

    first, second = reports_of(taken)

    assert told_by(first) == [("Current", "8.1"), ("Piece", "5")]
    assert [gap.reason for gap in second.gaps] == [GapReason.COUNTER_JUMP]
    assert told_by(second) == [("Current", "8.2"), ("Piece", "9"), ("Serial", "B")]


def test_what_was_missed_before_a_subscription_lies_before_all_that_it_tells() -> None:
    taken = machine()
    taken.take(part(1, (1, 10, 5)), 1)
    reports_of(taken)
    taken.untold = {handle: ua.DataValue() for handle in (1, 2, 3)}
    taken.take(part(2, (1, 40, 9), (2, 40, 8.1), (3, 30, "B")), 1)

    (report,) = reports_of(taken)

    assert [gap.reason for gap in report.gaps] == [GapReason.COUNTER_JUMP]
    assert told_by(report) == [("Serial", "B"), ("Piece", "9"), ("Current", "8.1")]


def test_a_message_in_parts_is_given_once_its_last_part_is_there() -> None:
    taken = machine()
    taken.take(part(1, (2, 10, 8.1), (2, 20, 8.2)), 1, has_more=True)
    assert reports_of(taken) == []
    taken.take(part(2, (1, 20, 6)), 1, has_more=True)
    assert reports_of(taken) == []
    taken.take(part(3, (3, 10, "A"), (3, 20, "B")), 1)

    (report,) = reports_of(taken)

    assert [value for _, value in told_by(report)] == ["8.1", "A", "8.2", "6", "B"]


@pytest.mark.parametrize("end", ["keep-alive", "missing", "released"])
def test_a_message_whose_last_part_never_comes_is_given_without(end: str) -> None:
    taken = machine()
    taken.take(part(1, (2, 10, 8.1)), 1, has_more=True)
    match end:
        case "keep-alive":
            taken.take(ua.NotificationMessage(2), 1)
        case "missing":
            taken.take(part(3, (3, 10, "A")), 1)
        case "released":
            taken.release()

    first, *others = reports_of(taken)

    assert told_by(first) == [("Current", "8.1")]
    assert [gap.reason for each in others for gap in each.gaps] == (
        [GapReason.UNREADABLE] if end == "missing" else []
    )


def test_a_server_that_always_has_another_part_is_not_held_for_ever() -> None:
    taken = machine(items_max=100)
    for number in range(1, 300):
        taken.take(part(number, (2, number, number)), 1, has_more=True)

    reports = reports_of(taken)

    assert len(reports[0].observations) == 100
    assert reports[-1].position.next_sequence == 201  # the others wait for their next part


def test_an_instant_that_does_not_fit_is_dropped_as_a_whole() -> None:
    taken = machine(items_max=4)
    taken.take(part(1, (1, 10, 1), (1, 20, 2), (2, 10, 1.0), (2, 20, 2.0), (3, 20, "B")), 1)

    first, second = reports_of(taken)

    assert told_by(first) == [("Piece", "1"), ("Current", "1")]
    (gap,) = second.gaps
    assert (gap.reason, gap.first, gap.last, gap.count) == (GapReason.CLIENT_QUEUE, 3, 5, 3)


def test_a_message_that_never_came_is_a_gap() -> None:
    assert gaps_of(message(7, 1), message(8, 2)) == []
    assert gaps_of(message(2**32 - 1, 1), message(1, 2)) == []
    (gap,) = gaps_of(message(7, 1), message(9, 2))
    assert gap.reason is GapReason.UNREADABLE


def test_a_status_change_ends_the_subscription() -> None:
    taken = Notifications({}, "i", 1, items_max=10)
    ended = ua.StatusChangeNotification(Status=ua.StatusCode(ua.UInt32(0x800A_0000)))

    assert taken.take(message(1, 5), 1) == ""
    assert taken.take(ua.NotificationMessage(2, NotificationData=[ended]), 1) == "BadTimeout"


@given(st.lists(st.sampled_from(["observation", "gap", "record", "kept"]), max_size=80))
def test_what_comes_is_kept_in_order_or_counted_whatever_fits(steps: list[str]) -> None:
    arrivals, position = Arrivals("i", items_max=5), START
    came: list[object] = []
    kept: list[object] = []
    sequence = 0

    def keep() -> None:
        nonlocal position
        report = arrivals.report(position)
        position = report.position
        kept.extend([*report.gaps, *report.observations, *report.records])

    for step in steps:
        match step:
            case "observation":
                sequence += 1
                arrivals.add_instant([Observation("s", sequence, sequence, 1, "1")])
                came.append(sequence)
            case "gap":
                arrivals.add_gap(SourceGap(reason=GapReason.TIME_JUMP))
            case "record":
                arrivals.add_record(RECORD)
                came.append("record")
            case _ if len(arrivals):
                keep()
    while len(arrivals):
        keep()

    numbers = [each.sequence for each in kept if isinstance(each, Observation)]
    dropped = [
        each
        for each in kept
        if isinstance(each, SourceGap) and each.reason is GapReason.CLIENT_QUEUE
    ]
    ranges = [range(each.first, each.last + 1) for each in dropped if each.first]
    assert numbers == sorted(numbers)
    assert sorted([*numbers, *(number for each in ranges for number in each)]) == list(
        range(1, sequence + 1)
    )
    assert position.next_sequence == sequence + 1
    if all(each.count is not None for each in dropped):
        records = [each for each in kept if isinstance(each, SourceRecord)]
        missing = sum(each.count or 0 for each in dropped)
        assert len(numbers) + len(records) + missing == len(came)


RECORD = SourceRecord(
    kind="vision_result", record="r", signal="results", made_us=1, media_type="t", content=b""
)


def test_a_report_has_its_gaps_before_all_else_and_is_bounded() -> None:
    arrivals = Arrivals("i", items_max=10_000)
    gap = SourceGap(reason=GapReason.TIME_JUMP)
    for sequence in range(1, REPORT_ITEMS_MAX + 2):
        arrivals.add_instant([Observation("s", sequence, sequence, 1, "1")])
    arrivals.add_gap(gap)
    arrivals.add_instant([Observation("s", REPORT_ITEMS_MAX + 2, 1, 1, "1")])

    first = arrivals.report(START)
    second = arrivals.report(first.position)
    third = arrivals.report(second.position)

    assert (len(first.observations), len(second.observations)) == (REPORT_ITEMS_MAX, 1)
    assert (list(third.gaps), len(third.observations)) == ([gap], 1)
    assert third.position.last_made_us == REPORT_ITEMS_MAX + 1  # the newest, not the last


def test_recorded_messages_are_taken_in_whole() -> None:
    messages = decode_notifications(record_notifications(250))
    without = [*messages[:1], *messages[2:]]

    assert take_notifications(messages) == Taken(observations=750, gaps=0, reports=3)
    # The message, and the welds that the counter says were in it.
    assert take_notifications(without).gaps == 2
    assert take_notifications(without).observations == 450


def test_welds_as_fast_as_the_server_tells_them_all_come(tmp_path: Path) -> None:
    watched = asyncio.run(watch_welds(tmp_path, for_s=0.5))

    assert watched.observations == 3 * watched.welds > 0
    assert watched.gaps == 0
