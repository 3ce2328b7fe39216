"""Event documents: what a person writes becomes exactly one event, or an error that says where."""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.document_source import DOCUMENT_SIZE_MAX
from lotmark.errors import MalformedError
from lotmark.event import EVENT_TYPES, check_event
from lotmark.event_document import describe, read_events
from lotmark.merkle import leaf_hash
from lotmark.rule_value import RuleValue, record_of, values_of
from lotmark.v1 import contracts_pb2, event_pb2
from tests.proto.sound_events import sound_event
from tests.proto.test_rule_value import RECORDS

GOLDEN = Path(__file__).parent / "golden"
DOCUMENT = """
type = "measurement"
device = "lims"
time = "2025-12-23T09:14:07.312Z"
uncertainty_us = 2000
capture = "SENSOR_DIRECT"
items = [{ id = "CU-7", role = "SUBJECT", quantity = { value = "1.84", unit = "KGM" } }]

[measurement]
feature = "resistivity"
value = "17.241"
unit = "nOhm.m"
verdict = "CONFORMING"
"""


def counted_nonces() -> Callable[[], bytes]:
    numbers = count()
    return lambda: next(numbers).to_bytes(16, "big")


def read(
    document: str | bytes, *, name: str = "d.toml", folder: Path | None = None
) -> list[event_pb2.Event]:
    raw = document.encode() if isinstance(document, str) else document
    return read_events(raw, name=name, nonce=counted_nonces(), folder=folder)


def encoded(event: event_pb2.Event) -> bytes:
    return event.SerializeToString(deterministic=True)


def golden_events() -> list[event_pb2.Event]:
    return read((GOLDEN / "event_document.toml").read_bytes())


def refusal(document: str | bytes, **arguments: Any) -> str:
    with pytest.raises(MalformedError) as caught:
        read(document, **arguments)
    return str(caught.value)


def test_the_golden_document_holds_every_event_type_and_gives_the_golden_ids() -> None:
    events = golden_events()

    lines = [f"{leaf_hash(encoded(e)).hex()} {e.WhichOneof('body')}" for e in events]
    assert (GOLDEN / "event_document_ids.txt").read_text().splitlines() == lines
    assert {event.WhichOneof("body") for event in events} == set(EVENT_TYPES)


def test_an_event_has_exactly_what_was_written() -> None:
    (event,) = read(DOCUMENT)

    assert event == event_pb2.Event(
        nonce=bytes(16),
        device="lims",
        time=event_pb2.TimeInterval(
            start_ms=1_766_481_247_312, end_ms=1_766_481_247_312, uncertainty_us=2000
        ),
        capture_mode=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
        items=[
            event_pb2.ItemReference(
                id="CU-7",
                role=event_pb2.ITEM_ROLE_SUBJECT,
                quantity=event_pb2.Quantity(value="1.84", unit="KGM"),
            )
        ],
        measurement={  # type: ignore[arg-type]  # the stubs do not know that a dict will do
            "feature": "resistivity", "value": "17.241", "unit": "nOhm.m", "verdict": 1,
        },
    )  # fmt: skip


def test_toml_and_json_of_one_document_give_equal_events() -> None:
    raw = (GOLDEN / "event_document.toml").read_bytes()

    assert read(json.dumps(tomllib.loads(raw.decode()))) == golden_events()


@pytest.mark.parametrize("event", golden_events(), ids=lambda event: event.WhichOneof("body"))
def test_the_description_of_an_event_reads_back_as_equal_bytes(event: event_pb2.Event) -> None:
    described = json.dumps(describe(event)).encode()

    (again,) = read_events(described, name="again", nonce=lambda: event.nonce)
    assert encoded(again) == encoded(event)


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ('"17.241"', "17.241", 'd.toml: measurement.value: 17.241 is a bare number, which loses'
         ' digits on its way; write it in quotes, such as "1.840"'),
        ('"1.84"', "2", "d.toml: items[0].quantity.value: 2 is a bare number"),
        ('"17.241"', '"1e3"', "d.toml: measurement.value '1e3' is not a decimal number"),
        ('"17.241"', "true", "d.toml: measurement.value: true is no string"),
        ('value = "17.241"\n', "", "d.toml: measurement.value is missing; this type of event"),
        ('verdict = "CONFORMING"', "", "d.toml: measurement.verdict is missing; write one of"
         " CONFORMING, NONCONFORMING, UNDETERMINED"),
        ('"CONFORMING"', '"VERDICT_CONFORMING"', "d.toml: measurement.verdict:"
         " 'VERDICT_CONFORMING' is none of CONFORMING, NONCONFORMING, UNDETERMINED"),
        ('unit = "nOhm.m"', 'unit = "n Ohm"', "d.toml: measurement.unit 'n Ohm' is not an ident"),
        ("feature", "featrue", "d.toml: measurement.featrue is unknown; allowed here are feature,"
         " value, unit, uncertainty, lower_limit, upper_limit, verdict, method"),
        ("[measurement]", "[gap]", "d.toml: gap is unknown; allowed here are type, device, tim"),
        ("[measurement]", "[[measurement]]", "d.toml: measurement: a list is no table"),
        ('"measurement"', '"measure"', "d.toml: type: 'measure' is no event type; allowed are lot"),
        ('type = "measurement"', "", "d.toml: type is missing"),
        ('device = "lims"', "", "d.toml: device is missing; name the device"),
        ('"lims"', '"l i m s"', "d.toml: device 'l i m s' is not an identifier"),
        ("uncertainty_us = 2000", "", "d.toml: uncertainty_us is missing; state how far"),
        ("2000", "4294967296", "uncertainty_us: 4294967296 is no whole number from 0 to 4294967"),
        ("2000", '"2000"', "uncertainty_us: '2000' is no whole number"),
        ("2000", "true", "uncertainty_us: true is no whole number"),
        ("SENSOR_DIRECT", "GUESSED", "capture: 'GUESSED' is none of SENSOR_DIRECT, MANUAL, HIST"),
        ("time = ", "start = ", "d.toml: time is missing; write when it was so, or start and end"),
        ("capture", 'start = "2025-12-23T09:14:07Z"\ncapture', "d.toml: time: it stands beside"),
        ("time =", 'end = "2025-12-23T09:14:07Z"\nstart =', "end: '2025-12-23T09:14:07Z' is befo"),
        ("07.312Z", "07.312", "d.toml: time: '2025-12-23T09:14:07.312' is not a time such as"),
        ("07.312Z", "07.3121Z", "d.toml: time: '2025-12-23T09:14:07.3121Z' is finer than a milli"),
        ("-12-23T", "-13-23T", "d.toml: time: '2025-13-23T09:14:07.312Z' is no time: month"),
        ("2025-", "1999-", "d.toml: EVENT_TIME_ABSURD"),
        ('"2025-12-23T09:14:07.312Z"', "2025-12-23T09:14:07.312Z", "is a bare time; write it in q"),
        ('"SUBJECT"', '"OBJECT"', "d.toml: items[0].role: 'OBJECT' is none of SUBJECT, INPUT"),
        ('"CU-7"', '"CU 7"', "d.toml: items[0].id 'CU 7' is not an identifier"),
        (', unit = "KGM" ', "", "d.toml: items[0].quantity.unit '' is not an identifier"),
        ("capture", 'audience = ["oem"]\ncapture', "d.toml: audience[0] 'oem' is no party id"),
        ("capture", 'audience = ["OEM-A", "OEM-A"]\ncapture', "d.toml: FIELD_INVALID: audience"),
        ("capture", 'files = ["raw.csv"]\ncapture', "d.toml: files[0]: 'raw.csv' is no table"),
        ("type", "type = 1\ntype", "d.toml: this is neither a JSON object nor TOML in UTF-8: C"),
    ],
)  # fmt: skip
def test_an_error_names_document_place_value_and_what_is_allowed(
    written: str, instead: str, message: str
) -> None:
    assert written in DOCUMENT

    assert message in refusal(DOCUMENT.replace(written, instead, 1))


def test_a_nonce_in_the_document_is_the_events_and_none_is_drawn() -> None:
    document = DOCUMENT.replace("capture", f'nonce = "{"0a" * 16}"\ncapture', 1)

    (event,) = read_events(document.encode(), name="d.toml", nonce=[].pop)
    assert event.nonce == b"\x0a" * 16


@pytest.mark.parametrize(
    ("nonce", "message"),
    [
        ('"0a"', "d.toml: nonce: '0a' has 1 bytes; write 16 random ones, 32 digits, or leave it"),
        (f'"{"0A" * 16}"', "is not hexadecimal; write an even number of digits 0-9 a-f"),
        ("7", "d.toml: nonce: 7 is a bare number"),
    ],
)
def test_a_nonce_that_is_none_is_named(nonce: str, message: str) -> None:
    assert message in refusal(DOCUMENT.replace("capture", f"nonce = {nonce}\ncapture", 1))


def test_an_error_in_one_of_many_events_names_which() -> None:
    tables = tomllib.loads(DOCUMENT)
    good, bad = tables, {**tables, "measurement": {**tables["measurement"], "value": "many"}}

    message = refusal(json.dumps({"event": [good, good, good, bad]}), name="day.json")
    assert message.startswith("day.json: event[3].measurement.value 'many' is not a decimal")


def test_beside_many_events_no_member_is_allowed() -> None:
    tables = tomllib.loads(DOCUMENT)

    assert "d.toml: type is unknown; allowed here are event" in refusal(
        json.dumps({**tables, "event": [tables]})
    )


CONTRACT_EVENT = """
type = "contract_event"
device = "erp"
time = "2025-12-23T09:14:07.312Z"
uncertainty_us = 2000
capture = "MANUAL"

[contract_event]
name = "scrap_reported"

[contract_event.fields]
pieces = 7
cause = "burr"
part = { ids = ["P-1", "P-2"] }
"""


def test_values_for_rules_are_those_that_were_written() -> None:
    (event,) = read(CONTRACT_EVENT)

    body = event.contract_event
    assert body.name == "scrap_reported"
    assert values_of(body.fields) == {
        "cause": "burr",
        "part": {"ids": ["P-1", "P-2"]},
        "pieces": 7,
    }


@given(values=RECORDS)
def test_any_values_for_rules_are_described_and_read_back_as_equal_bytes(
    values: dict[str, RuleValue],
) -> None:
    event = sound_event(
        "contract_event", contracts_pb2.ContractEvent(name="a", fields=record_of(values))
    )

    (again,) = read_events(
        json.dumps(describe(event)).encode(), name="again", nonce=lambda: event.nonce
    )
    assert encoded(again) == encoded(event)


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("= 7", "= 7.5", "d.toml: contract_event.fields.pieces: 7.5 is "),
        (
            "= 7",
            "= 9223372036854775808",
            "contract_event.fields.pieces: 9223372036854775808 is no whole",
        ),
        ("= 7", "= -9223372036854775809", "is no whole number from -9223372036854775808"),
        ("= 7", "= 2025-12-23", "contract_event.fields.pieces: "),
        ('"P-2"', "inf", "d.toml: contract_event.fields.part.ids[1]: inf is "),
        ('"P-2"', "{ x = 0.5 }", "contract_event.fields.part.ids[1].x: 0.5 is "),
        ('"burr"', '"a\\u0007"', "contract_event.fields.cause"),
        ("cause", '""', "d.toml: contract_event.fields: '' is empty"),
        ("cause", '"e\u0301"', "d.toml: contract_event.fields: a name"),
        ('"scrap_reported"', '"Scrap"', "contract_event.name 'Scrap' is no name: 1 to 40 of a-z"),
        ("[contract_event.fields]\n", "fields = 1\n[other]\n", "other is unknown"),
        ("[contract_event.fields]", "[contract_event.field]", "contract_event.field is unknown"),
    ],
)
def test_an_error_in_values_for_rules_names_the_place(
    written: str, instead: str, message: str
) -> None:
    assert written in CONTRACT_EVENT

    assert message in refusal(CONTRACT_EVENT.replace(written, instead, 1))


@pytest.mark.parametrize("fields", [1, [], "a", None, True])
def test_values_for_rules_that_are_no_table_are_refused(fields: object) -> None:
    tables = tomllib.loads(CONTRACT_EVENT)
    tables["contract_event"]["fields"] = fields

    assert "contract_event.fields: " in refusal(json.dumps(tables))


def test_null_is_no_value_for_rules() -> None:
    tables = tomllib.loads(CONTRACT_EVENT)
    tables["contract_event"]["fields"]["pieces"] = None

    assert "contract_event.fields.pieces: " in refusal(json.dumps(tables))


def test_values_for_rules_that_nest_too_deep_are_refused() -> None:
    tables = tomllib.loads(CONTRACT_EVENT)
    deep: Any = 1
    for _ in range(16):
        deep = [deep]
    tables["contract_event"]["fields"]["pieces"] = deep

    assert "nested deeper than 16 levels" in refusal(json.dumps(tables))


def test_an_oversized_event_is_told_to_use_a_file() -> None:
    remarks = [{"name": f"a{number}", "value": "x" * 250} for number in range(32)]
    raw = json.dumps(
        tomllib.loads(DOCUMENT.replace("measurement", "lot_created"))
        | {
            "lot_created": {
                "product": "p", "quantity": "1", "unit": "KGM", "attributes": remarks,
            },
            "items": [{"id": f"{number:0128}", "role": "SUBJECT"} for number in range(64)],
        }
    )  # fmt: skip

    assert re.search(r"the event has 1\d{4} bytes; at most 16384 are allowed", refusal(raw))


def test_a_document_over_its_bound_is_refused_unread() -> None:
    raw = b" " * (DOCUMENT_SIZE_MAX + 1)

    assert f"it has {len(raw)} bytes; at most {DOCUMENT_SIZE_MAX} are allowed" in refusal(raw)


@pytest.mark.parametrize("raw", ["a=" + "[" * 5000, '{"a":' + "[" * 100_000, "a=" + "9" * 5000])
def test_a_document_made_to_exhaust_python_is_refused(raw: str) -> None:
    assert refusal(raw).startswith("d.toml: ")


def test_a_file_beside_the_document_is_digested(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.csv").write_bytes(b"1;2\n")
    entry = '{ path = "raw/a.csv", media_type = "text/csv" }'

    (event,) = read(DOCUMENT.replace("capture", f"files = [{entry}]\ncapture"), folder=tmp_path)

    assert list(event.files) == [
        event_pb2.FileDigest(
            sha256=hashlib.sha256(b"1;2\n").digest(), size=4, media_type="text/csv", name="a.csv"
        )
    ]


def test_a_salted_file_is_digested_with_its_salt_first(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"1;2\n")
    entry = '{ path = "a.csv", media_type = "text/csv", salted = true }'

    (event,) = read(DOCUMENT.replace("capture", f"files = [{entry}]\ncapture"), folder=tmp_path)

    (file,) = event.files
    assert file.salt == (1).to_bytes(16, "big")  # the second call; the first is the nonce
    assert file.sha256 == hashlib.sha256(file.salt + b"1;2\n").digest()


def test_a_digest_field_may_name_its_file(tmp_path: Path) -> None:
    (tmp_path / "dcc.xml").write_bytes(b"<dcc/>")
    golden = (GOLDEN / "event_document.toml").read_text()

    events = read(golden.replace(f'"{"05" * 32}"', '{ path = "dcc.xml" }'), folder=tmp_path)

    (calibration,) = (event.calibration for event in events if event.HasField("calibration"))
    assert calibration.certificate_digest == hashlib.sha256(b"<dcc/>").digest()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.csv", "files[0].path: 'none.csv' cannot be read beside the document: No such file"),
        ("../a.csv", "files[0].path: '../a.csv' is no path beneath the document's own folder"),
        ("/etc/hosts", "is no path beneath the document's own folder"),
        ("b/../../a", "is no path beneath the document's own folder"),
        ("a\\\\b", "is no path beneath the document's own folder"),
        ("a\\u0000", "is no path beneath the document's own folder"),
        ("", "is no path beneath the document's own folder"),
        (".", "cannot be read beside the document: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_had_is_named(path: str, message: str, tmp_path: Path) -> None:
    entry = f'{{ path = "{path}", media_type = "text/csv" }}'

    document = DOCUMENT.replace("capture", f"files = [{entry}]\ncapture")
    assert message in refusal(document, folder=tmp_path)


def test_without_a_folder_a_file_cannot_be_named() -> None:
    document = DOCUMENT.replace("capture", 'files = [{ path = "a", media_type = "b" }]\ncapture')

    assert "files[0].path: 'a' stands beside no file" in refusal(document)


def assert_read_or_refused(raw: bytes) -> None:
    try:
        events = read(raw)
    except MalformedError as error:
        assert str(error).startswith("d.toml: ")  # noqa: PT017  # whatever it is, it says where
        return
    for event in events:
        check_event(encoded(event))
        described = json.dumps(describe(event)).encode()
        (again,) = read_events(described, name="again", nonce=[event.nonce].pop)
        assert encoded(again) == encoded(event)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_raise_only_our_error(raw: bytes) -> None:
    assert_read_or_refused(raw)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["1.5", "-0", "ab" * 32, "2026-01-12T08:00:00Z", "CONFORMING", "MANUAL"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["path", "value", "key"]) | st.text(max_size=4), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=400)
@given(data=st.data())
def test_a_document_with_anything_anywhere_is_read_or_refused_with_our_error(
    data: st.DataObject,
) -> None:
    tables = tomllib.loads((GOLDEN / "event_document.toml").read_text())["event"]
    table = data.draw(st.sampled_from(tables))
    at: Any = table
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not (isinstance(at[key], dict | list) and at[key]) or data.draw(st.booleans()):
            break
        at = at[key]
    if data.draw(st.booleans()):
        at[key] = data.draw(VALUES)
    else:
        del at[key]

    assert_read_or_refused(json.dumps(table).encode())


@given(st.sampled_from(golden_events()), st.data())
def test_whatever_parses_as_an_event_can_be_described(
    event: event_pb2.Event, data: st.DataObject
) -> None:
    raw = bytearray(encoded(event))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = event_pb2.Event.FromString(bytes(raw))
    except DecodeError:
        return

    assert json.loads(json.dumps(describe(parsed))) == describe(parsed)
