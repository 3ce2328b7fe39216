"""EPCIS in XML: what it says becomes the JSON-LD event that says the same, or an error by place."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.document_fields import Place
from lotmark_adapters.epcis_context import EPCIS_CONTEXT_URL
from lotmark_adapters.epcis_document import RefusedEvent, split_document
from lotmark_adapters.errors import EpcisError
from tests.adapters.epcis_events import HASH_VECTORS, events_of, files, shared_events
from tests.shared_vectors import require_shared

TWINS = [
    name.removesuffix(".xml")
    for name in files(HASH_VECTORS, "*.xml")
    if name.replace(".xml", ".jsonld") in files(HASH_VECTORS, "*.jsonld")
]


def a_document(inner: str, attributes: str = "") -> bytes:
    return (
        '<e:EPCISDocument xmlns:e="urn:epcglobal:epcis:xsd:2" xmlns:x="https://x.example/"'
        f' schemaVersion="2.0" {attributes}><EPCISBody><EventList>{inner}</EventList></EPCISBody>'
        "</e:EPCISDocument>"
    ).encode()


def said(inner: str) -> dict[str, Any]:
    """Return what the JSON of an object event says."""
    (event,) = events_of(a_document(f"<ObjectEvent>{inner}</ObjectEvent>"), is_xml=True)
    said: dict[str, Any] = json.loads(event.compact_json())
    return said


@pytest.mark.parametrize("name", TWINS)
def test_an_xml_document_and_its_json_twin_say_the_same(name: str) -> None:
    require_shared(HASH_VECTORS)
    assert len(TWINS) == 8

    twins = [shared_events(HASH_VECTORS, name + suffix) for suffix in (".xml", ".jsonld")]
    assert [event.hash for event in twins[0]] == [event.hash for event in twins[1]]


def test_every_part_of_an_event_has_the_form_that_json_gives_it() -> None:
    assert said(
        """
        <eventTime> 2026-01-12T08:00:00Z </eventTime>
        <errorDeclaration><declarationTime>2026-01-12T09:00:00Z</declarationTime>
          <reason>urn:epcglobal:cbv:er:incorrect_data</reason>
          <correctiveEventIDs><correctiveEventID>urn:uuid:1</correctiveEventID>
          </correctiveEventIDs></errorDeclaration>
        <epcList><epc>urn:a</epc><epc>urn:b</epc></epcList>
        <bizStep>urn:epcglobal:cbv:bizstep:shipping</bizStep>
        <disposition>cbv:Disp-active</disposition>
        <persistentDisposition><set>https://ref.gs1.org/cbv/Disp-recalled</set>
        </persistentDisposition>
        <readPoint><id>urn:c</id><x:dock>4</x:dock></readPoint>
        <extension><quantityList><quantityElement><epcClass>urn:d</epcClass>
          <quantity>1.50</quantity><uom>KGM</uom></quantityElement></quantityList></extension>
        <bizTransactionList><bizTransaction type="urn:epcglobal:cbv:btt:po">urn:f</bizTransaction>
        </bizTransactionList>
        <sensorElementList><sensorElement><sensorMetadata time="2026-01-12T08:00:00Z"/>
          <sensorReport type="gs1:Temperature" value="26" booleanValue="true" x:note="n"/>
          <sensorReport type="y:z" component="cbv:Comp-x"/></sensorElement></sensorElementList>
        <ilmd><x:heat>7</x:heat></ilmd>
        <x:a>1</x:a><x:a>2</x:a><x:b c="3"><x:d/></x:b>
        """
    ) == {
        "@context": [EPCIS_CONTEXT_URL, {"x": "https://x.example/"}],
        "type": "ObjectEvent",
        "eventTime": "2026-01-12T08:00:00Z",
        "errorDeclaration": {
            "declarationTime": "2026-01-12T09:00:00Z",
            "reason": "incorrect_data",
            "correctiveEventIDs": ["urn:uuid:1"],
        },
        "epcList": ["urn:a", "urn:b"],
        "bizStep": "shipping",
        "disposition": "active",
        "persistentDisposition": {"set": ["recalled"]},
        "readPoint": {"id": "urn:c", "x:dock": "4"},
        "quantityList": [{"epcClass": "urn:d", "quantity": 1.5, "uom": "KGM"}],
        "bizTransactionList": [{"type": "po", "bizTransaction": "urn:f"}],
        "sensorElementList": [
            {
                "sensorMetadata": {"time": "2026-01-12T08:00:00Z"},
                "sensorReport": [
                    {"type": "Temperature", "value": 26, "booleanValue": True, "x:note": "n"},
                    {"type": "y:z", "component": "x"},
                ],
            }
        ],
        "ilmd": {"x:heat": "7"},
        "x:a": ["1", "2"],
        "x:b": {"c": "3", "x:d": ""},
    }


def test_a_prefix_that_a_value_begins_with_is_renamed_so_that_the_value_stays_what_it_is() -> None:
    event = said("<x:a>x:b</x:a>")

    assert event["@context"][1] == {"ns1": "https://x.example/"}
    assert event["ns1:a"] == "x:b"


def test_a_standard_prefix_for_another_namespace_is_renamed() -> None:
    event = said('<gs1:a xmlns:gs1="https://other.example/">1</gs1:a>')

    assert event["ns1:a"] == "1"


def test_a_query_document_s_ignored_fields_are_no_part_of_its_events() -> None:
    raw = a_document("<ObjectEvent><x:a>1</x:a><x:b>2</x:b></ObjectEvent>").replace(
        b"<EPCISBody>", b"<x:ignoreFields><x:b/><epcList/></x:ignoreFields><EPCISBody>"
    )

    (event,) = events_of(raw, is_xml=True)
    assert dict(event.members) == {"type": "ObjectEvent", "x:a": "1"}


REFUSED_DOCUMENTS = {
    "no XML": (b"{}", "no XML: "),
    "empty": (b"", "no XML: "),
    "entity": (
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + a_document("<a>&x;</a>"),
        "has a document type",
    ),
    "UTF-16 entity": (
        ('<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY x "y">]>'
         + a_document("<a/>").decode()).encode("utf-16"),
        "has a document type",
    ),
    "unknown entity": (a_document("<a>&x;</a>"), "no XML: "),
    "deep": (a_document("<a>" * 40 + "</a>" * 40), "nests deeper than 32 elements"),
    "very deep": (a_document("<a>" * 400 + "</a>" * 400), "no XML: "),
    "other root": (b"<a><EventList><ObjectEvent/></EventList></a>", "'a' is none of EPCISDocument"),
    "no event": (a_document(""), "EventList: no EPCIS event is here"),
    "list elsewhere": (
        b"<EPCISDocument><x><EventList><ObjectEvent/></EventList></x></EPCISDocument>",
        "EventList: no EPCIS event is here",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_DOCUMENTS)
def test_a_document_that_is_none_is_refused(case: str) -> None:
    raw, problem = REFUSED_DOCUMENTS[case]

    with pytest.raises(EpcisError, match=f"^d: {re.escape(problem)}"):
        split_document(raw, Place("d"), is_xml=True)


REFUSED_EVENTS = {
    "<quantityList><a/></quantityList>": "quantityList: 'a' stands where quantityElement belongs",
    "<epcList><epc>a</epc></epcList><epcList><epc>b</epc></epcList>": "epcList: stands twice",
    '<x:a x:b="1">2</x:a>': "'x:a': text beside attributes or elements has no form in JSON-LD",
    "<x:a><x:b/>2</x:a>": "'x:a': text beside attributes or elements has no form in JSON-LD",
    "<sensorElementList><sensorElement><sensorReport booleanValue='maybe'/></sensorElement>"
    "</sensorElementList>": "booleanValue: 'maybe' is no boolean; write true or false",
    "<quantity>one</quantity>": "quantity: 'one' is no decimal number",
    "<quantity>0.12345678901234567890</quantity>": "has more digits than a double",
    "".join(f'<y:a xmlns:y="urn:{number}"/>' for number in range(33)): "over 32 namespaces",
    '<y:a xmlns:y="file:///etc/"/>': "is no namespace",
}


@pytest.mark.parametrize("inner", REFUSED_EVENTS)
def test_an_event_without_a_form_in_json_is_refused_by_place_and_alone(inner: str) -> None:
    raw = a_document(f"<ObjectEvent/><ObjectEvent>{inner}</ObjectEvent>")

    good, bad = split_document(raw, Place("d"), is_xml=True)
    assert not isinstance(good, RefusedEvent)
    assert isinstance(bad, RefusedEvent)
    assert bad.reason.startswith("d: EventList[1]")
    assert REFUSED_EVENTS[inner] in bad.reason


TAGS = st.sampled_from(
    ["ObjectEvent", "eventTime", "epcList", "epc", "extension", "x:a", "ilmd", "sensorReport", "id",
     "quantityElement", "sensorElementList", "sensorElement", "bizTransaction", "readPoint"]
)  # fmt: skip
ELEMENT = st.recursive(
    st.sampled_from(["", "1", "urn:a", "x:b"]),
    lambda inner: st.builds(
        lambda tag, inside: f"<{tag}>{''.join(inside)}</{tag}>", TAGS, st.lists(inner, max_size=3)
    ),
    max_leaves=8,
)


@given(ELEMENT.map(a_document) | st.binary(max_size=80))
def test_any_xml_is_read_or_refused_by_our_error(raw: bytes) -> None:
    try:
        events = split_document(raw, Place("d"), is_xml=True)
    except EpcisError as error:
        assert str(error).startswith("d: ")  # noqa: PT017  # any other error fails
        return
    for event in events:
        if not isinstance(event, RefusedEvent):
            assert len(event.hash) == 32
