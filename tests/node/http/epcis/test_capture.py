"""Capturing over HTTP: what becomes of each event, of the same ones, of bad among good ones."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lotmark.client import Client, read_client_settings
from lotmark_node.http.api_keys import now_ms
from lotmark_node.http.epcis.capture_jobs import SoundEvent
from lotmark_node.http.epcis.capture_reading import read_events
from lotmark_node.http.epcis.exceptions import CAPTURE_EVENTS_MAX, CAPTURE_SIZE_MAX
from tests.node.http.epcis.epcis_endpoint import (
    CONTEXT,
    GTIN,
    EpcisEndpoint,
    document_of,
    new_epc,
    object_event,
)
from tests.node.http.http_node import CLIENT, READER, http_node, make_key

ANNOUNCED = "/epcis/events/ni%3A%2F%2F%2Fsha-256%3B"


def results(job: dict[str, Any]) -> list[str]:
    return [each["result"] for each in job["events"]]


def named(endpoint: EpcisEndpoint, event: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events on the ledger about the unit of an event."""
    return endpoint.events(f"MATCH_anyEPC={event['epcList'][0]}")


def test_a_document_is_captured_event_by_event_in_its_order(endpoint: EpcisEndpoint) -> None:
    sent = [object_event() for _ in range(5)]

    job = endpoint.captured(document_of(*sent))
    assert results(job) == ["accepted"] * 5
    assert (job["success"], job["errors"], job["captureErrorBehaviour"]) == (True, [], "rollback")
    entries = [each["entry"] for each in job["events"]]
    assert entries == sorted(set(entries))
    for event, result in zip(sent, job["events"], strict=True):
        (told,) = endpoint.event(result["eventID"])
        assert told["epcList"] == event["epcList"]
        assert endpoint.event(result["ledgerEventID"]) == [told]
        assert (told["eventID"], result["index"]) == (result["eventID"], sent.index(event))


def test_a_single_event_is_answered_with_what_the_ledger_has(endpoint: EpcisEndpoint) -> None:
    event = object_event()

    answer = endpoint.capture_one(event)
    assert answer.code == 201
    assert answer.headers["location"].startswith(ANNOUNCED)
    assert {**event, "recordTime": answer.body["recordTime"]} == {
        name: value for name, value in answer.body.items() if name != "eventID"
    }
    (told,) = endpoint.event(answer.body["eventID"])
    assert {**told, "@context": [CONTEXT]} == answer.body


# One bad event among many


BAD: list[tuple[dict[str, Any], str]] = [
    ({"bizStep": "wishing"}, "bizStep: 'wishing'"),
    ({"eventTime": "2026-01-12"}, "eventTime: '2026-01-12' is not a time"),
    ({"eventTime": "1999-01-12T08:00:00Z"}, "is before 2000; correct the clock"),
    ({"eventTime": None}, "eventTime is missing"),
    ({"action": "MOVE"}, "action: 'MOVE'"),
    ({"epcList": [f"https://id.gs1.org/01/{GTIN[:-1]}0/21/1"]}, "correct the digit"),
    (
        {"epcList": [f"https://example.org/{n}" for n in range(65)]},
        "65 different items; at most 64",
    ),
    ({"ex:note": "x"}, "ex:note"),
    ({"@context": [CONTEXT, {"ex": "https://e.org/"}], "ex:x": "x" * 13_000}, "split it"),
    ({"@context": "https://elsewhere.example/context.jsonld"}, "none is ever fetched"),
    ({"@context": [CONTEXT, {"@vocab": "https://e.org/"}]}, "@vocab"),
]


@pytest.mark.parametrize(("wrong", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_one_bad_event_does_not_spoil_the_others(
    endpoint: EpcisEndpoint, wrong: dict[str, Any], reason: str
) -> None:
    good = [object_event(), object_event()]
    document = document_of(good[0], good[1])
    document["epcisBody"]["eventList"].insert(1, {**object_event(**wrong)})
    if "@context" not in wrong:
        document["epcisBody"]["eventList"][1].pop("@context")

    job = endpoint.captured(document, behaviour="proceed")
    assert results(job) == ["accepted", "refused", "accepted"]
    assert (job["success"], job["captureErrorBehaviour"]) == (False, "proceed")
    (error,) = job["errors"]
    assert error["type"] == "epcisException:ValidationException"
    assert "eventList[1]" in error["detail"]
    assert reason in error["detail"]
    assert job["events"][1]["problem"] == error
    assert [len(named(endpoint, event)) for event in good] == [1, 1]


def test_by_rollback_nothing_is_sent_where_one_event_is_bad(endpoint: EpcisEndpoint) -> None:
    good, bad = object_event(), object_event(bizStep="wishing")

    job = endpoint.captured(document_of(good, bad))
    assert results(job) == ["notSent", "refused"]
    assert (job["running"], job["success"], len(job["errors"])) == (False, False, 1)
    (newest,) = endpoint.call("GET", "/capture?perPage=1").body
    assert newest == {name: value for name, value in job.items() if name != "events"}
    assert named(endpoint, good) == []


# The same event again


def test_the_same_event_again_is_told_and_not_sent_twice(endpoint: EpcisEndpoint) -> None:
    event = object_event()
    first = endpoint.captured(document_of(event))

    again = endpoint.captured(document_of(event, object_event()))
    assert results(again) == ["known", "accepted"]
    assert again["success"]
    assert again["events"][0]["entry"] == first["events"][0]["entry"]
    single = endpoint.capture_one(event)
    assert single.code == 409
    assert single.body["type"] == "epcisException:ResourceAlreadyExistsException"
    assert single.headers["location"].startswith(ANNOUNCED)
    assert len(named(endpoint, event)) == 1


def test_an_event_written_in_another_way_is_the_same(endpoint: EpcisEndpoint) -> None:
    unit = new_epc()
    serial = unit.rpartition("/")[2]
    event = object_event(epcList=[unit])
    other = object_event(
        epcList=[f"urn:epc:id:sgtin:{GTIN[1:8]}.0{GTIN[8:13]}.{serial}"],
        bizStep="urn:epcglobal:cbv:bizstep:inspecting",
        eventTime="2026-01-12T09:00:00+01:00",
        eventTimeZoneOffset="+00:00",
    )

    job = endpoint.captured(document_of(event, other, event))
    assert sorted(results(job)) == ["accepted", "known", "known"]
    assert len({each["entry"] for each in job["events"]}) == 1
    assert len({each["eventID"] for each in job["events"]}) == 1


def test_a_declaration_of_error_is_an_event_beside_the_one_it_is_about(
    endpoint: EpcisEndpoint,
) -> None:
    event = object_event()
    declared = {
        **event,
        "errorDeclaration": {
            "declarationTime": "2026-01-13T08:00:00Z",
            "reason": "incorrect_data",
        },
    }

    job = endpoint.captured(document_of(event, declared))
    assert results(job) == ["accepted", "accepted"]
    assert len({each["eventID"] for each in job["events"]}) == 1
    told = endpoint.event(job["events"][0]["eventID"])
    assert ["errorDeclaration" in each for each in told].count(True) == 1
    assert len(told) == 2
    assert results(endpoint.captured(document_of(declared))) == ["known"]


def test_the_same_event_of_another_party_is_another_statement(endpoint: EpcisEndpoint) -> None:
    event = object_event()
    (theirs,) = read_events(
        json.dumps(event).encode(),
        "application/json",
        device="erp",
        capture_mode="manual",
        now_ms=now_ms(),
    )
    assert isinstance(theirs, SoundEvent)
    with Client(read_client_settings(endpoint.node.client("OEM-A", "erp"))) as client:
        entry = client.submit(theirs.raw).result(20).index

    job = endpoint.captured(document_of(event))
    assert results(job) == ["accepted"]
    assert job["events"][0]["entry"] != entry
    assert len(endpoint.event(job["events"][0]["eventID"])) == 2


def test_of_many_at_once_with_one_event_one_captures_it(endpoint: EpcisEndpoint) -> None:
    event = object_event()

    with ThreadPoolExecutor(6) as threads:
        codes = [each.code for each in threads.map(lambda _: endpoint.capture_one(event), range(8))]
    assert sorted(codes) == [201, *[409] * 7]
    assert len(named(endpoint, event)) == 1


def test_what_the_ledger_refuses_is_told_with_its_reason(tmp_path: Path) -> None:
    clients = (f"{CLIENT}:report_seal", READER)  # the service's key is for seals alone
    with http_node(tmp_path / "c", clients=clients) as node:
        endpoint = EpcisEndpoint(node)
        job = endpoint.captured(document_of(object_event(), object_event()))
        assert results(job) == ["refused", "refused"]
        assert (job["running"], job["success"], len(job["errors"])) == (False, False, 2)
        (error,) = {json.dumps(each, sort_keys=True) for each in job["errors"]}
        assert json.loads(error)["type"] == "epcisException:SecurityException"
        assert "KEY_NOT_PERMITTED" in error
        single = endpoint.capture_one(object_event())
        assert (single.code, single.body["type"]) == (403, "epcisException:SecurityException")
        assert "KEY_NOT_PERMITTED" in single.body["detail"]


# What is no document


DEEP = b'{"@context":"' + CONTEXT.encode() + b'","type":' + b"[" * 100_000
NESTED = json.dumps(
    {**object_event(), "@context": [CONTEXT, {"ex": "https://e.org/"}], "ex:a": "DEEP"}
).replace('"DEEP"', '{"ex:a":' * 70 + "1" + "}" * 70)


@pytest.mark.parametrize(
    ("raw", "media_type", "reason"),
    [
        (b"", "application/json", "not JSON in UTF-8"),
        (b"{", "application/json", "not JSON in UTF-8"),
        (b"\xff\xfe{}", "application/json", "not JSON in UTF-8"),
        (b"[]", "application/json", "no EPCIS event is here"),
        (b"{}", "application/json", "no EPCIS event is here"),
        (b'{"a":1,"a":2}', "application/json", "'a' stands twice"),
        (DEEP, "application/json", "nests deeper than 64"),
        (NESTED.encode(), "application/ld+json", "nests deeper than 64"),
        (
            json.dumps(document_of(object_event(), context="http://127.0.0.1:1/x")).encode(),
            "application/json",
            "'http://127.0.0.1:1/x' is a context that is not pinned here, and none is ever fetched",
        ),
        (
            json.dumps(document_of(object_event(), context=[CONTEXT, {"@import": "x"}])).encode(),
            "application/json",
            "@import",
        ),
        (b"<a/>", "application/xml", "document"),
        (
            b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
            "application/xml",
            "document",
        ),
    ],
)
def test_what_is_no_document_is_refused_whole_with_the_reason(
    endpoint: EpcisEndpoint, raw: bytes, media_type: str, reason: str
) -> None:
    for answer in (
        endpoint.capture(raw, headers={"Content-Type": media_type}),
        endpoint.capture_one(raw, headers={"Content-Type": media_type}),
    ):
        assert answer.code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.body["type"] == "epcisException:ValidationException"
        assert reason in answer.body["detail"]


def test_an_event_in_xml_is_captured_like_its_twin_in_json(endpoint: EpcisEndpoint) -> None:
    event = object_event()
    xml = f"""<?xml version="1.0" encoding="UTF-8"?>
<epcis:EPCISDocument xmlns:epcis="urn:epcglobal:epcis:xsd:2" schemaVersion="2.0"
    creationDate="2026-01-12T08:00:00Z"><EPCISBody><EventList><ObjectEvent>
  <eventTime>2026-01-12T08:00:00Z</eventTime>
  <eventTimeZoneOffset>+00:00</eventTimeZoneOffset>
  <epcList><epc>{event["epcList"][0]}</epc></epcList>
  <action>OBSERVE</action>
  <bizStep>https://ref.gs1.org/cbv/BizStep-inspecting</bizStep>
</ObjectEvent></EventList></EPCISBody></epcis:EPCISDocument>"""

    answer = endpoint.capture(xml.encode(), headers={"Content-Type": "application/xml"})
    assert answer.code == 202, answer
    job = endpoint.finished(answer.headers["location"])
    assert results(job) == ["accepted"], job
    assert results(endpoint.captured(document_of(event))) == ["known"]


# Bounds


def test_a_document_over_the_bounds_is_refused_with_the_bounds(endpoint: EpcisEndpoint) -> None:
    many = endpoint.capture(document_of(*[object_event()] * (CAPTURE_EVENTS_MAX + 1)))
    assert many.code == 413
    assert f"{CAPTURE_EVENTS_MAX + 1} events; at most {CAPTURE_EVENTS_MAX}" in many.body["detail"]
    large = endpoint.capture(b" " * (CAPTURE_SIZE_MAX + 1))
    assert large.code == 413
    for answer in (many, large):
        assert answer.body["type"] == "epcisException:CaptureLimitExceededException"
        assert answer.headers["gs1-epcis-capture-limit"] == str(CAPTURE_EVENTS_MAX)
        assert answer.headers["gs1-epcis-capture-file-size-limit"] == str(CAPTURE_SIZE_MAX)


def test_large_bodies_are_read_only_from_those_who_may_capture(endpoint: EpcisEndpoint) -> None:
    reader = make_key(endpoint.node, "large-reader", may="query")
    large = b" " * (2 << 20)

    for key in (None, "lmk_unknown", reader):
        assert endpoint.capture(large, key=key).code == 413
    assert endpoint.capture_one(large).code == 413
    assert endpoint.capture(large).code == 400  # read, and no document


def test_a_body_that_is_not_read_and_a_header_that_cannot_be_are_named(
    endpoint: EpcisEndpoint,
) -> None:
    event = object_event()

    text = endpoint.capture(event, headers={"Content-Type": "text/csv"})
    assert (text.code, text.body["type"]) == (415, "epcisException:UnsupportedMediaTypeException")
    for headers, reason in (
        ({"GS1-Capture-Error-Behaviour": "all"}, "'all' is none of rollback, proceed"),
        ({"Lotmark-Capture-Mode": "guessed"}, "'guessed' is none of sensor_direct, manual"),
    ):
        answer = endpoint.capture(event, headers=headers)
        assert answer.code == 400
        assert reason in answer.body["detail"]
    several = endpoint.capture_one(document_of(event, object_event()))
    assert several.code == 400
    assert "has 2 events; send one here" in several.body["detail"]


# Jobs


def test_jobs_are_listed_newest_first_page_by_page_for_their_own_key_alone(
    endpoint: EpcisEndpoint,
) -> None:
    mine = make_key(endpoint.node, "lister", may="capture")
    made = [
        endpoint.capture(object_event(), key=mine).headers["location"].rpartition("/")[2]
        for _ in range(5)
    ]

    listed, url = [], "/capture?perPage=2"
    while url:
        answer = endpoint.call("GET", url, key=mine)
        assert len(answer.body) <= 2
        listed += [each["captureID"] for each in answer.body]
        assert all("events" not in each for each in answer.body)
        link = answer.headers.get("link", "")
        url = link.partition("</epcis")[2].partition(">")[0]
    assert listed == made[::-1]
    foreign = endpoint.call("GET", f"/capture/{made[0]}")
    assert (foreign.code, foreign.body["type"]) == (404, "epcisException:NoSuchNameException")


def test_a_right_is_good_for_what_it_names(endpoint: EpcisEndpoint) -> None:
    keys = {may: make_key(endpoint.node, f"only-{may}", may=may) for may in ("capture", "query")}
    keys |= {may: make_key(endpoint.node, f"only-{may}", may=may) for may in ("read", "seal")}
    event = json.dumps(object_event()).encode()
    needed = {
        ("POST", "/capture"): "capture",
        ("POST", "/events"): "capture",
        ("GET", "/capture"): "capture",
        ("GET", "/capture/x"): "capture",
        ("GET", "/events"): "query",
        ("GET", "/events/urn:x"): "query",
        ("GET", "/epcs"): "query",
        ("GET", "/bizSteps/shipping/events"): "query",
        ("GET", "/eventTypes"): "query",
        ("GET", "/"): None,
        ("OPTIONS", "/capture"): None,
        ("GET", "/queries"): None,
    }
    for (method, path), right in needed.items():
        for may, key in keys.items():
            body = event if method == "POST" else None
            answer = endpoint.call(method, path, key=key, body=body)
            assert (answer.code == 403) == (right not in (None, may)), (method, path, may, answer)
            if answer.code == 403:
                assert answer.body["type"] == "epcisException:SecurityException"
        assert endpoint.call(method, path, key=None).code == 401


def test_a_key_used_too_often_waits_whatever_route_it_takes(endpoint: EpcisEndpoint) -> None:
    slow = make_key(endpoint.node, "slow-epcis", may="capture,query", per_minute=1)

    assert endpoint.call("GET", "/events", key=slow).code == 200
    for method, path in (
        ("GET", "/events"),
        ("GET", "/capture"),
        ("OPTIONS", "/"),
        ("GET", "/epcs"),
    ):
        refused = endpoint.call(method, path, key=slow)
        assert refused.code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert endpoint.call("GET", "/events?perPage=1").code == 200
