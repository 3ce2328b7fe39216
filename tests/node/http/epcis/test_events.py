"""Querying EPCIS events over HTTP: parameters, order, pages, resources, the ledger's own."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest

from lotmark.client import Client, item, new_event, read_client_settings
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.epcis_uris import item_uri
from lotmark_node.http.epcis.negotiation import URI_SIZE_MAX
from tests.node.http.epcis.epcis_endpoint import (
    CONTEXT,
    GTIN,
    EpcisEndpoint,
    document_of,
    events_of,
    new_epc,
    next_page,
    object_event,
)
from tests.node.http.http_node import PARTY

LOT = f"https://id.gs1.org/01/{GTIN}/10/CU-20251223-07"
PLACE = "https://id.gs1.org/414/4012345000016"


def ids(events: list[dict[str, Any]]) -> list[str]:
    return [event["eventID"] for event in events]


def encoded(value: str) -> str:
    return quote(value, safe="")


@pytest.fixture(scope="module")
def line(endpoint: EpcisEndpoint) -> list[dict[str, Any]]:
    """Capture what happened to one unit, and return it as the ledger tells it."""
    unit, box = new_epc(), new_epc()
    made = {
        "type": "TransformationEvent",
        "action": None,
        "epcList": None,
        "bizStep": "assembling",
        "eventTime": "2026-01-12T08:00:00.0005Z",
        "inputQuantityList": [{"epcClass": LOT, "quantity": 1.84, "uom": "KGM"}],
        "outputEPCList": [unit],
    }
    seen = {
        "epcList": [unit],
        "bizStep": "inspecting",
        "disposition": "non_conformant",
        "eventTime": "2026-01-12T09:30:00+01:00",
        "eventTimeZoneOffset": "+01:00",
        "readPoint": {"id": PLACE},
        "bizLocation": {"id": PLACE},
        "bizTransactionList": [{"type": "po", "bizTransaction": "urn:example:po:1"}],
        "sensorElementList": [
            {"sensorReport": [{"type": "Temperature", "value": 21.5, "uom": "CEL"}]}
        ],
        "@context": [CONTEXT, {"ex": "https://example.org/ns/"}],
        "ex:weld": 137,
    }
    packed = {
        "type": "AggregationEvent",
        "action": "ADD",
        "epcList": None,
        "parentID": box,
        "childEPCs": [unit],
        "bizStep": "packing",
        "eventTime": "2026-01-12T10:00:00Z",
        "eventID": "urn:uuid:6f1d2c3b-0000-4000-8000-000000000001",
    }
    for members in (made, seen, packed):
        assert endpoint.capture_one(object_event(**members)).code == 201
    found = endpoint.events(f"MATCH_anyEPC={unit}&orderBy=eventTime&orderDirection=ASC")
    assert [event["bizStep"] for event in found] == ["assembling", "inspecting", "packing"]
    return found


def test_each_parameter_finds_the_events_that_it_is_about(
    endpoint: EpcisEndpoint, line: list[dict[str, Any]]
) -> None:
    unit, (made, seen, packed) = line[0]["outputEPCList"][0], line
    serial = unit.rpartition("/")[2]
    urn = f"urn:epc:id:sgtin:{GTIN[1:8]}.0{GTIN[8:13]}.{serial}"
    cases: list[tuple[str, list[dict[str, Any]]]] = [
        (f"MATCH_anyEPC={encoded(unit)}", [made, seen, packed]),
        (f"MATCH_anyEPC={encoded(urn)}", [made, seen, packed]),
        (f"MATCH_epc={encoded(urn)}", [seen, packed]),
        (f"MATCH_outputEPC={encoded(unit)}", [made]),
        (f"MATCH_parentID={encoded(packed['parentID'])}", [packed]),
        (f"MATCH_anyEPC={encoded(packed['parentID'] + '|' + unit)}", [made, seen, packed]),
        (f"MATCH_anyEPC={unit}&eventType=ObjectEvent%7CAggregationEvent", [seen, packed]),
        (f"MATCH_anyEPC={unit}&EQ_action=ADD", [packed]),
        (f"MATCH_anyEPC={unit}&EQ_disposition=non_conformant", [seen]),
        (f"MATCH_anyEPC={unit}&EQ_bizStep=urn:epcglobal:cbv:bizstep:packing", [packed]),
        (f"MATCH_anyEPC={unit}&EQ_readPoint=urn:epc:id:sgln:4012345.00001.0", [seen]),
        (f"MATCH_anyEPC={unit}&EQ_bizTransaction_po=urn:example:po:1", [seen]),
        (f"MATCH_anyEPC={unit}&GE_eventTime=2026-01-12T08:00:00.0006Z", [seen, packed]),
        (f"MATCH_anyEPC={unit}&LT_eventTime=2026-01-12T09:00:00.0006%2B01:00", [made]),
        (f"MATCH_anyEPC={unit}&EQ_quantity_KGM=1.84", [made]),
        (f"MATCH_anyEPC={unit}&GT_value_CEL=21.4", [seen]),
        (f"MATCH_anyEPC={unit}&GT_value_CEL=21.5", []),
        (f"MATCH_anyEPC={unit}&EXISTS_sensorElementList=true", [seen]),
        (f"MATCH_anyEPC={unit}&EQ_ex:weld=137", [seen]),
        (f"MATCH_anyEPC={unit}&EQ_https://example.org/ns/weld=137", [seen]),
        (f"EQ_eventID={encoded(made['eventID'])}", [made]),
        (f"EQ_eventID={encoded(packed['eventID'])}&MATCH_anyEPC={unit}", [packed]),
        (f"MATCH_inputEPCClass={encoded(LOT)}&MATCH_outputEPC={unit}", [made]),
        ("MATCH_anyEPC=urn:epc:id:sgtin:4012345.000001.nobody", []),
        ("MATCH_anyEPC=https://id.gs1.org/01/04012345000017/21/wrong-digit", []),
    ]
    for query, expected in cases:
        assert set(ids(endpoint.events(query))) == set(ids(expected)), query


def test_a_prefix_of_the_query_is_what_its_header_says(
    endpoint: EpcisEndpoint, line: list[dict[str, Any]]
) -> None:
    unit = line[0]["outputEPCList"][0]
    url = f"/events?MATCH_anyEPC={unit}&EQ_mine:weld=137"

    assert events_of(endpoint.call("GET", url)) == []
    header = {"GS1-Extensions": "other=https://e.org/, mine=https://example.org/ns/"}
    assert ids(events_of(endpoint.call("GET", url, headers=header))) == [line[1]["eventID"]]


def test_the_resources_lead_to_the_same_events(
    endpoint: EpcisEndpoint, line: list[dict[str, Any]]
) -> None:
    unit, (made, seen, packed) = line[0]["outputEPCList"][0], line
    for path, expected in (
        (f"/epcs/{encoded(unit)}", [made, seen, packed]),
        (f"/epcs/{encoded(LOT)}", [made]),
        ("/bizSteps/packing", [packed]),
        (f"/bizSteps/{encoded('https://ref.gs1.org/cbv/BizStep-packing')}", [packed]),
        (f"/bizLocations/{encoded(PLACE)}", [seen]),
        (f"/readPoints/{encoded('urn:epc:id:sgln:4012345.00001.0')}", [seen]),
        ("/dispositions/non_conformant", [seen]),
        ("/eventTypes/AggregationEvent", [packed]),
    ):
        one = endpoint.call("GET", path)
        assert (one.code, one.body["member"]) == (200, ["events"]), path
        found = endpoint.events(f"MATCH_anyEPC={encoded(unit)}", f"{path}/events")
        assert set(ids(found)) == set(ids(expected)), path
        options = endpoint.call("OPTIONS", f"{path}/events")
        assert (options.code, options.headers["allow"]) == (204, "GET, OPTIONS")


def test_the_lists_tell_what_there_is(endpoint: EpcisEndpoint, line: list[dict[str, Any]]) -> None:
    def listed(path: str) -> list[str]:
        members: list[str] = []
        while path:
            answer = endpoint.call("GET", path)
            assert len(answer.body["member"]) == len(set(answer.body["member"])) <= 7
            members += answer.body["member"]
            path = next_page(answer).removeprefix("/epcis")
        return members

    assert {line[0]["outputEPCList"][0], LOT} <= set(listed("/epcs?perPage=7"))
    assert PLACE in listed("/bizLocations?perPage=7")
    assert PLACE in listed("/readPoints?perPage=7")
    assert "shipping" in endpoint.call("GET", "/bizSteps").body["member"]
    assert "conformant" in endpoint.call("GET", "/dispositions").body["member"]
    assert len(endpoint.call("GET", "/eventTypes").body["member"]) == 5


@pytest.mark.parametrize(
    "path",
    [
        "/epcs/urn:example:nobody",
        "/bizLocations/urn:example:nowhere",
        "/eventTypes/WishEvent",
        "/eventTypes/WishEvent/events",
        "/bizSteps/wishing",
        "/events/urn:uuid:00000000-0000-4000-8000-000000000000",
        f"/events/{quote('ni:///sha-256;' + '0' * 64 + '?ver=CBV2.0', safe='')}",
        f"/events/{quote('https://lotmark.invalid/event/' + '0' * 64, safe='')}",
        "/capture/nothing",
        "/nothing",
    ],
)
def test_what_is_not_there_is_said_not_to_be(endpoint: EpcisEndpoint, path: str) -> None:
    answer = endpoint.call("GET", path)

    assert answer.code == 404, answer
    assert answer.body["type"] == "epcisException:NoSuchNameException"


def test_an_event_is_found_by_its_hash_however_its_id_is_escaped(
    endpoint: EpcisEndpoint, line: list[dict[str, Any]]
) -> None:
    made = line[0]["eventID"]

    for path in (encoded(made), made, made.replace("?", "%3F")):
        answer = endpoint.call("GET", f"/events/{path}")
        assert answer.code == 200, answer
        assert ids(events_of(answer)) == [made]


# Order, limits, pages


def test_events_come_in_the_order_asked_for_and_page_by_page(endpoint: EpcisEndpoint) -> None:
    unit = new_epc()
    start = datetime(2026, 1, 12, tzinfo=UTC)
    minutes = [3, 1, 4, 1, 5, 9, 2, 6]
    sent = [
        object_event(
            epcList=[unit],
            eventTime=(start + timedelta(minutes=each)).isoformat(),
            **{"@context": [CONTEXT, {"ex": "https://example.org/ns/"}], "ex:number": number},
        )
        for number, each in enumerate(minutes)
    ]
    job = endpoint.captured(document_of(*sent, context=sent[0]["@context"]))
    assert job["success"], job

    def numbers(query: str) -> list[int]:
        return [each["ex:number"] for each in endpoint.events(f"MATCH_anyEPC={unit}&{query}")]

    order = sorted(range(8), key=lambda number: minutes[number])
    assert numbers("perPage=3&orderBy=eventTime&orderDirection=ASC") == order
    descending = numbers("perPage=3&orderBy=eventTime")
    assert [minutes[each] for each in descending] == sorted(minutes, reverse=True)
    assert numbers("perPage=3&orderBy=recordTime&orderDirection=ASC") == list(range(8))
    assert numbers("perPage=2&orderBy=recordTime") == list(range(8))[::-1]
    assert numbers("perPage=2&orderBy=recordTime&eventCountLimit=3") == [7, 6, 5]
    assert len(numbers("maxEventCount=8&perPage=3")) == 8
    too_many = endpoint.call("GET", f"/events?MATCH_anyEPC={unit}&maxEventCount=7")
    assert too_many.code == 413
    assert too_many.body["type"] == "epcisException:QueryTooLargeException"


def test_record_times_are_the_ledger_s_and_can_be_asked_for(endpoint: EpcisEndpoint) -> None:
    before = endpoint.capture_one(object_event()).body
    after = endpoint.capture_one(object_event()).body
    assert before["recordTime"] < after["recordTime"]

    since = endpoint.events(f"GE_recordTime={after['recordTime']}")
    assert ids(since)[-1:] == [after["eventID"]]
    until = endpoint.call("GET", f"/events?LT_recordTime={after['recordTime']}&perPage=1")
    assert ids(events_of(until)) == [before["eventID"]]


def test_a_page_token_is_good_for_its_own_question(endpoint: EpcisEndpoint) -> None:
    for _ in range(3):
        endpoint.capture_one(object_event())
    first = endpoint.call("GET", "/events?perPage=1&EQ_bizStep=inspecting")
    following = next_page(first)
    assert following.startswith("/epcis/events?EQ_bizStep=inspecting&perPage=1&nextPageToken=")
    assert first.headers["link"].endswith('; rel="next"')
    assert first.headers["gs1-next-page-token-expires"] > first.body["creationDate"]

    path = following.removeprefix("/epcis")
    for other in (path.replace("inspecting", "shipping"), path + "A", path.replace("=1", "=0")):
        answer = endpoint.call("GET", other)
        assert answer.code == 400
        assert answer.body["type"] == "epcisException:QueryParameterException"
    assert ids(events_of(endpoint.call("GET", path))) != ids(events_of(first))


# The ledger's other events


def test_the_ledger_s_own_events_are_told_as_epcis_events(endpoint: EpcisEndpoint) -> None:
    unit = f"ST{new_epc().rpartition('/')[2]}"
    raw = new_event(
        quality_pb2.Measurement(
            feature="bore_1.diameter",
            value="7.998",
            unit="mm",
            verdict=quality_pb2.VERDICT_NONCONFORMING,
        ),
        device="gauge-3",
        capture=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
        time=(datetime(2026, 1, 12, 8, tzinfo=UTC), datetime(2026, 1, 12, 9, tzinfo=UTC)),
        uncertainty_us=2_000,
        items=[item(unit)],
    )
    with Client(read_client_settings(endpoint.node.client(PARTY, "lims"))) as client:
        delivery = client.submit(raw)
        entry = delivery.result(20).index

    uri = item_uri(unit)
    (told,) = endpoint.events(f"MATCH_epc={encoded(uri)}")
    assert (told["type"], told["epcList"], told["disposition"]) == (
        "ObjectEvent",
        [uri],
        "non_conformant",
    )
    assert told["lotmark:party"] == PARTY
    for event_id in (told["eventID"], told["lotmark:event"]):
        assert endpoint.event(event_id) == [told], event_id
    assert endpoint.events(f"MATCH_epc={unit}") == [told]
    closed = "GE_eventTime=2026-01-12T09:00:00Z&LT_eventTime=2026-01-12T09:00:00.001Z"
    assert told in endpoint.events(closed)
    assert told in endpoint.events("EQ_lotmark:device=gauge-3")
    assert entry is not None
    # What is told can be read by any reader, and captured it says the same.
    job = endpoint.captured(document_of(told, context=[CONTEXT, told_namespace(endpoint)]))
    assert job["events"][0].get("eventID") == told["eventID"], job


def told_namespace(endpoint: EpcisEndpoint) -> dict[str, str]:
    header = endpoint.call("OPTIONS", "/events").headers["gs1-extensions"]
    prefix, _, namespace = header.partition("=")
    return {prefix: namespace}


# Versions, forms, what is not served


@pytest.mark.parametrize(
    ("headers", "code", "content_type"),
    [
        ({}, 200, "application/json"),
        ({"Accept": "*/*"}, 200, "application/json"),
        ({"Accept": "application/ld+json"}, 200, "application/ld+json"),
        ({"Accept": "application/json;q=0.5, application/ld+json"}, 200, "application/ld+json"),
        ({"Accept": "application/xml, application/*;q=0.1"}, 200, "application/json"),
        ({"Accept": "application/xml"}, 406, ""),
        ({"Accept": "application/json;q=0"}, 406, ""),
        ({"GS1-EPCIS-Min": "2.0", "GS1-EPCIS-Max": "2.0"}, 200, "application/json"),
        ({"GS1-EPCIS-Min": "1.2.0", "GS1-CBV-Max": "3"}, 200, "application/json"),
        ({"GS1-EPCIS-Max": "1.2.0"}, 406, ""),
        ({"GS1-EPCIS-Min": "2.1"}, 406, ""),
        ({"GS1-CBV-Min": "new"}, 406, ""),
        ({"GS1-EPC-Format": "Never_Translates"}, 200, "application/json"),
        ({"GS1-EPC-Format": "Always_EPC_URN"}, 406, ""),
    ],
)
def test_an_answer_comes_in_a_form_and_version_that_was_asked_for_or_not_at_all(
    endpoint: EpcisEndpoint, headers: dict[str, str], code: int, content_type: str
) -> None:
    for path in ("/events?perPage=1", "/", "/eventTypes", "/capture"):
        answer = endpoint.call("GET", path, headers=headers)
        assert answer.code == code, (path, answer)
        if code == 200:
            assert answer.headers["content-type"] == content_type
            assert answer.headers["gs1-epcis-version"] == "2.0.0"
        else:
            assert answer.body["type"] == "epcisException:NotAcceptableException"


def test_a_version_that_is_not_spoken_is_not_captured(endpoint: EpcisEndpoint) -> None:
    answer = endpoint.capture(object_event(), headers={"GS1-EPCIS-Version": "1.2.0"})

    assert answer.code == 406


def test_discovery_tells_methods_versions_and_bounds(endpoint: EpcisEndpoint) -> None:
    top = endpoint.call("GET", "/").body["member"]
    assert top == [
        *("capture", "events", "eventTypes", "epcs", "bizSteps"),
        *("bizLocations", "readPoints", "dispositions"),
    ]
    for name in ("", *top):
        answer = endpoint.call("OPTIONS", f"/{name}")
        assert answer.code == 204
        assert answer.raw == b""
        may_post = name in ("capture", "events")
        assert answer.headers["allow"] == ("GET, OPTIONS, POST" if may_post else "GET, OPTIONS")
        assert answer.headers["gs1-epcis-min"] == answer.headers["gs1-epcis-max"] == "2.0.0"
        assert answer.headers["gs1-epc-format"] == "Never_Translates"
        assert answer.headers["gs1-vendor-version"].startswith("lotmark ")
    capture = endpoint.call("OPTIONS", "/capture").headers
    assert capture["gs1-capture-error-behaviour"] == "all"
    assert int(capture["gs1-epcis-capture-limit"]) > 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/queries"),
        ("POST", "/queries"),
        ("DELETE", "/queries/mine"),
        ("GET", "/queries/mine/events"),
        ("POST", "/queries/mine/subscriptions"),
        ("DELETE", "/queries/mine/subscriptions/1"),
        ("DELETE", "/nextPageToken/x"),
        ("GET", "/events?WD_readPoint=urn:x"),
        ("GET", "/events?HASATTR_ex:a=b"),
    ],
)
def test_what_the_standard_has_and_this_does_not_is_not_implemented(
    endpoint: EpcisEndpoint, method: str, path: str
) -> None:
    answer = endpoint.call(method, path)

    assert (answer.code, answer.body["type"]) == (501, "epcisException:ImplementationException")
    assert "not served" in answer.body["detail"]


def test_a_uri_that_is_too_long_is_not_read(endpoint: EpcisEndpoint) -> None:
    answer = endpoint.call("GET", f"/events?EQ_bizStep={'a' * URI_SIZE_MAX}")

    assert (answer.code, answer.body["type"]) == (414, "epcisException:URITooLongException")


def test_newer_events_do_not_disturb_the_pages_of_a_query(endpoint: EpcisEndpoint) -> None:
    unit = new_epc()
    events = [object_event(epcList=[unit], bizStep=step) for step in ("packing", "shipping")]
    for event in events:
        assert endpoint.capture_one(event).code == 201
    pages, url = [], f"/events?MATCH_anyEPC={unit}&perPage=1"
    while url:
        answer = endpoint.call("GET", url)
        pages += events_of(answer)
        assert endpoint.capture_one(object_event()).code == 201
        endpoint.capture_one(object_event(epcList=[unit], bizStep="arriving"))
        url = next_page(answer).removeprefix("/epcis")

    steps = [event["bizStep"] for event in pages]
    assert steps == ["shipping", "packing"]
    assert all(one["recordTime"] >= other["recordTime"] for one, other in pairwise(pages))
