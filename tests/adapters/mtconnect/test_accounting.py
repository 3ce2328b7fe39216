"""What a document tells from a position on: observations, and exact gaps for its holes."""

from lotmark_adapters.mtconnect.accounting import (
    HOLES_MAX,
    Scope,
    account,
    account_overrun,
    account_restart,
    account_start,
    next_instance,
    unreadable,
)
from lotmark_adapters.mtconnect.documents import Header, Streams
from lotmark_adapters.observation import GapReason, Observation, Position
from lotmark_adapters.trial.recorded_stream import account_stream, record_stream

WHOLE = Scope(is_whole_agent=True)
DEVICE = Scope(is_whole_agent=False)
AT_5 = Position(instance="7", next_sequence=5, last_made_us=4)


def streams(*sequences: int, first: int, following: int, instance: str = "7") -> Streams:
    header = Header(
        instance=instance, buffer_size=100, first=first, last=following - 1, next=following
    )
    return Streams(
        header, [Observation(f"s{each % 2}", each, each, 0, "1") for each in sequences], ()
    )


def test_a_document_without_holes_has_no_gap() -> None:
    report = account(streams(5, 6, 7, first=1, following=8), AT_5, WHOLE)

    assert [each.sequence for each in report.observations] == [5, 6, 7]
    assert (report.gaps, report.position) == (
        [], Position(instance="7", next_sequence=8, last_made_us=7),
    )  # fmt: skip


def test_observations_from_before_the_position_and_second_ones_are_not_taken_again() -> None:
    report = account(streams(3, 4, 5, 5, 6, first=1, following=7), AT_5, WHOLE)

    assert [each.sequence for each in report.observations] == [5, 6]
    assert report.gaps == []


def test_holes_of_a_whole_agent_are_gaps_each_with_its_reason_and_count() -> None:
    report = account(streams(9, 12, first=7, following=14), AT_5, WHOLE)

    assert [(gap.reason, gap.first, gap.last, gap.count) for gap in report.gaps] == [
        (GapReason.OVERRUN, 5, 6, 2),
        (GapReason.UNREADABLE, 7, 8, 2),
        (GapReason.UNREADABLE, 10, 11, 2),
        (GapReason.UNREADABLE, 13, 13, 1),
    ]
    assert {gap.last_seen_us for gap in report.gaps} == {4}
    assert {gap.resumed_us for gap in report.gaps} == {9}


def test_holes_of_one_device_may_be_another_devices_but_not_what_the_buffer_lost() -> None:
    report = account(streams(9, 12, first=7, following=14), AT_5, DEVICE)

    assert [(gap.reason, gap.first, gap.last, gap.count) for gap in report.gaps] == [
        (GapReason.OVERRUN, 5, 6, None)
    ]
    assert report.position.next_sequence == 14


def test_data_items_that_were_not_chosen_move_the_position_and_are_no_gap() -> None:
    chosen = Scope(is_whole_agent=True, signals={"s1"})

    report = account(streams(5, 6, 7, 8, first=1, following=9), AT_5, chosen)

    assert [each.sequence for each in report.observations] == [5, 7]
    assert (report.gaps, report.position.next_sequence) == ([], 9)


def test_very_many_holes_are_one_gap_with_their_count() -> None:
    odd = range(5, 5 + 2 * HOLES_MAX + 3, 2)

    report = account(streams(*odd, first=1, following=odd[-1] + 1), AT_5, WHOLE)

    (gap,) = report.gaps
    assert (gap.first, gap.last, gap.count) == (6, odd[-1] - 1, HOLES_MAX + 1)


def test_a_jump_of_the_header_alone_is_a_gap_that_costs_no_time() -> None:
    report = account(streams(first=1, following=2**62), AT_5, WHOLE)

    (gap,) = report.gaps
    assert (gap.first, gap.last) == (5, 2**62 - 1)


def test_a_recorded_stream_is_accounted_for_to_its_last_observation() -> None:
    accounted = account_stream(record_stream(5_000, document_count=300))

    assert (accounted.observations, accounted.missing) == (5_000, 0)
    assert accounted.position.next_sequence == 5_001


def test_a_first_start_tells_all_that_the_agent_has_and_misses_nothing() -> None:
    report = account_start(
        streams(20, 21, first=20, following=22), streams(3, 8, 21, first=20, following=22), WHOLE
    )

    assert [each.sequence for each in report.observations] == [3, 8, 20, 21]
    assert (report.gaps, report.position.next_sequence) == ([], 22)


def test_an_overrun_spares_the_values_that_still_hold() -> None:
    report = account_overrun(
        streams(20, 21, first=20, following=22),
        streams(3, 5, 8, 19, 21, first=20, following=22),
        AT_5,
        WHOLE,
    )

    assert [each.sequence for each in report.observations] == [5, 8, 19, 20, 21]
    (gap,) = report.gaps
    assert (gap.reason, gap.first, gap.last, gap.count) == (GapReason.OVERRUN, 6, 18, 12)


def test_an_overrun_of_values_that_all_still_hold_is_no_gap() -> None:
    report = account_overrun(
        streams(7, first=7, following=8), streams(5, 6, first=7, following=8), AT_5, WHOLE
    )

    assert [each.sequence for each in report.observations] == [5, 6, 7]
    assert report.gaps == []


def test_a_restart_is_the_open_rest_of_the_old_instance_and_the_lost_begin_of_the_new() -> None:
    report = account_restart(
        streams(20, 21, first=20, following=22, instance="8"), None, AT_5, WHOLE
    )

    assert [
        (gap.reason, gap.instance, gap.next_instance, gap.first, gap.last, gap.count)
        for gap in report.gaps
    ] == [
        (GapReason.INSTANCE_CHANGED, "7", "8", 5, 0, None),
        (GapReason.OVERRUN, "8", "", 1, 19, 19),
    ]
    assert report.position == Position(instance="8", next_sequence=22, last_made_us=21)


def test_an_agent_that_comes_back_under_the_same_id_is_another_instance_each_time() -> None:
    header = streams(first=1, following=2).header

    assert next_instance(AT_5, header) == "7/2"
    assert next_instance(Position(instance="7/2", next_sequence=5), header) == "7/3"
    assert next_instance(Position(instance="6/9", next_sequence=5), header) == "7"


def test_what_cannot_be_read_is_a_gap_up_to_its_last_number() -> None:
    report = unreadable(AT_5, 6, WHOLE)

    (gap,) = report.gaps
    assert (gap.reason, gap.first, gap.last, gap.count) == (GapReason.UNREADABLE, 5, 6, 2)
    assert report.position == Position(instance="7", next_sequence=7, last_made_us=4)
