"""Small EPCIS events made of few words, so that queries and events often fit each other."""

from typing import Any

from hypothesis import strategies as st

EPCS = (
    "urn:epc:id:sgtin:4012345.011111.1",
    "https://id.gs1.org/01/04012345111118/21/1",
    "urn:epc:id:sgtin:4012345.011111.2",
    "https://example.org/unit/7",
)
CLASSES = (
    "urn:epc:class:lgtin:4012345.011111.A",
    "https://id.gs1.org/01/04012345111118/10/A",
    "x:y",
)
STEPS = ("shipping", "urn:epcglobal:cbv:bizstep:shipping", "receiving", "https://e.org/step")
PLACES = (
    "urn:epc:id:sgln:4012345.00001.0",
    "https://id.gs1.org/414/4012345000016",
    "https://e.org/p",
)
TIMES = (
    "2025-12-23T08:00:00Z",
    "2025-12-23T09:00:00.000+01:00",
    "2025-12-23T08:00:00.0005Z",
    "2025-12-24T00:00:00Z",
)
NUMBERS = (1, 2.5, 10, -3)
UNITS = ("KGM", "CEL")


def maybe(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict(members))


def some(*values: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), max_size=2)


_quantities = st.lists(
    maybe(
        epcClass=st.sampled_from(CLASSES),
        quantity=st.sampled_from(NUMBERS),
        uom=st.sampled_from(UNITS),
    ),
    max_size=2,
)
_place = maybe(id=st.sampled_from(PLACES))
_report = maybe(
    type=st.sampled_from(("Temperature", "gs1:Temperature", "Humidity")),
    value=st.sampled_from(NUMBERS),
    uom=st.sampled_from(UNITS),
    deviceID=st.sampled_from(EPCS),
    booleanValue=st.booleans(),
)
_transaction = maybe(
    type=st.sampled_from(("po", "urn:epcglobal:cbv:btt:po", "inv")),
    bizTransaction=st.sampled_from(("urn:x:1", "urn:x:2")),
)
# Nobody has checked what other nodes took: any member may be of any shape.
_odd: st.SearchStrategy[Any] = st.sampled_from([None, 1, True, [], {}, [[]], [None], {"id": 1}, ""])


def events() -> st.SearchStrategy[dict[str, Any]]:
    return maybe(
        type=st.sampled_from(("ObjectEvent", "TransformationEvent", "AggregationEvent")),
        action=st.sampled_from(("ADD", "OBSERVE")),
        bizStep=st.sampled_from(STEPS) | _odd,
        disposition=st.sampled_from(("active", "urn:epcglobal:cbv:disp:active", "recalled")),
        eventTime=st.sampled_from(TIMES) | _odd,
        recordTime=st.sampled_from(TIMES),
        epcList=some(*EPCS) | _odd,
        childEPCs=some(*EPCS),
        parentID=st.sampled_from(EPCS) | _odd,
        inputEPCList=some(*EPCS),
        outputEPCList=some(*EPCS),
        quantityList=_quantities | _odd,
        inputQuantityList=_quantities,
        readPoint=_place | _odd,
        bizLocation=_place,
        bizTransactionList=st.lists(_transaction, max_size=2) | _odd,
        sensorElementList=st.lists(maybe(sensorReport=st.lists(_report, max_size=2)), max_size=2)
        | _odd,
        errorDeclaration=maybe(declarationTime=st.sampled_from(TIMES)) | _odd,
        eventID=st.sampled_from(("urn:uuid:1", "urn:uuid:2")),
    )
