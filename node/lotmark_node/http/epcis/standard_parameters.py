"""The query parameters that compare the standard's own fields of an event."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from lotmark.errors import MalformedError
from lotmark.item_name import read_item_name
from lotmark_adapters.epcis_vocabulary import (
    BUSINESS_STEP,
    DISPOSITION,
    ERROR_REASON,
    MEASUREMENT,
    SOURCE_TYPE,
    TRANSACTION_TYPE,
)
from lotmark_node.http.epcis.comparisons import COMPARISONS, parse_number
from lotmark_node.http.epcis.event_fields import (
    EPC_LISTS,
    OTHER_IDS,
    QUANTITY_LISTS,
    Event,
    epc_classes,
    item_ids,
    number,
    objects,
    place_ids,
    same_id,
    sensor_metadata,
    sensor_parts,
    sensor_reports,
    texts,
)
from lotmark_node.http.epcis.event_query import Asked, Condition, IndexConditions
from lotmark_node.http.epcis.id_patterns import is_pattern, parse_pattern
from lotmark_node.http.epcis.instants import MS, instant_or_none, parse_instant
from lotmark_node.http.epcis.page_token import STREAMS_MAX
from lotmark_node.http.errors import QueryParameterRefused

EVENT_TYPES = (
    "AggregationEvent",
    "AssociationEvent",
    "ObjectEvent",
    "TransactionEvent",
    "TransformationEvent",
)
ACTIONS = ("ADD", "OBSERVE", "DELETE")

Reader: TypeAlias = Callable[[Event], Iterable[str]]
Fold: TypeAlias = Callable[[str], str]

_HASH = re.compile(r"ni:///sha-256;([0-9a-f]{64})\?ver=CBV2\.0")


class _List(NamedTuple):
    """A parameter of which one value is to be one of the event's."""

    read: Reader
    fold: Fold = str  # what makes two ways to write the same equal


def standard_parameter(name: str, values: Sequence[str]) -> Asked | None:
    """Return what a parameter about a standard field asks for; None: it is about none.

    Args:
        name: The parameter's.
        values: Of which one is to fit.

    Raises:
        QueryParameterRefused: A value cannot be.
    """
    if name in _MATCHES:
        return _match(name, values)
    if name in _LISTS:
        return _list(name, values)
    if name.startswith("EXISTS_"):
        return _exists(name, values)
    if (found := _OF_TYPE.fullmatch(name)) is not None:
        return _of_type(found[1], found[2], values)
    if (found := _NUMBER.fullmatch(name)) is not None:
        return _number(name, found[1], found[2], found[3], values)
    if (found := _TIME.fullmatch(name)) is not None:
        return _time(name, found[1], found[2], values)
    return None


# Lists of words and ids


def _within(member: str, *members: str) -> Reader:
    """Return what reads members of an object that a member of the event holds."""
    return lambda event: (text for each in objects(event, member) for text in texts(each, *members))


def _each(parts: Callable[[Event], Iterable[Event]], member: str) -> Reader:
    return lambda event: (text for each in parts(event) for text in texts(each, member))


def _member(*members: str) -> Reader:
    return lambda event: texts(event, *members)


def _persistent(member: str) -> _List:
    return _List(_within("persistentDisposition", member), DISPOSITION.bare)


_LISTS: dict[str, _List] = {
    "eventType": _List(_member("type")),
    "EQ_action": _List(_member("action")),
    "EQ_bizStep": _List(_member("bizStep"), BUSINESS_STEP.bare),
    "EQ_disposition": _List(_member("disposition"), DISPOSITION.bare),
    "EQ_persistentDisposition_set": _persistent("set"),
    "EQ_persistentDisposition_unset": _persistent("unset"),
    "EQ_readPoint": _List(lambda event: place_ids(event, "readPoint"), same_id),
    "EQ_bizLocation": _List(lambda event: place_ids(event, "bizLocation"), same_id),
    "EQ_transformationID": _List(_member("transformationID"), same_id),
    "EQ_eventID": _List(_member("eventID", OTHER_IDS)),
    "EQ_errorReason": _List(_within("errorDeclaration", "reason"), ERROR_REASON.bare),
    "EQ_correctiveEventID": _List(_within("errorDeclaration", "correctiveEventIDs")),
    "EQ_type": _List(_each(sensor_reports, "type"), MEASUREMENT.bare),
    "EQ_deviceID": _List(_each(sensor_parts, "deviceID"), same_id),
    "EQ_dataProcessingMethod": _List(_each(sensor_parts, "dataProcessingMethod"), same_id),
    "EQ_microorganism": _List(_each(sensor_reports, "microorganism")),
    "EQ_chemicalSubstance": _List(_each(sensor_reports, "chemicalSubstance")),
    "EQ_bizRules": _List(_each(sensor_metadata, "bizRules")),
    "EQ_stringValue": _List(_each(sensor_reports, "stringValue")),
    "EQ_hexBinaryValue": _List(_each(sensor_reports, "hexBinaryValue"), str.upper),
    "EQ_uriValue": _List(_each(sensor_reports, "uriValue")),
    "EQ_booleanValue": _List(
        lambda event: (
            str(report["booleanValue"]).lower()
            for report in sensor_reports(event)
            if isinstance(report.get("booleanValue"), bool)
        )
    ),
}
_ALLOWED = {"EQ_action": ACTIONS, "EQ_booleanValue": ("true", "false")}


def _list(name: str, values: Sequence[str]) -> Asked:
    for value in values:
        if value not in _ALLOWED.get(name, (value,)):
            raise QueryParameterRefused(
                f"{name}={value[:60]!a} is none of {', '.join(_ALLOWED[name])}"
            )
        if name == "eventType" and value not in EVENT_TYPES and ":" not in value:
            raise QueryParameterRefused(
                f"{name}={value[:60]!a} is none of {', '.join(EVENT_TYPES)}, nor the URI of a type"
                " of one's own"
            )
    index = IndexConditions()
    if name == "EQ_eventID":
        hashes = [_HASH.fullmatch(value) for value in values]
        if all(hashes) and len(hashes) <= STREAMS_MAX:
            index = IndexConditions(hashes=tuple(bytes.fromhex(each[1]) for each in hashes if each))
    return Asked(_one_of(_LISTS[name], values), index, by_id=name == "EQ_eventID")


def _one_of(parameter: _List, values: Sequence[str]) -> Condition:
    wanted = frozenset(map(parameter.fold, values))
    return lambda event: any(parameter.fold(each) in wanted for each in parameter.read(event))


_OF_TYPE = re.compile(r"EQ_(bizTransaction|source|destination)_([A-Za-z][A-Za-z0-9_:/.\-]{0,199})")
_TYPED_LISTS = {
    "bizTransaction": ("bizTransactionList", "bizTransaction", TRANSACTION_TYPE),
    "source": ("sourceList", "source", SOURCE_TYPE),
    "destination": ("destinationList", "destination", SOURCE_TYPE),
}


def _of_type(kind: str, typed: str, values: Sequence[str]) -> Asked:
    """Ask for a business transaction, source or destination of a type."""
    member, of, vocabulary = _TYPED_LISTS[kind]
    wanted_type = vocabulary.bare(typed)

    def read(event: Event) -> Iterator[str]:
        for each in objects(event, member):
            if wanted_type in (vocabulary.bare(text) for text in texts(each, "type")):
                yield from texts(each, of)

    return Asked(_one_of(_List(read, same_id), values))


# Ids of things and of classes of things

_MATCHES: dict[str, Reader] = {
    "MATCH_epc": _member("epcList", "childEPCs"),
    "MATCH_parentID": _member("parentID"),
    "MATCH_inputEPC": _member("inputEPCList"),
    "MATCH_outputEPC": _member("outputEPCList"),
    "MATCH_anyEPC": _member("parentID", *EPC_LISTS),
    "MATCH_epcClass": lambda event: epc_classes(event, "quantityList", "childQuantityList"),
    "MATCH_inputEPCClass": lambda event: epc_classes(event, "inputQuantityList"),
    "MATCH_outputEPCClass": lambda event: epc_classes(event, "outputQuantityList"),
    "MATCH_anyEPCClass": lambda event: epc_classes(event, *QUANTITY_LISTS),
}
_ANY_ITEM = "MATCH_anyItem"  # no parameter of the standard's


def _match(name: str, values: Sequence[str]) -> Asked:
    try:
        patterns = [parse_pattern(value) for value in values if is_pattern(value)]
    except MalformedError as error:
        raise QueryParameterRefused(f"{name}: {error}") from error
    wanted = frozenset(same_id(value) for value in values if not is_pattern(value))
    read = item_ids if name == _ANY_ITEM else _MATCHES[name]

    def holds(event: Event) -> bool:
        ids = {same_id(each) for each in read(event)}
        return not wanted.isdisjoint(ids) or any(
            pattern.matches(each) for pattern in patterns for each in ids
        )

    # Of a pattern the index knows nothing, and what is no item's name it does not look up.
    in_index = not patterns and all(map(_is_item_name, wanted))
    return Asked(holds, IndexConditions(items=tuple(sorted(wanted)) if in_index else ()))


def _is_item_name(name: str) -> bool:
    try:
        return read_item_name(name) == name
    except MalformedError:
        return False


def names_item(value: str) -> Asked:
    """Ask for the events that are about a thing or a class of things."""
    return _match(_ANY_ITEM, [value])


# Numbers and times

_NUMBER = re.compile(
    r"(EQ|GT|GE|LT|LE)_(quantity|value|minValue|maxValue|meanValue|sDev|percValue|percRank)"
    r"(?:_([A-Z0-9]{2,4}))?"
)
_UNIT_NEEDED = frozenset({"value", "minValue", "maxValue", "meanValue", "sDev", "percValue"})


def _number(
    name: str, comparison: str, member: str, unit: str | None, values: Sequence[str]
) -> Asked | None:
    """Ask for a number, in a unit if one is named: units are compared, and not converted."""
    if unit is None and member in _UNIT_NEEDED:
        raise QueryParameterRefused(f"{name} lacks the unit; write it as {name}_CEL")
    if unit is not None and member == "percRank":
        return None
    wanted = _numbers(name, comparison, values)
    compare = COMPARISONS[comparison]

    def found(event: Event) -> Iterator[Decimal]:
        holders = objects(event, *QUANTITY_LISTS) if member == "quantity" else sensor_reports(event)
        for each in holders:
            value = number(each.get(member))
            if value is not None and unit in (None, each.get("uom")):
                yield value

    return Asked(
        lambda event: any(compare(value, bound) for value in found(event) for bound in wanted)
    )


def _numbers(name: str, comparison: str, values: Sequence[str]) -> list[Decimal]:
    if comparison != "EQ" and len(values) > 1:
        raise QueryParameterRefused(f"{name} is one number, no list")
    try:
        return [parse_number(value) for value in values]
    except MalformedError as error:
        raise QueryParameterRefused(f"{name}: {error}") from error


_TIME = re.compile(
    r"(GE|LT)_(eventTime|recordTime|errorDeclarationTime|errorDeclaration_Time|time|startTime"
    r"|endTime)"
)
_TIMES: dict[str, Reader] = {
    "eventTime": _member("eventTime"),
    "recordTime": _member("recordTime"),
    "errorDeclarationTime": _within("errorDeclaration", "declarationTime"),
    "errorDeclaration_Time": _within("errorDeclaration", "declarationTime"),
    "time": _each(sensor_parts, "time"),
    "startTime": _each(sensor_metadata, "startTime"),
    "endTime": _each(sensor_metadata, "endTime"),
}


def _time(name: str, comparison: str, field: str, values: Sequence[str]) -> Asked:
    if len(values) > 1:
        raise QueryParameterRefused(f"{name} is one time, no list")
    try:
        wanted = parse_instant(values[0])
    except MalformedError as error:
        raise QueryParameterRefused(f"{name}: {error}") from error
    compare, read = COMPARISONS[comparison], _TIMES[field]

    def holds(event: Event) -> bool:
        found = (instant_or_none(text) for text in read(event))
        return any(compare(each, wanted) for each in found if each is not None)

    return Asked(holds, _time_in_index(field, comparison, wanted))


def _time_in_index(field: str, comparison: str, wanted: int) -> IndexConditions:
    """Return bounds in whole ms that leave out no event that is meant."""
    floor_ms, ceiling_ms = max(0, wanted // MS), max(0, -(-wanted // MS))
    match field, comparison:
        case "eventTime", "GE":
            return IndexConditions(from_ms=floor_ms)
        case "eventTime", "LT":
            return IndexConditions(to_ms=ceiling_ms + 1)
        case "recordTime", "GE":
            return IndexConditions(recorded_from_ms=floor_ms)
        case "recordTime", "LT":
            return IndexConditions(recorded_to_ms=ceiling_ms + 1)
        case _:
            return IndexConditions()


# Whether something is there

_PRESENT = ("", "true", "1", "null")
_ABSENT = ("false", "0")


def _exists(name: str, values: Sequence[str]) -> Asked | None:
    member = name.removeprefix("EXISTS_")
    if member not in ("errorDeclaration", "sensorElementList"):
        return None
    (value, *more) = values
    if more or value not in (*_PRESENT, *_ABSENT):
        raise QueryParameterRefused(f"{name}={value[:60]!a} is neither true nor false")
    if value in _ABSENT:  # by the standard: then it is no condition
        return Asked(lambda _event: True)
    return Asked(lambda event: member in event)


# For whoever lists the parameters that have names of their own.
LIST_NAMES = tuple(_LISTS)
MATCH_NAMES = tuple(_MATCHES)
TIME_NAMES = tuple(f"{comparison}_{field}" for field in _TIMES for comparison in ("GE", "LT"))
NUMBER_NAMES = tuple(f"{comparison}_quantity" for comparison in COMPARISONS)
