"""Events by their constructor: sound ones pass, and nothing that the ledger would refuse."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from google.protobuf.message import Message

from lotmark.client import item, new_event
from lotmark.client.new_event import EventBody
from lotmark.event import EVENT_TYPES, EventRefused, check_event
from lotmark.governance_rules import GOVERNING_BODIES
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2, quality_pb2
from tests.proto.sound_events import SOUND_BODIES

TIME = datetime(2026, 1, 12, 8, 0, 0, 123_456, tzinfo=UTC)
PACKAGES = {"package_proposal", "package_part", "package_approval"}
GOVERNANCE = {*GOVERNING_BODIES, "lane_closure", *PACKAGES}
COMMON: dict[str, Any] = {
    "device": "gauge-3",
    "capture": event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
    "time": TIME,
    "uncertainty_us": 2_000,
}


def measured(**changed: Any) -> quality_pb2.Measurement:
    values = {
        "feature": "bore_1.diameter",
        "value": "7.998",
        "unit": "mm",
        "verdict": quality_pb2.VERDICT_CONFORMING,
    }
    return quality_pb2.Measurement(**{**values, **changed})


def test_the_type_of_bodies_names_every_fact_that_there_is() -> None:
    named = {body.__name__ for body in get_args(EventBody)}
    fields = event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields

    assert {field.name for field in fields} == set(EVENT_TYPES)
    assert named == {
        field.message_type.name
        for field in fields
        if field.message_type is not None and field.name not in GOVERNANCE
    }


@pytest.mark.parametrize("name", sorted(set(SOUND_BODIES) - GOVERNANCE))
def test_a_sound_body_of_every_type_makes_an_event_that_keeps_every_rule(name: str) -> None:
    body: Any = SOUND_BODIES[name]
    checked = check_event(new_event(body, **COMMON))

    assert checked.body_name == name
    assert checked.body == body


def test_everything_that_was_given_stands_in_the_event() -> None:
    steel = item("LOT-1", role=event_pb2.ITEM_ROLE_INPUT, quantity=("1.84", "KGM"))
    file = event_pb2.FileDigest(sha256=bytes(32), size=3, media_type="text/csv", name="raw.csv")
    raw = new_event(
        quality_pb2.Transformation(process="wind"),
        **{**COMMON, "time": (TIME, TIME + timedelta(seconds=2))},
        items=[steel, item("ST-1", role=event_pb2.ITEM_ROLE_OUTPUT)],
        files=[file],
        audience=["T1-STATOR", "OEM-A", "OEM-A"],
        nonce=bytes(16),
    )
    event = event_pb2.Event.FromString(raw)

    assert (event.time.start_ms, event.time.end_ms) == (1768204800123, 1768204802123)
    assert (event.time.uncertainty_us, event.device) == (2_000, "gauge-3")
    assert [(each.id, each.role) for each in event.items] == [("LOT-1", 2), ("ST-1", 3)]
    assert event.items[0].quantity == event_pb2.Quantity(value="1.84", unit="KGM")
    assert list(event.files) == [file]
    assert list(event.audience) == ["OEM-A", "T1-STATOR"]
    assert event.nonce == bytes(16)


def test_each_call_makes_another_fact_and_with_a_nonce_the_same_one() -> None:
    assert new_event(measured(), **COMMON) != new_event(measured(), **COMMON)
    made = {new_event(measured(), **COMMON, nonce=bytes(16)) for _ in range(2)}
    assert len(made) == 1


@pytest.mark.parametrize(
    ("body", "changed", "outcome", "words"),
    [
        (measured(value="7,998"), {}, Outcome.FIELD_INVALID, ["measurement.value", "7,998"]),
        (measured(feature=""), {}, Outcome.FIELD_INVALID, ["measurement.feature"]),
        (measured(verdict=0), {}, Outcome.FIELD_INVALID, ["measurement.verdict 0", "1 to 3"]),
        (measured(), {"device": "gäuge"}, Outcome.FIELD_INVALID, ["device", "uge"]),
        (measured(), {"capture": 0}, Outcome.FIELD_INVALID, ["capture_mode 0"]),
        (measured(), {"nonce": b"short"}, Outcome.FIELD_INVALID, ["nonce has 5 bytes, not 16"]),
        (measured(), {"items": [item("")]}, Outcome.FIELD_INVALID, ["items.id"]),
        (
            measured(),
            {"items": [item("A", quantity=("1,5", "KGM"))]},
            Outcome.FIELD_INVALID,
            ["items.quantity.value", "1,5"],
        ),
        (measured(), {"audience": ["oem"]}, Outcome.FIELD_INVALID, ["audience", "oem"]),
        (
            measured(),
            {"time": (TIME, TIME - timedelta(seconds=1))},
            Outcome.EVENT_TIME_ABSURD,
            ["1768204800123 to 1768204799123"],
        ),
        (
            measured(),
            {"time": datetime(1999, 1, 1, tzinfo=UTC)},
            Outcome.EVENT_TIME_ABSURD,
            ["2000 to 2099"],
        ),
        (
            quality_pb2.Maintenance(order="1", work="oil", remark="x\u0000"),
            {},
            Outcome.TEXT_FORBIDDEN,
            ["maintenance.remark"],
        ),
    ],
)
def test_a_broken_rule_is_named_with_its_field_and_value(
    body: EventBody, changed: dict[str, Any], outcome: Outcome, words: list[str]
) -> None:
    with pytest.raises(EventRefused) as raised:
        new_event(body, **{**COMMON, **changed})
    assert raised.value.outcome is outcome
    for word in words:
        assert word in str(raised.value)


def test_a_time_without_a_zone_is_refused_and_every_zone_means_the_same_moment() -> None:
    east = TIME.astimezone(timezone(timedelta(hours=8)))
    local = TIME.replace(tzinfo=None)

    assert new_event(measured(), **{**COMMON, "time": east}, nonce=bytes(16)) == new_event(
        measured(), **COMMON, nonce=bytes(16)
    )
    with pytest.raises(ValueError, match=r"time 2026-01-12T08:00:00\.123456 has no zone; give it"):
        new_event(measured(), **{**COMMON, "time": local})


@pytest.mark.parametrize(
    "make", [lambda: event_pb2.TimeInterval(), lambda: event_pb2.Event()], ids=["part", "event"]
)
def test_a_message_that_is_no_body_is_refused(make: Callable[[], Message]) -> None:
    body: Any = make()
    with pytest.raises(TypeError, match=r"lotmark\.v1\..* is no body of an event"):
        new_event(body, **COMMON)
