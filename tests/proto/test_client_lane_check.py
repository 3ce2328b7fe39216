"""Whether an outbox goes on in its lane, for everything that a node may show of it."""

import pytest

from lotmark.batch import ZERO_HASH
from lotmark.client.errors import LaneStateError
from lotmark.client.lane_check import LaneVerdict, judge_lane
from lotmark.client.outbox import Lane
from lotmark.v1 import ledger_pb2

KEY = bytes(range(32))
FRESH = Lane(KEY, 7)


def id_of(sequence: int) -> bytes:
    return bytes([sequence]) * 32 if sequence else ZERO_HASH


LANE = Lane(KEY, 7, 9, id_of(9))
WAITING = {sequence: id_of(sequence) for sequence in (7, 8, 9)}


def shown(
    sequence: int, batch_id: bytes | None = None, *, closed: bool = False
) -> ledger_pb2.GetLaneStateResponse:
    told = id_of(sequence) if batch_id is None else batch_id
    return ledger_pb2.GetLaneStateResponse(
        sequence=sequence, batch_id=told if sequence else b"", closed=closed
    )


def test_a_lane_goes_on_where_the_ledger_has_any_part_of_what_waits() -> None:
    assert judge_lane(FRESH, {}, shown(0)) is LaneVerdict.IN_LANE
    assert judge_lane(LANE, {}, shown(9)) is LaneVerdict.IN_LANE
    for sequence in (6, 7, 8, 9):
        assert judge_lane(LANE, WAITING, shown(sequence)) is LaneVerdict.IN_LANE
    unsent = {sequence: id_of(sequence) for sequence in (1, 2)}
    for sequence in (0, 1, 2):
        assert judge_lane(Lane(KEY, 7, 2, id_of(2)), unsent, shown(sequence)) is LaneVerdict.IN_LANE


@pytest.mark.parametrize("waiting", [{}, WAITING])
def test_a_lane_that_has_gone_on_without_this_outbox_is_left_for_what_is_new(
    waiting: dict[int, bytes],
) -> None:
    assert judge_lane(LANE, waiting, shown(10)) is LaneVerdict.NEW_LANE
    assert judge_lane(FRESH, {}, shown(1)) is LaneVerdict.NEW_LANE


def test_a_lane_that_is_closed_or_holds_anothers_batch_is_left_with_all_that_waits() -> None:
    other = bytes([77]) * 32
    assert judge_lane(FRESH, {}, shown(0, closed=True)) is LaneVerdict.NEW_LANE_FOR_ALL
    assert judge_lane(LANE, WAITING, shown(6, closed=True)) is LaneVerdict.NEW_LANE_FOR_ALL
    assert judge_lane(LANE, WAITING, shown(8, other)) is LaneVerdict.NEW_LANE_FOR_ALL
    assert judge_lane(LANE, {}, shown(9, other)) is LaneVerdict.NEW_LANE_FOR_ALL


def test_what_a_lane_took_before_it_was_closed_is_not_signed_again() -> None:
    for sequence in (7, 8, 9):
        shown_closed = shown(sequence, closed=True)
        assert judge_lane(LANE, WAITING, shown_closed) is LaneVerdict.NEW_LANE
        assert judge_lane(LANE, {}, shown_closed) is LaneVerdict.NEW_LANE_FOR_ALL


@pytest.mark.parametrize(
    ("waiting", "sequence", "lost"), [({}, 8, 9), ({}, 0, 9), (WAITING, 5, 6), (WAITING, 0, 6)]
)
def test_a_ledger_that_lacks_what_it_acknowledged_is_not_sent_more(
    waiting: dict[int, bytes], sequence: int, lost: int
) -> None:
    with pytest.raises(LaneStateError) as raised:
        judge_lane(LANE, waiting, shown(sequence))
    text = str(raised.value)
    assert f"lane 7 of key {KEY.hex()} at number {sequence}, but has acknowledged" in text
    assert f"acknowledged number {lost}:" in text
    assert text.endswith("To go on in a new lane: `lotmark submit --new-lane`")
