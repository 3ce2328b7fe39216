"""What every event keeps: its common fields, and the ways of writing it that are refused."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.batch import EVENT_SIZE_MAX
from lotmark.event import EVENT_TYPES, EventRefused, check_event
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2
from tests.proto.damaged_bytes import damaged, damaged_or_arbitrary
from tests.proto.sample_genesis import CREATED_MS
from tests.proto.sound_events import SOUND_BODIES, encoded, sound_event
from tests.proto.wire_fields import (
    LENGTH,
    VARINT,
    WireField,
    longer_varint,
    put_together,
    take_apart,
    varint,
)

BODIES = st.sampled_from(sorted(SOUND_BODIES))
MEASUREMENT = encoded(sound_event("measurement"))
LISTS = {5, 6, 7}  # items, files, audience
TIME_MIN_MS, TIME_END_MS = 946_684_800_000, 4_102_444_800_000


def outcome_of(raw: bytes) -> Outcome:
    """Return what a node says of an event's bytes."""
    try:
        check_event(raw)
    except EventRefused as refusal:
        return refusal.outcome
    return Outcome.ACCEPTED


def test_every_event_type_has_a_sound_sample() -> None:
    assert set(SOUND_BODIES) == set(EVENT_TYPES)


@pytest.mark.parametrize("body_name", sorted(SOUND_BODIES))
def test_a_sound_event_is_read_with_its_type_items_and_body(body_name: str) -> None:
    message = sound_event(body_name)

    checked = check_event(encoded(message))

    assert (checked.body_name, checked.event_type) == (body_name, EVENT_TYPES[body_name])
    assert list(checked.item_ids) == [item.id for item in message.items]
    assert checked.message == message
    assert checked.body == SOUND_BODIES[body_name]


def test_an_event_needs_no_items_files_or_audience() -> None:
    message = sound_event("measurement")
    for field in ("items", "files", "audience"):
        message.ClearField(field)

    assert check_event(encoded(message)).item_ids == ()


# The ways in which one message may be written twice. Each takes a message apart and gives it back
# in bytes that every protobuf parser reads alike.


def _unknown_field(fields: list[WireField]) -> Iterator[bytes]:
    for unknown in (WireField(100, VARINT, b"\x01"), WireField(79, LENGTH, b"x")):
        yield put_together([*fields, unknown])
        yield put_together([unknown, *fields])


def _longer_varint(fields: list[WireField]) -> Iterator[bytes]:
    for at, field in enumerate(fields):
        before, after = put_together(fields[:at]), put_together(fields[at + 1 :])
        tag = varint(field.number << 3 | field.kind)
        rest = field.encode()[len(tag) :]
        yield before + longer_varint(tag) + rest + after
        size = rest[: len(rest) - len(field.content)] or rest
        yield before + tag + longer_varint(size) + rest[len(size) :] + after


def _reordered_fields(fields: list[WireField]) -> Iterator[bytes]:
    for at in range(len(fields) - 1):
        first, second = fields[at : at + 2]
        if first.number != second.number:  # swapped members of a list make another list
            yield put_together([*fields[:at], second, first, *fields[at + 2 :]])


def _repeated_field(fields: list[WireField]) -> Iterator[bytes]:
    for at, field in enumerate(fields):
        if field.number not in LISTS:
            yield put_together([*fields[:at], field, *fields[at:]])


def _split_message(fields: list[WireField]) -> Iterator[bytes]:
    """A message field in two pieces, which parsers merge."""
    for at, field in enumerate(fields):
        if field.number not in {3, EVENT_TYPES["measurement"]}:
            continue
        inner = take_apart(field.content)
        for cut in range(len(inner) + 1):
            pieces = [
                WireField(field.number, LENGTH, put_together(part))
                for part in (inner[:cut], inner[cut:])
            ]
            yield put_together([*fields[:at], *pieces, *fields[at + 1 :]])


def _two_bodies(fields: list[WireField]) -> Iterator[bytes]:
    """Another body before the one that counts, as the last one of a choice does."""
    for body_name, body in SOUND_BODIES.items():
        other = WireField(EVENT_TYPES[body_name], LENGTH, body.SerializeToString())
        yield put_together([*fields[:-1], other, fields[-1]])


MALLEATIONS: list[Callable[[list[WireField]], Iterator[bytes]]] = [
    _unknown_field,
    _longer_varint,
    _reordered_fields,
    _repeated_field,
    _split_message,
    _two_bodies,
]


@pytest.mark.parametrize("malleate", MALLEATIONS)
def test_another_way_of_writing_an_event_is_refused(
    malleate: Callable[[list[WireField]], Iterator[bytes]],
) -> None:
    fields = take_apart(MEASUREMENT)
    assert put_together(fields) == MEASUREMENT

    written = list(malleate(fields))

    assert written
    for raw in written:
        event_pb2.Event.FromString(raw)  # every parser reads it
        assert outcome_of(raw) == Outcome.EVENT_MALFORMED, raw.hex()


@pytest.mark.parametrize("malleate", [_unknown_field, _longer_varint, _reordered_fields])
def test_another_way_of_writing_a_body_is_refused(
    malleate: Callable[[list[WireField]], Iterator[bytes]],
) -> None:
    fields = take_apart(MEASUREMENT)
    body = fields[-1]
    assert body.number == EVENT_TYPES["measurement"]

    for content in malleate(take_apart(body.content)):
        raw = put_together([*fields[:-1], WireField(body.number, LENGTH, content)])
        assert outcome_of(raw) == Outcome.EVENT_MALFORMED, raw.hex()


def test_a_default_that_is_written_out_is_refused() -> None:
    message = sound_event("measurement")
    for field in ("items", "files", "audience"):
        message.ClearField(field)
    message.time.uncertainty_us = 0
    raw = encoded(message)
    assert outcome_of(raw) == Outcome.ACCEPTED
    fields = take_apart(raw)
    time = take_apart(fields[2].content)
    zero = WireField(3, VARINT, b"\0")

    spelled = WireField(3, LENGTH, put_together([*time, zero]))

    assert outcome_of(put_together([*fields[:2], spelled, *fields[3:]])) == Outcome.EVENT_MALFORMED
    empty_device = [fields[0], WireField(2, LENGTH, b""), *fields[2:]]
    assert outcome_of(put_together(empty_device)) == Outcome.EVENT_MALFORMED


def test_a_packed_list_that_is_written_unpacked_is_refused() -> None:
    raw = encoded(sound_event("key_registration"))
    packed, unpacked = bytes.fromhex("3a021314"), bytes.fromhex("38133814")
    assert raw.count(packed) == 1, "event types 19 and 20, packed in field 7"
    assert len(packed) == len(unpacked), "so that no size around it changes"

    assert outcome_of(raw.replace(packed, unpacked)) == Outcome.EVENT_MALFORMED


@pytest.mark.parametrize(
    "raw",
    [
        MEASUREMENT[:-1],
        MEASUREMENT + b"\x0b\x0c",  # a group
        MEASUREMENT.replace(b"W07", b"W\xff7"),
        MEASUREMENT.replace(b"kA", b"\xc3("),
        MEASUREMENT.replace(b"kA", b"\xed\xa0\x80"[:2]),
        b"\xff" * 40,
        b"\x08" * 40,
    ],
)
def test_what_is_no_protobuf_event_is_refused(raw: bytes) -> None:
    assert outcome_of(raw) == Outcome.EVENT_MALFORMED


@pytest.mark.parametrize("raw", [b"", put_together(take_apart(MEASUREMENT)[:-1])])
def test_an_event_without_a_body_is_of_an_unknown_type(raw: bytes) -> None:
    assert outcome_of(raw) == Outcome.EVENT_TYPE_UNKNOWN


def test_an_event_of_a_later_schema_is_malformed_and_not_guessed_at() -> None:
    fields = take_apart(MEASUREMENT)
    later = WireField(79, LENGTH, b"\x0a\x01x")

    assert outcome_of(put_together([*fields[:-1], later])) == Outcome.EVENT_MALFORMED


def test_the_largest_event_passes_and_one_byte_more_does_not() -> None:
    message = sound_event("epcis_document")
    message.epcis_document.ClearField("event_hashes")
    while message.ByteSize() < EVENT_SIZE_MAX - 800:
        message.epcis_document.document += b" " * min(
            12_288 - len(message.epcis_document.document),
            EVENT_SIZE_MAX - 800 - message.ByteSize(),
        )
        if len(message.epcis_document.document) == 12_288:
            message.items.add(id=f"{len(message.items):0128}", role=event_pb2.ITEM_ROLE_USED)
    while message.ByteSize() < EVENT_SIZE_MAX - 140:
        message.items.add(id=f"{len(message.items):0128}", role=event_pb2.ITEM_ROLE_USED)
    last = message.items.add(id="x", role=event_pb2.ITEM_ROLE_USED)
    last.id += "x" * (EVENT_SIZE_MAX - message.ByteSize())
    last.id = last.id[: len(last.id) - (message.ByteSize() - EVENT_SIZE_MAX)]
    assert message.ByteSize() == EVENT_SIZE_MAX
    assert outcome_of(encoded(message)) == Outcome.ACCEPTED

    last.id += "x"
    assert message.ByteSize() == EVENT_SIZE_MAX + 1
    assert outcome_of(encoded(message)) == Outcome.EVENT_OVERSIZE
    assert outcome_of(bytes(EVENT_SIZE_MAX + 1)) == Outcome.EVENT_OVERSIZE


def changed(**fields: object) -> bytes:
    """Return a sound measurement with other values in its common fields."""
    message = sound_event("measurement")
    for name, value in fields.items():
        message.ClearField(name)  # type: ignore[arg-type]  # a name of a field
        if value is not None:
            message.MergeFrom(event_pb2.Event(**{name: value}))  # type: ignore[arg-type]
    return encoded(message)


def interval(start_ms: int, end_ms: int) -> event_pb2.TimeInterval:
    return event_pb2.TimeInterval(start_ms=start_ms, end_ms=end_ms)


@pytest.mark.parametrize(
    "time",
    [
        None,
        interval(0, 0),
        interval(CREATED_MS, 0),
        interval(0, CREATED_MS),
        interval(CREATED_MS, CREATED_MS - 1),
        interval(TIME_MIN_MS - 1, CREATED_MS),
        interval(CREATED_MS, TIME_END_MS),
        interval(TIME_END_MS, TIME_END_MS),
        interval(2**64 - 1, 2**64 - 1),
        interval(CREATED_MS // 1_000, CREATED_MS // 1_000),
    ],
)
def test_an_absurd_time_is_refused_as_such(time: event_pb2.TimeInterval | None) -> None:
    assert outcome_of(changed(time=time)) == Outcome.EVENT_TIME_ABSURD


@pytest.mark.parametrize(
    "time",
    [interval(TIME_MIN_MS, TIME_END_MS - 1), interval(CREATED_MS, CREATED_MS)],
)
def test_the_first_and_last_possible_times_pass(time: event_pb2.TimeInterval) -> None:
    assert outcome_of(changed(time=time)) == Outcome.ACCEPTED


def item(item_id: str, role: int = 1, **quantity: str) -> event_pb2.ItemReference:
    made = event_pb2.ItemReference(id=item_id, role=event_pb2.ItemRole.ValueType(role))
    if quantity:
        made.quantity.CopyFrom(event_pb2.Quantity(**quantity))
    return made


def file(**fields: object) -> event_pb2.FileDigest:
    sound = {"sha256": bytes(32), "media_type": "text/csv", "name": "a.csv"}
    return event_pb2.FileDigest(**{**sound, **fields})  # type: ignore[arg-type]


WRONG: list[tuple[str, object, str]] = [
    ("nonce", None, "nonce has 0 bytes"),
    ("nonce", bytes(15), "nonce has 15 bytes"),
    ("nonce", bytes(17), "nonce has 17 bytes"),
    ("device", None, "device"),
    ("device", "W 07", "device"),
    ("device", "x" * 65, "device"),
    ("device", "Wäge", "device"),
    ("capture_mode", None, "capture_mode 0"),
    ("capture_mode", 4, "capture_mode 4"),
    ("capture_mode", -1, "capture_mode -1"),
    ("items", [item("x", 1), item("x", 1)], "twice"),
    ("items", [item("x", 0)], "items.role 0"),
    ("items", [item("x", 7)], "items.role 7"),
    ("items", [item("", 1)], "items.id"),
    ("items", [item("a b", 1)], "items.id"),
    ("items", [item("x" * 129, 1)], "items.id"),
    ("items", [item(f"i{number}") for number in range(65)], "65 items"),
    ("items", [item("x", value="1,5", unit="KGM")], "items.quantity.value"),
    ("items", [item("x", value="1.5")], "items.quantity.unit"),
    ("items", [item("x", unit="KGM")], "items.quantity.value"),
    ("files", [file()] * 17, "17 files"),
    ("files", [file(sha256=bytes(31))], "files.sha256"),
    ("files", [file(salt=bytes(15))], "files.salt has 15"),
    ("files", [file(salt=bytes(33))], "files.salt has 33"),
    ("files", [file(media_type="")], "files.media_type"),
    ("audience", ["oem"], "audience"),
    ("audience", ["OEM-A", "OEM-A"], "ascend"),
    ("audience", ["T1", "OEM-A"], "ascend"),
    ("audience", [f"P{number:02}" for number in range(33)], "33 audience"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG)
def test_a_common_field_that_breaks_its_rule_is_refused_by_name(
    name: str, value: object, said: str
) -> None:
    with pytest.raises(EventRefused, match=said) as caught:
        check_event(changed(**{name: value}))
    assert caught.value.outcome == Outcome.FIELD_INVALID


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("items", [item(f"i{number}") for number in range(64)]),
        ("items", [item("x", role) for role in range(1, 7)]),
        ("files", [file(salt=bytes(size)) for size in (0, 16, 32)]),
        ("files", [file()] * 16),
        ("files", [file(name="")]),
        ("files", [file(name="Prüfbericht 7.pdf")]),
        ("audience", [f"P{number:02}" for number in range(32)]),
        ("device", "x" * 64),
    ],
)
def test_a_common_field_at_its_bound_passes(name: str, value: object) -> None:
    assert outcome_of(changed(**{name: value})) == Outcome.ACCEPTED


@pytest.mark.parametrize("name", ["a\x07", "e\u0301", "\u0378", "\ue000", "x" * 256])
def test_a_forbidden_file_name_is_refused_as_text(name: str) -> None:
    assert outcome_of(changed(files=[file(name=name)])) == Outcome.TEXT_FORBIDDEN


@settings(max_examples=400)
@given(data=st.data(), body_name=BODIES)
def test_arbitrary_bytes_are_refused_or_are_the_canonical_event(
    data: st.DataObject, body_name: str
) -> None:
    raw = data.draw(damaged_or_arbitrary(encoded(sound_event(body_name))))

    if outcome_of(raw) == Outcome.ACCEPTED:
        assert encoded(event_pb2.Event.FromString(raw)) == raw


@given(data=st.data(), body_name=BODIES)
def test_a_damaged_body_in_a_sound_event_raises_only_refusals(
    data: st.DataObject, body_name: str
) -> None:
    fields = take_apart(encoded(sound_event(body_name)))
    content = data.draw(damaged(fields[-1].content))

    raw = put_together([*fields[:-1], WireField(fields[-1].number, LENGTH, content)])

    assert outcome_of(raw) in Outcome


def test_the_ids_of_one_item_give_one_name() -> None:
    message = sound_event("measurement")
    del message.items[:]
    for item, role in (("urn:epc:id:sgtin:4012345.011111.987", 1), ("W07", 6)):
        message.items.add(id=item, role=role)
    message.items.add(id="https://id.gs1.org/01/04012345111118/21/987", role=3)

    checked = check_event(message.SerializeToString(deterministic=True))

    assert checked.item_names == ("https://id.gs1.org/01/04012345111118/21/987", "W07")
