"""Query parameters: what each asks for, against a plain reference, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark_node.http.epcis.event_fields import Event
from lotmark_node.http.epcis.event_query import IndexConditions, OrderBy
from lotmark_node.http.epcis.instants import parse_instant
from lotmark_node.http.epcis.query_parameters import PARAMETERS_MAX, VALUES_MAX, parse_query
from lotmark_node.http.errors import EpcisNotImplemented, QueryParameterRefused
from tests.node.http.epcis.plain_events import EPCS, PLACES, STEPS, TIMES, events

# A reference of its own: what is the same thing, by hand.
SAME = {
    EPCS[0]: "unit 1",
    EPCS[1]: "unit 1",
    EPCS[2]: "unit 2",
    "urn:epc:class:lgtin:4012345.011111.A": "lot A",
    "https://id.gs1.org/01/04012345111118/10/A": "lot A",
    PLACES[0]: "place 1",
    PLACES[1]: "place 1",
    "urn:epcglobal:cbv:bizstep:shipping": "shipping",
    "urn:epcglobal:cbv:disp:active": "active",
    "urn:epcglobal:cbv:btt:po": "po",
    "gs1:Temperature": "Temperature",
}
WHEN = {TIMES[0]: 0, TIMES[1]: 0, TIMES[2]: 1, TIMES[3]: 2}


def same(value: object) -> object:
    return SAME.get(value, value) if isinstance(value, str) else value


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def members(value: object, name: str) -> list[Any]:
    """Return a member of an object, or of each object in a list."""
    return [each[name] for each in listed(value) if isinstance(each, dict) and name in each]


def ids(event: dict[str, Any], *names: str) -> list[Any]:
    return [each for name in names for each in listed(event.get(name))]


def reports(event: dict[str, Any]) -> list[Any]:
    return [
        report
        for each in members(event.get("sensorElementList"), "sensorReport")
        for report in listed(each)
        if isinstance(report, dict)
    ]


ANY_EPC = ("epcList", "childEPCs", "parentID", "inputEPCList", "outputEPCList")
# By parameter: its values in a query, and what of an event they are compared with.
LISTS: dict[str, tuple[tuple[str, ...], Callable[[dict[str, Any]], list[Any]]]] = {
    "eventType": (("ObjectEvent", "AggregationEvent"), lambda e: ids(e, "type")),
    "EQ_action": (("ADD", "OBSERVE", "DELETE"), lambda e: ids(e, "action")),
    "EQ_bizStep": (STEPS, lambda e: ids(e, "bizStep")),
    "EQ_disposition": (("active", "recalled"), lambda e: ids(e, "disposition")),
    "EQ_readPoint": (PLACES, lambda e: members(e.get("readPoint"), "id")),
    "EQ_bizLocation": (PLACES, lambda e: members(e.get("bizLocation"), "id")),
    "EQ_eventID": (("urn:uuid:1", "urn:uuid:3"), lambda e: ids(e, "eventID")),
    "MATCH_epc": (EPCS, lambda e: ids(e, "epcList", "childEPCs")),
    "MATCH_parentID": (EPCS, lambda e: ids(e, "parentID")),
    "MATCH_inputEPC": (EPCS, lambda e: ids(e, "inputEPCList")),
    "MATCH_outputEPC": (EPCS, lambda e: ids(e, "outputEPCList")),
    "MATCH_anyEPC": (EPCS, lambda e: ids(e, *ANY_EPC)),
    "MATCH_epcClass": (
        ("urn:epc:class:lgtin:4012345.011111.A", "x:y"),
        lambda e: members(e.get("quantityList"), "epcClass"),
    ),
    "MATCH_anyEPCClass": (
        ("https://id.gs1.org/01/04012345111118/10/A",),
        lambda e: (
            members(e.get("quantityList"), "epcClass")
            + members(e.get("inputQuantityList"), "epcClass")
        ),
    ),
    "EQ_bizTransaction_po": (
        ("urn:x:1", "urn:x:2"),
        lambda e: members(
            [
                each
                for each in listed(e.get("bizTransactionList"))
                if isinstance(each, dict) and same(each.get("type")) == "po"
            ],
            "bizTransaction",
        ),
    ),
    "EQ_type": (("Temperature", "Humidity"), lambda e: members(reports(e), "type")),
    "EQ_deviceID": (EPCS, lambda e: members(reports(e), "deviceID")),
    "EQ_booleanValue": (
        ("true", "false"),
        lambda e: [str(each).lower() for each in members(reports(e), "booleanValue")],
    ),
}


@given(events(), st.sampled_from(sorted(LISTS)), st.data())
def test_a_list_fits_an_event_that_has_one_of_its_values(
    event: dict[str, Any], name: str, data: st.DataObject
) -> None:
    allowed, read = LISTS[name]
    wanted = data.draw(st.lists(st.sampled_from(allowed), min_size=1, max_size=3))

    expected = {same(each) for each in read(event) if isinstance(each, str)}
    query = parse_query([(name, "|".join(wanted))])
    assert query.matches(event) == bool(expected & {same(each) for each in wanted})


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "EQ": lambda a, b: bool(a == b),
    "GT": lambda a, b: bool(a > b),
    "GE": lambda a, b: bool(a >= b),
    "LT": lambda a, b: bool(a < b),
    "LE": lambda a, b: bool(a <= b),
}


@given(events(), st.sampled_from(["GE", "LT"]), st.sampled_from(TIMES))
def test_a_time_is_compared_to_the_last_digit_in_any_zone(
    event: dict[str, Any], comparison: str, bound: str
) -> None:
    for member in ("eventTime", "recordTime"):
        stated = event.get(member)
        expected = isinstance(stated, str) and stated in WHEN
        expected = expected and COMPARE[comparison](WHEN[str(stated)], WHEN[bound])
        assert parse_query([(f"{comparison}_{member}", bound)]).matches(event) == expected


@given(
    events(),
    st.sampled_from(sorted(COMPARE)),
    st.sampled_from(["1", "2.50", "10.0", "-3", "1e1"]),
    st.sampled_from(["", "_KGM", "_CEL"]),
)
def test_a_number_is_compared_exactly_and_in_its_unit(
    event: dict[str, Any], comparison: str, bound: str, unit: str
) -> None:
    quantities = [
        each
        for member in ("quantityList", "inputQuantityList")
        for each in listed(event.get(member))
        if isinstance(each, dict)
    ]
    for name, holders in (("quantity", quantities), ("value", reports(event))):
        if name == "value" and not unit:
            continue
        fitting = [
            each[name]
            for each in holders
            if name in each and (not unit or each.get("uom") == unit[1:])
        ]
        expected = any(COMPARE[comparison](each, float(bound)) for each in fitting)
        query = parse_query([(f"{comparison}_{name}{unit}", bound)])
        assert query.matches(event) == expected


@given(events(), st.lists(st.sampled_from(sorted(LISTS)), unique=True, max_size=4), st.data())
def test_parameters_fit_an_event_where_each_alone_fits_it(
    event: dict[str, Any], names: list[str], data: st.DataObject
) -> None:
    pairs = [(name, data.draw(st.sampled_from(LISTS[name][0]))) for name in names]

    alone = [parse_query([pair]).matches(event) for pair in pairs]
    assert parse_query(pairs).matches(event) == all(alone)


@pytest.mark.parametrize(
    ("pattern", "fitting"),
    [
        ("urn:epc:idpat:sgtin:4012345.011111.*", [EPCS[0], EPCS[1], EPCS[2]]),
        ("urn:epc:idpat:sgtin:4012345.011112.*", []),
        (
            "urn:epc:idpat:grai:4012345.00022.*",
            ["urn:epc:id:grai:4012345.00022.334455"],
        ),
    ],
)
def test_a_pattern_fits_every_instance_of_its_class(pattern: str, fitting: list[str]) -> None:
    query = parse_query([("MATCH_epc", pattern)])

    known = [*EPCS, "urn:epc:id:grai:4012345.00022.334455", "urn:epc:class:lgtin:4012345.011111.A"]
    assert [each for each in known if query.matches({"epcList": [each]})] == fitting
    assert query.index == IndexConditions()


# Fields of one's own

OWN: Event = {
    "@context": [
        "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",
        {"ex": "https://e.org/ns/"},
    ],
    "ex:colour": "red",
    "ex:heat": 7.5,
    "ex:made": "2025-12-23T08:00:00Z",
    "ex:outer": {"ex:inner": ["a", {"ex:deep": "b"}]},
    "ilmd": {"ex:melt": "M-1"},
    "readPoint": {"id": "urn:x", "ex:gate": 3},
    "sensorElementList": [{"ex:rig": "R", "sensorReport": [{"ex:run": "1"}]}],
}


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("EQ_ex:colour", "red", True),
        ("EQ_ex:colour", "blue|red", True),
        ("EQ_ex:colour", "Red", False),
        ("EQ_https://e.org/ns/colour", "red", True),
        ("EQ_https://e.org/other/colour", "red", False),
        ("EQ_mine:colour", "red", True),
        ("EQ_ex:heat", "7.50", True),
        ("GE_ex:heat", "7.5", True),
        ("GT_ex:heat", "7.5", False),
        ("LT_ex:made", "2025-12-23T09:00:00.1+01:00", True),
        ("GE_ex:made", "2025-12-24T00:00:00Z", False),
        ("GE_ex:colour", "1", False),
        ("EXISTS_ex:colour", "", True),
        ("EXISTS_ex:melt", "", False),
        ("EXISTS_ILMD_ex:melt", "", True),
        ("EQ_ILMD_ex:melt", "M-1", True),
        ("EQ_INNER_ex:inner", "a", True),
        ("EQ_INNER_ex:deep", "b", True),
        ("EQ_ex:inner", "a", False),
        ("EQ_readPoint_ex:gate", "3", True),
        ("EQ_SENSORELEMENT_ex:rig", "R", True),
        ("EQ_SENSORREPORT_ex:run", "1", True),
    ],
)
def test_a_field_of_ones_own_is_found_by_iri_by_prefix_and_as_it_stands(
    name: str, value: str, fits: bool
) -> None:
    query = parse_query([(name, value)], namespaces={"mine": "https://e.org/ns/"})

    assert query.matches(OWN) is fits


@given(events())
def test_whatever_an_event_is_no_parameter_fails_on_it(event: dict[str, Any]) -> None:
    for name, value in (
        ("EXISTS_errorDeclaration", "true"),
        ("GE_errorDeclarationTime", TIMES[0]),
        ("EQ_INNER_ex:a", "b"),
        ("LE_value_CEL", "1"),
        ("EQ_persistentDisposition_set", "active"),
        ("EQ_correctiveEventID", "urn:x"),
        ("EQ_SENSORMETADATA_ex:a", "b"),
    ):
        parse_query([(name, value)]).matches(event)


# What the index may do, and what is done with the events


def test_what_the_index_can_find_is_taken_from_the_parameters() -> None:
    query = parse_query(
        [
            ("MATCH_anyEPC", EPCS[0]),
            ("MATCH_epc", f"{EPCS[0]}|{EPCS[3]}"),
            ("GE_eventTime", "2025-12-23T08:00:00.0005Z"),
            ("LT_eventTime", "2025-12-23T08:00:01.0005Z"),
            ("GE_recordTime", "2025-12-23T08:00:00Z"),
            ("EQ_eventID", f"ni:///sha-256;{'ab' * 32}?ver=CBV2.0"),
        ]
    )

    start_ms = parse_instant("2025-12-23T08:00:00Z") // 10**9
    assert query.index == IndexConditions(
        items=("https://id.gs1.org/01/04012345111118/21/1",),
        hashes=(bytes.fromhex("ab" * 32),),
        from_ms=start_ms,
        to_ms=start_ms + 1_002,
        recorded_from_ms=start_ms,
    )


def test_order_and_limits_are_read() -> None:
    query = parse_query(
        [("orderBy", "eventTime"), ("orderDirection", "ASC"), ("eventCountLimit", "7")]
    )

    assert (query.order_by, query.descending, query.event_count_limit) == (
        OrderBy.EVENT_TIME,
        False,
        7,
    )
    assert parse_query([("orderBy", "recordTime")]).newest_first
    assert parse_query([]).newest_first  # where no order is asked for
    ascending = [("orderBy", "recordTime"), ("orderDirection", "ASC")]
    assert not parse_query(ascending).newest_first


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ([("EQ_bizstep", "shipping")], "parameter 'EQ_bizstep' is unknown"),
        ([("limit", "1")], "parameter 'limit' is unknown"),
        ([("EQ_action", "MOVE")], "EQ_action='MOVE' is none of ADD, OBSERVE, DELETE"),
        ([("eventType", "Event")], "eventType='Event' is none of AggregationEvent"),
        ([("EQ_bizStep", "")], "has an empty value"),
        ([("EQ_bizStep", "a||b")], "has an empty value"),
        ([("EQ_bizStep", "a"), ("EQ_bizStep", "b")], "stands twice; write its values as one list"),
        ([("GE_eventTime", "2025-12-23")], "is not a time with an offset"),
        ([("GE_eventTime", "2025-12-23T08:00:00 01:00")], "in a URL write"),
        ([("GE_eventTime", "2025-02-30T08:00:00Z")], "is no time"),
        ([("GE_eventTime", f"{TIMES[0]}|{TIMES[0]}")], "is one time, no list"),
        ([("GE_quantity", "much")], "GE_quantity: 'much' is no number"),
        ([("GE_quantity", "1|2")], "is one number, no list"),
        ([("GE_value", "1")], "GE_value lacks the unit"),
        ([("MATCH_epc", "urn:epc:idpat:sgtin:4012345.*.*")], "is no pattern that can be matched"),
        ([("MATCH_epc", "urn:epc:idpat:gid:1.*")], "is no pattern that can be matched"),
        ([("EXISTS_errorDeclaration", "perhaps")], "is neither true nor false"),
        ([("EXISTS_bizStep", "")], "parameter 'EXISTS_bizStep' is unknown"),
        ([("GE_ex:heat", "warm")], "neither a number nor a time"),
        ([("orderBy", "quantity")], "orderBy='quantity' is none of recordTime, eventTime"),
        ([("orderDirection", "UP")], "neither ASC nor DESC"),
        ([("eventCountLimit", "5")], "eventCountLimit needs orderBy"),
        ([("maxEventCount", "0")], "no number from 1 to"),
        ([("maxEventCount", "²")], "no number from 1 to"),
        (
            [("orderBy", "eventTime"), ("eventCountLimit", "1"), ("maxEventCount", "1")],
            "exclude each other",
        ),
        ([(f"EQ_ex:f{number}", "x") for number in range(PARAMETERS_MAX + 1)], "65 parameters"),
        ([("EQ_bizStep", "|".join("a" * (VALUES_MAX + 1)))], "257 values; at most 256"),
        ([("EQ_bizStep", "a" * 2_000)], "a value of 2000 characters"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_name_and_the_reason(
    parameters: list[tuple[str, str]], reason: str
) -> None:
    with pytest.raises(QueryParameterRefused, match=reason.replace("|", r"\|")):
        parse_query(parameters)


@pytest.mark.parametrize(
    "name", ["WD_readPoint", "WD_bizLocation", "HASATTR_ex:field", "EQ_ATTR_field_attribute"]
)
def test_what_the_standard_has_and_this_does_not_is_said_to_be_so(name: str) -> None:
    with pytest.raises(EpcisNotImplemented, match=f"{name}.* is not served: "):
        parse_query([(name, "x")])
    with pytest.raises(EpcisNotImplemented, match="order by eventTime or recordTime"):
        parse_query([("orderBy", "ex:heat")])


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), max_size=5))
def test_whatever_is_asked_it_is_understood_or_refused(parameters: list[tuple[str, str]]) -> None:
    try:
        query = parse_query(parameters)
    except (QueryParameterRefused, EpcisNotImplemented):
        return
    query.matches(OWN)
