"""Events of the ledger in EPCIS: sound by our own rules, nothing lost, captured ones kept."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.event import EVENT_TYPES
from lotmark.item_name import canonical_item
from lotmark.rfc3339 import parse_ms
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.epcis import CapturedEvent, read_capture, to_event
from lotmark_adapters.epcis_checks import check_epcis_event
from lotmark_adapters.epcis_context import EPCIS_CONTEXT_URL
from lotmark_adapters.epcis_export import RecordedEvent, epcis_events
from lotmark_adapters.epcis_hash import event_hash_uri
from lotmark_adapters.epcis_native import VIEWS
from lotmark_adapters.epcis_uris import item_of_uri, item_uri
from tests.adapters.epcis_events import EXAMPLES, TWICE, an_event, events_of, files
from tests.proto.sound_events import SOUND_BODIES, sound_event
from tests.shared_vectors import require_shared

RECORDED_MS = parse_ms("2026-02-01T00:00:00.123Z")
EVENT_ID = hashlib.sha256(b"event").digest()
LOT = "https://id.gs1.org/01/04012345000016/10/CU-7"
IDS = [
    "W07",
    "T1-STATOR/W07",
    "CU-7%#[]",
    "lotmark:x",
    "https://example.com/steel",
    "urn:uuid:580d3189-6f23-4e7c-8b4b-7a2f4c3f1e0d",
    "urn:epc:id:sgtin:4012345.011111.9876",
    "https://id.gs1.org/01/04012345111118/21/9876",
    LOT,
    "urn:epc:class:lgtin:4012345.000001.A7",
    "https://id.gs1.org/01/04012345000017/21/1",
    "https://lotmark.invalid/item/x",
    "https://id.gs1.org/00/040123450000003338",
]


def exported(event: event_pb2.Event) -> list[dict[str, Any]]:
    recorded = RecordedEvent(
        event=event, event_id=EVENT_ID, party="T1-STATOR", recorded_ms=RECORDED_MS
    )
    found: list[dict[str, Any]] = json.loads(json.dumps(epcis_events(recorded)))
    return found


def only(event: event_pb2.Event) -> dict[str, Any]:
    (found,) = exported(event)
    return found


def check(whole: dict[str, Any]) -> None:
    (event,) = events_of(whole)
    check_epcis_event(event, now_ms=RECORDED_MS)
    if str(whole["eventID"]).startswith("ni:"):
        assert whole["eventID"] == event_hash_uri(event.hash)


def with_items(body: str, *items: tuple[str, str, str, str]) -> event_pb2.Event:
    event = sound_event(body)
    del event.items[:]
    for item_id, role, value, unit in items:
        item = event.items.add(id=item_id, role=event_pb2.ItemRole.Value(f"ITEM_ROLE_{role}"))
        if value:
            item.quantity.CopyFrom(event_pb2.Quantity(value=value, unit=unit))
    return event


@pytest.mark.parametrize("body", VIEWS)
def test_every_type_with_a_form_in_epcis_keeps_the_standard_s_rules(body: str) -> None:
    whole = only(sound_event(body))

    check(whole)
    assert whole["recordTime"] == "2026-02-01T00:00:00.123Z"
    assert whole["lotmark:event"] == f"https://lotmark.invalid/event/{EVENT_ID.hex()}"


def test_what_has_no_form_in_epcis_gives_no_event() -> None:
    without = set(EVENT_TYPES) - set(VIEWS) - {"epcis_document"}

    assert {"model_promoted", "claim_decision", "key_registration"} <= without
    for body in without & set(SOUND_BODIES):
        assert exported(sound_event(body)) == []


@st.composite
def native_events(draw: st.DrawFn) -> event_pb2.Event:
    event = sound_event(draw(st.sampled_from(sorted(VIEWS))))
    del event.items[:]
    pairs = draw(
        st.lists(st.tuples(st.sampled_from(IDS), st.integers(1, 6)), max_size=8, unique=True)
    )
    for item_id, role in pairs:
        item = event.items.add(id=item_id, role=event_pb2.ItemRole.ValueType(role))
        if draw(st.booleans()):
            value = draw(st.sampled_from(["1", "2.5", "0", "-3", "0.123456789012", "9" * 18]))
            unit = draw(st.sampled_from(["KGM", "C62", "nOhm.m", "kg"]))
            item.quantity.CopyFrom(event_pb2.Quantity(value=value, unit=unit))
    if event.WhichOneof("body") in ("aggregation", "association"):
        getattr(event, event.WhichOneof("body") or "").action = draw(st.integers(1, 3))
    event.time.start_ms = draw(st.integers(parse_ms("2000-01-01T00:00:00Z"), RECORDED_MS))
    event.time.end_ms = draw(st.integers(event.time.start_ms, RECORDED_MS))
    return event


def item_uris(value: Any) -> set[str]:
    """Return every string of an event, wherever it stands."""
    if isinstance(value, dict):
        return {uri for each in value.values() for uri in item_uris(each)}
    if isinstance(value, list):
        return {uri for each in value for uri in item_uris(each)}
    return {value} if isinstance(value, str) else set()


@given(native_events())
def test_any_native_event_is_a_sound_epcis_event_that_names_all_its_items(
    event: event_pb2.Event,
) -> None:
    whole = only(event)

    check(whole)
    named = {item_of_uri(uri) for uri in item_uris(whole)}
    assert {canonical_item(item.id) for item in event.items} <= named
    quantities = {item.quantity.value for item in event.items if item.HasField("quantity")}
    told = item_uris(whole) | {str(each) for each in numbers(whole)}
    assert quantities <= told


def numbers(value: Any) -> set[int | float]:
    if isinstance(value, dict):
        return {number for each in value.values() for number in numbers(each)}
    if isinstance(value, list):
        return {number for each in value for number in numbers(each)}
    return {value} if isinstance(value, int | float) and not isinstance(value, bool) else set()


def test_a_transformation_shows_its_lots_units_and_amounts() -> None:
    whole = only(
        with_items(
            "transformation",
            (LOT, "INPUT", "1.84", "KGM"),
            ("paper-7", "INPUT", "3", "C62"),
            ("urn:epc:id:sgtin:4012345.011111.9876", "OUTPUT", "", ""),
            ("W07", "USED", "", ""),
        )
    )

    assert whole["type"] == "TransformationEvent"
    assert whole["inputQuantityList"] == [
        {
            "epcClass": "https://id.gs1.org/01/04012345000016/10/CU-7",
            "quantity": 1.84,
            "uom": "KGM",
        },
        {"epcClass": "https://lotmark.invalid/item/paper-7", "quantity": 3},
    ]
    assert whole["outputEPCList"] == ["https://id.gs1.org/01/04012345111118/21/9876"]
    assert whole["bizStep"] == "https://lotmark.invalid/step/wind"
    assert whole["lotmark:items"] == [
        {"lotmark:item": "https://lotmark.invalid/item/W07", "lotmark:role": "USED"}
    ]
    assert whole["lotmark:transformation"]["lotmark:recipe"] == "R1"


def test_a_measurement_shows_its_value_unit_and_verdict() -> None:
    event = with_items("measurement", ("W07", "SUBJECT", "", ""))
    event.files.add(sha256=bytes(32), size=7, media_type="text/csv", name="raw.csv")
    whole = only(event)

    (element,) = whole["sensorElementList"]
    assert element["sensorReport"] == [
        {
            "type": "lotmark:Measurement",
            "value": -1.84,
            "uom": "kA",
            "lotmark:feature": "weld_137.current",
        }
    ]
    assert whole["disposition"] == "conformant"
    assert whole["lotmark:measurement"]["lotmark:value"] == "-1.840"


def test_a_shipment_and_a_receipt_show_the_other_party_and_the_despatch_advice() -> None:
    shipped, received = only(sound_event("shipment")), only(sound_event("material_receipt"))

    assert (shipped["bizStep"], shipped["disposition"]) == ("shipping", "in_transit")
    assert shipped["destinationList"][0]["destination"].startswith("https://lotmark.invalid/party/")
    assert received["sourceList"] == [
        {"type": "owning_party", "source": "https://lotmark.invalid/party/T2-CU-JX"}
    ]
    assert received["bizTransactionList"] == [
        {"type": "desadv", "bizTransaction": "https://lotmark.invalid/document/T2-CU-JX/DN-7"}
    ]


@pytest.mark.parametrize(
    ("body", "role"),
    [("association", "CHILD"), ("aggregation", "PARENT"), ("transformation", "INPUT")],
)
def test_half_a_relation_is_told_as_an_observation(body: str, role: str) -> None:
    whole = only(with_items(body, ("C-1", role, "", "")))

    check(whole)
    assert (whole["type"], whole["action"]) == ("ObjectEvent", "OBSERVE")
    assert whole["epcList"] == ["https://lotmark.invalid/device/W07"]
    assert whole["lotmark:items"] == [
        {"lotmark:item": "https://lotmark.invalid/item/C-1", "lotmark:role": role}
    ]


def captured(document: object) -> event_pb2.Event:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    (event,) = read_capture(raw, "application/json", now_ms=RECORDED_MS).events
    assert isinstance(event, CapturedEvent)
    return to_event(
        event.draft,
        lambda: bytes(16),
        device="erp",
        capture_mode=event_pb2.CAPTURE_MODE_MANUAL,
        uncertainty_us=0,
    )


@pytest.mark.parametrize("name", [name for name in files(EXAMPLES, "*.jsonld") if name != TWICE])
def test_an_event_of_gs1_comes_back_as_it_was_captured(name: str) -> None:
    raw = (require_shared(EXAMPLES) / name).read_bytes()
    for event in events_of(raw):
        whole = only(captured(event.compact_json()))

        members = dict(event.members)
        assert EPCIS_CONTEXT_URL in whole.pop("@context")
        assert whole.pop("recordTime") == "2026-02-01T00:00:00.123Z"
        event_id = members.pop("eventID", event_hash_uri(event.hash))
        members.pop("recordTime", None)
        assert whole.pop("eventID") == event_id
        assert whole == members


def test_a_captured_event_without_an_id_gets_its_hash_as_one() -> None:
    whole = only(captured(an_event()))

    assert whole["eventID"] == event_hash_uri(events_of(an_event())[0].hash)
    check(whole)


@pytest.mark.parametrize(
    ("document", "count"),
    [
        (b"", 0),
        (b"{", 0),
        (json.dumps([an_event(), an_event(action="ADD"), 7]).encode(), 2),
        (json.dumps({"@context": "https://evil.example/", "eventList": [an_event()]}).encode(), 0),
    ],
)
def test_a_document_gives_the_events_that_can_be_read(document: bytes, count: int) -> None:
    event = sound_event(
        "epcis_document",
        quality_pb2.EpcisDocument(document=document, document_digest=bytes(32), event_count=1),
    )

    assert len(exported(event)) == count


@given(st.sampled_from(IDS))
def test_the_uri_of_an_item_leads_back_to_its_name(item_id: str) -> None:
    assert item_of_uri(item_uri(item_id)) == canonical_item(item_id)
