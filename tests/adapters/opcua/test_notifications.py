"""Messages taken in without a network: order, numbers, and every sign of a gap."""

import asyncio
from pathlib import Path

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from lotmark_adapters.observation import GapReason, Observation, Position, SourceGap, SourceRecord
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
                arrivals.add_observation(Observation("s", sequence, sequence, 1, "1"))
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
        arrivals.add_observation(Observation("s", sequence, sequence, 1, "1"))
    arrivals.add_gap(gap)
    arrivals.add_observation(Observation("s", REPORT_ITEMS_MAX + 2, 1, 1, "1"))

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
