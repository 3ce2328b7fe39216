"""The rules above the shape: sound events pass, each broken rule is named by place and remedy."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.rfc3339 import parse_ms
from lotmark_adapters.epcis_checks import check_epcis_event
from lotmark_adapters.epcis_context import EPCIS_CONTEXT_URL
from lotmark_adapters.errors import EpcisError
from tests.adapters.epcis_events import EXAMPLES, TWICE, an_event, events_of, files, shared_events
from tests.shared_vectors import require_shared

NOW_MS = parse_ms("2026-01-13T00:00:00Z")
SSCC = "https://id.gs1.org/00/040123450000003338"
UNIT = "urn:epc:id:sgtin:4012345.011111.9876"
LOT = "urn:epc:class:lgtin:4012345.011111.A7"
TRANSACTION = [{"type": "po", "bizTransaction": "urn:epcglobal:cbv:bt:4012345000009:7"}]
REPORT = {"type": "Temperature", "value": 21.5, "uom": "CEL"}


def check(**members: Any) -> None:
    (event,) = events_of(an_event(**members))
    check_epcis_event(event, now_ms=NOW_MS)


def aggregation(**members: Any) -> dict[str, Any]:
    return {
        "type": "AggregationEvent",
        "epcList": None,
        "action": "ADD",
        "parentID": SSCC,
        "childEPCs": [UNIT],
        **members,
    }


def transformation(**members: Any) -> dict[str, Any]:
    return {
        "type": "TransformationEvent",
        "epcList": None,
        "action": None,
        "inputQuantityList": [{"epcClass": LOT, "quantity": 1.84, "uom": "KGM"}],
        "outputEPCList": [UNIT],
        **members,
    }


def sensor(**report: Any) -> dict[str, Any]:
    return {"sensorElementList": [{"sensorReport": [{**REPORT, **report}]}]}


@pytest.mark.parametrize("name", [name for name in files(EXAMPLES, "*.jsonld") if name != TWICE])
def test_the_events_of_a_gs1_example_keep_every_rule(name: str) -> None:
    require_shared(EXAMPLES)

    for event in shared_events(EXAMPLES, name):
        check_epcis_event(event, now_ms=NOW_MS)


SOUND: dict[str, dict[str, Any]] = {
    "observed": {},
    "lot": {"epcList": [], "quantityList": [{"epcClass": LOT, "quantity": 3}], "action": "ADD"},
    "unknown amount": {"quantityList": [{"epcClass": LOT}]},
    "own class": {"quantityList": [{"epcClass": "https://example.com/steel"}]},
    "sensor alone": {"epcList": None, **sensor()},
    "master data": {"action": "ADD", "ilmd": {"ex:heat": ["7", {"ex:a": 1}]}},
    "own step": {"bizStep": "https://example.com/steps/winding"},
    "own step in short": {"bizStep": "ex:winding"},
    "step by URI": {"bizStep": "https://ref.gs1.org/cbv/BizStep-shipping"},
    "step by URN": {"bizStep": "urn:epcglobal:cbv:bizstep:shipping"},
    "aggregation": aggregation(),
    "aggregation seen": aggregation(action="OBSERVE", parentID=None),
    "all unpacked": aggregation(action="DELETE", childEPCs=None),
    "association": aggregation(type="AssociationEvent"),
    "transaction": {"type": "TransactionEvent", "bizTransactionList": TRANSACTION},
    "transformation": transformation(ilmd={"ex:heat": "7"}),
    "half a transformation": transformation(outputEPCList=None, transformationID="urn:uuid:1"),
    "error": {"errorDeclaration": {"declarationTime": "2026-01-12T09:00:00Z", "ex:by": "x"}},
    "extension": {"https://example.com/a": 1, "urn:x:b": True, "ex:c": {"plain": []}},
    "tomorrow": {"eventTime": "2026-01-13T23:59:59Z"},
}


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_event_passes(case: str) -> None:
    check(**SOUND[case])


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no context": ({"@context": None}, f"'@context' is missing; name {EPCIS_CONTEXT_URL} there"),
    "own context": ({"@context": {"ex": "urn:x:"}}, "'@context' is missing; name https://ref.gs1"),
    "no type": ({"type": None}, "type is missing; write one of ObjectEvent, AggregationEvent"),
    "other type": ({"type": "ex:Event"}, "type: 'ex:Event' is no event type; allowed are Obje"),
    "type list": ({"type": ["ObjectEvent"]}, "type: a list is no string"),
    "no time zone": ({"eventTimeZoneOffset": None}, "eventTimeZoneOffset is missing; the stand"),
    "time zone": ({"eventTimeZoneOffset": "+1"}, "'+1' is no time zone offset; write one from"),
    "time zone 15": ({"eventTimeZoneOffset": "+15:00"}, "'+15:00' is no time zone offset"),
    "time text": ({"eventTime": "12 January 2026"}, "eventTime: '12 January 2026' is not a time"),
    "local time": ({"eventTime": "2026-01-12T08:00:00"}, "is not a time such as 2026-01-12T08"),
    "time before": ({"eventTime": "1999-12-31T23:59:59Z"}, "is before 2000; correct the clock"),
    "time after": (
        {"eventTime": "2026-01-14T00:00:01Z"},
        "eventTime: '2026-01-14T00:00:01Z' is over 24 hours after now, 2026-01-13T00:00:00.000Z;",
    ),
    "record time": ({"recordTime": "now"}, "recordTime: 'now' is not a time"),
    "no action": ({"action": None}, "action is missing; the standard asks for it here"),
    "action": ({"action": "MOVE"}, "'MOVE' is no action; allowed are ADD, OBSERVE, DELETE"),
    "action of a transformation": (
        transformation(action="ADD"),
        "action: is no member of TransformationEvent, only of ObjectEvent, AggregationEvent,",
    ),
    "nothing": ({"epcList": None}, "epcList is missing; an ObjectEvent is about things"),
    "empty": ({"epcList": []}, "epcList is missing; an ObjectEvent is about things"),
    "step": (
        {"bizStep": "shiping"},
        "bizStep: 'shiping' is no business step: neither a bare name of the standard, such as"
        " shipping, nor a URI of your own",
    ),
    "step by wrong URI": (
        {"bizStep": "https://ref.gs1.org/cbv/BizStep-shiping"},
        "is no business step of the standard; write shipping, or a URI of your own",
    ),
    "step by wrong URN": ({"bizStep": "urn:epcglobal:cbv:bizstep:x"}, "is no business step of"),
    "disposition": ({"disposition": "broken"}, "disposition: 'broken' is no disposition: neither"),
    "step as disposition": ({"disposition": "shipping"}, "disposition: 'shipping' is no dispos"),
    "EPC": ({"epcList": ["9876"]}, "epcList[0]: '9876' is no URI; write one, such as urn:epc:id"),
    "EPC number": ({"epcList": [9876]}, "epcList[0]: 9876 is a bare number"),
    "EPC of a class": ({"epcList": [LOT]}, "names a class or lot, not a single thing; put it int"),
    "EPC twice": ({"epcList": [UNIT, UNIT]}, f"epcList[1]: '{UNIT}' stands twice; write it once"),
    "EPC text": ({"epcList": UNIT}, f"epcList: '{UNIT}' is no list; write it in [ ]"),
    "check digit": (
        {"epcList": ["https://id.gs1.org/01/04012345000017/21/1"]},
        "epcList[0]: '04012345000017' is no GTIN: the digit at place 14 checks those before it",
    ),
    "URN": ({"epcList": ["urn:epc:id:sgtin:1.2.3"]}, "is no urn:epc:id:sgtin: a company prefix of"),
    "class": ({"quantityList": [{"quantity": 1}]}, "quantityList[0].epcClass is missing; the st"),
    "class of one": (
        {"quantityList": [{"epcClass": UNIT}]},
        "names a single thing, not a class or",
    ),
    "quantity text": ({"quantityList": [{"epcClass": LOT, "quantity": "3"}]}, "'3' is no number;"),
    "no quantity": (
        {"quantityList": [{"epcClass": LOT, "uom": "KGM"}]},
        "quantity is missing; a u",
    ),
    "quantity 0": ({"quantityList": [{"epcClass": LOT, "quantity": 0}]}, "0 is not above 0; leave"),
    "pieces": (
        {"quantityList": [{"epcClass": LOT, "quantity": 1.5}]},
        "quantity: 1.5 is no number of pieces; name its unit in uom",
    ),
    "unit": ({"quantityList": [{"epcClass": LOT, "uom": "kg"}]}, "uom: 'kg' is no unit; write its"),
    "quantity member": ({"quantityList": [{"epcClass": LOT, "ex:a": 1}]}, "is unknown; allowed he"),
    "no parent": (aggregation(parentID=None), "parentID is missing; an AggregationEvent with acti"),
    "no parent seen": (
        aggregation(type="AssociationEvent", action="OBSERVE", parentID=None),
        "parentID is missing; an AssociationEvent with action OBSERVE names the parent",
    ),
    "no children": (aggregation(childEPCs=None), "childEPCs is missing; with action ADD write"),
    "parent list": (aggregation(parentID=[SSCC]), "parentID: a list is no string"),
    "no transaction": ({"type": "TransactionEvent"}, "bizTransactionList is missing; a Transactio"),
    "nothing of a transaction": (
        {"type": "TransactionEvent", "bizTransactionList": TRANSACTION, "epcList": None},
        "epcList is missing; with action OBSERVE write epcList or quantityList",
    ),
    "transaction type": (
        {"bizTransactionList": [{"type": "order", "bizTransaction": "urn:x:1"}]},
        "bizTransactionList[0].type: 'order' is no business transaction type: neither a bare name"
        " of the standard, such as prodorder,",
    ),
    "transaction id": ({"bizTransactionList": [{"bizTransaction": "7"}]}, "'7' is no URI; write"),
    "empty list": ({"bizTransactionList": []}, "bizTransactionList: is empty; leave it out"),
    "source": ({"sourceList": [{"source": "urn:x:1"}]}, "sourceList[0].type is missing; the stan"),
    "no input": (
        transformation(inputQuantityList=None),
        "inputEPCList is missing; write it or its quantity list; outputs alone need a transform",
    ),
    "no output": (transformation(outputEPCList=[]), "outputEPCList is missing; write it or its"),
    "neither": (
        transformation(inputQuantityList=None, outputEPCList=None, transformationID="urn:uuid:1"),
        "inputEPCList is missing; a TransformationEvent has inputs and outputs",
    ),
    "input of an object": ({"inputEPCList": [UNIT]}, "is no member of ObjectEvent, only of Transf"),
    "master data of an observation": (
        {"ilmd": {"ex:heat": "7"}},
        "ilmd: stands in an event with action 'OBSERVE'; master data is stated where things come",
    ),
    "master data of an aggregation": (
        aggregation(ilmd={"ex:heat": "7"}),
        "ilmd: is no member of AggregationEvent, only of ObjectEvent, TransformationEvent",
    ),
    "bare master data": (
        {"action": "ADD", "ilmd": {"heat": "7"}},
        "ilmd.heat: is unknown; allowed here are members with a prefix of your own",
    ),
    "no master data": ({"action": "ADD", "ilmd": {}}, "ilmd: is empty; leave it out"),
    "place": ({"readPoint": "urn:epc:id:sgln:4012345.00005.0"}, "readPoint: 'urn:epc:id:sgln:4"),
    "place id": ({"readPoint": {"ex:a": 1}}, "readPoint.id is missing; the standard asks for it"),
    "set": ({"persistentDisposition": {}}, "persistentDisposition.set is missing; write which"),
    "set twice": (
        {"persistentDisposition": {"set": ["recalled"], "unset": ["recalled"]}},
        "persistentDisposition: 'recalled' is both set and unset; decide for one",
    ),
    "error time": (
        {"errorDeclaration": {"reason": "incorrect_data"}},
        "declarationTime is missi",
    ),
    "error reason": (
        {"errorDeclaration": {"declarationTime": "2026-01-12T09:00:00Z", "reason": "wrong"}},
        "errorDeclaration.reason: 'wrong' is no error reason: neither",
    ),
    "corrections": (
        {"errorDeclaration": {"declarationTime": "2026-01-12T09:00:00Z", "correctiveEventIDs": []}},
        "errorDeclaration.correctiveEventIDs: is empty",
    ),
    "event id": ({"eventID": "7"}, "eventID: '7' is no URI"),
    "certificate": ({"certificationInfo": ["a"]}, "certificationInfo[0]: 'a' is no URI"),
    "no report": ({"sensorElementList": [{"sensorMetadata": {}}]}, "[0].sensorReport is missing;"),
    "report list": (
        {"sensorElementList": [{"sensorReport": REPORT}]},
        "sensorReport: a table is n",
    ),
    "report type": (sensor(type="Heat"), "sensorReport[0].type: 'Heat' is no measurement type"),
    "report without type": ({"sensorElementList": [{"sensorReport": [{}]}]}, "type is missing; th"),
    "exception": (
        sensor(exception="ALARM"),
        "exception: 'ALARM' is no sensor alert: neither a bar",
    ),
    "value": (sensor(value="21"), "value: '21' is no number; write it bare, such as 12.5"),
    "value true": (sensor(value=True), "value: true is no number"),
    "boolean": (sensor(booleanValue="true"), "booleanValue: 'true' is neither true nor false"),
    "hex": (sensor(hexBinaryValue="f0f"), "hexBinaryValue: 'f0f' is not hexadecimal"),
    "limits": (sensor(minValue=2, maxValue=1), "maxValue: 1 is below minValue 2; exchange them"),
    "deviation": (sensor(sDev=-1), "sDev: -1 is below 0; a deviation never is"),
    "rank": (sensor(percRank=101, percValue=1), "percRank: 101 is no per cent from 0 to 100"),
    "rank alone": (sensor(percRank=50), "percValue is missing; percRank says nothing without it"),
    "interval": (
        {
            "sensorElementList": [
                {
                    "sensorMetadata": {
                        "startTime": "2026-01-12T08:00:01Z",
                        "endTime": "2026-01-12T08:00:00Z",
                    },
                    "sensorReport": [REPORT],
                }
            ]
        },
        "sensorMetadata.endTime: is before startTime; exchange or correct them",
    ),
    "unknown": ({"note": "x"}, "note: is unknown; allowed here are type, eventTime, recordTime"),
    "undeclared": ({"foo:note": "x"}, "has the prefix 'foo', which @context does not declare; dec"),
    "undeclared inside": ({"ex:a": {"foo:b": 1}}, "has the prefix 'foo', which @context does not"),
    "null": ({"ex:a": [None]}, "'ex:a'[0]: is null; leave it out where there is nothing to say"),
    "context inside": (
        {"ex:a": {"@context": "https://evil.example/c.jsonld"}},
        "'ex:a'.'@context': is a keyword of JSON-LD, which may change what others read here",
    ),
    "keyword": ({"@graph": []}, "'@graph': is unknown; allowed here are type"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_event_that_breaks_a_rule_is_refused_by_place_and_with_a_remedy(case: str) -> None:
    members, problem = BROKEN[case]

    with pytest.raises(EpcisError, match=f"^d: .*{re.escape(problem)}"):
        check(**members)


def test_an_extension_that_nests_too_deep_is_refused() -> None:
    value: Any = "x"
    for _ in range(40):
        value = {"ex:a": value}

    with pytest.raises(EpcisError, match="nests deeper than 32; flatten it"):
        check(**{"ex:a": value})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([UNIT, LOT, "po", "ADD", "2026-01-12T08:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["type", "id", "epcClass", "quantity", "sensorReport", "ex:a", "@id"]),
        inner,
        max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip
NAMES = st.sampled_from(
    sorted({name for members, _ in BROKEN.values() for name in members if name != "@context"})
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_event_passes_or_is_refused_by_our_error(members: dict[str, Any]) -> None:
    whole = an_event()
    whole.update(members)
    whole.setdefault("eventTime", "2026-01-12T08:00:00Z")
    (event,) = events_of(whole)
    try:
        check_epcis_event(event, now_ms=NOW_MS)
    except EpcisError as error:
        assert str(error).startswith("d: ")  # noqa: PT017  # any other error fails
