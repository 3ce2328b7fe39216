"""The other stators that the line made of the story's wire lot, the same in every telling."""

from collections.abc import Callable

from lotmark.rfc3339 import parse_ms
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_node.story.welds import WELDER

WIRE_LOT = "https://id.gs1.org/01/04012345000016/10/CU-20251223-07"
MES = "T1-STATOR/mes"
OTHER_COUNT = 411  # stators from the lot beside the one that the story is about
BEFORE_COUNT = 205  # of them, made before it

_PRODUCT = "https://id.gs1.org/01/04012345000023/21/ST260112"
_OTHER_WELDER = "https://id.gs1.org/8004/4012345W08"
_SERIAL = 1_234  # of the story's stator
_START_MS = parse_ms("2026-01-12T08:00:00Z")  # when that was wound
_TAKT_MS = 96_000
_WINDING_MS = 341_000
_WIRE_EACH = "1.84"


def other_stators(nonce: Callable[[], bytes]) -> list[event_pb2.Event]:
    """Return the events of their making, in the order of the line; two welders take turns.

    Args:
        nonce: Gives 16 random bytes at each call, once an event.
    """
    places = (*range(-BEFORE_COUNT, 0), *range(1, OTHER_COUNT - BEFORE_COUNT + 1))
    return [_wound(place, nonce()) for place in places]


def _wound(place: int, nonce: bytes) -> event_pb2.Event:
    """Return the making of the stator so many places after the story's."""
    start_ms = _START_MS + place * _TAKT_MS
    welder = WELDER if place % 2 == 0 else _OTHER_WELDER
    return event_pb2.Event(
        nonce=nonce,
        device="mes",
        time=event_pb2.TimeInterval(
            start_ms=start_ms, end_ms=start_ms + _WINDING_MS, uncertainty_us=2_000
        ),
        capture_mode=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
        items=[
            event_pb2.ItemReference(
                id=WIRE_LOT,
                role=event_pb2.ITEM_ROLE_INPUT,
                quantity=event_pb2.Quantity(value=_WIRE_EACH, unit="KGM"),
            ),
            event_pb2.ItemReference(
                id=f"{_PRODUCT}{_SERIAL + place:07}", role=event_pb2.ITEM_ROLE_OUTPUT
            ),
            event_pb2.ItemReference(id=welder, role=event_pb2.ITEM_ROLE_USED),
        ],
        transformation=quality_pb2.Transformation(
            process="winding", recipe="R-STATOR-54/7", program_version="4.1.2"
        ),
    )
