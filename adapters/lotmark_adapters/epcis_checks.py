"""What the EPCIS standard asks of an event above its shape, each rule with its remedy.

GS1's JSON schema is not used: its text is not ours to ship, and it lets pass what matters here,
such as a time that is none, a step of no vocabulary, or an id with a wrong check digit.
"""

import re
from collections.abc import Mapping

from lotmark.canonical_json import ForeignJson
from lotmark.document_fields import Place, shown, string_at
from lotmark.errors import MalformedError
from lotmark.rfc3339 import text_of_ms
from lotmark_adapters.epcis_context import EPCIS_CONTEXT_URL, JsonLdContext
from lotmark_adapters.epcis_document import EpcisEvent
from lotmark_adapters.epcis_sensor import check_sensor_elements
from lotmark_adapters.epcis_values import (
    Check,
    check_class,
    check_instance,
    check_members,
    check_number,
    check_time,
    check_unit,
    check_uri,
    each,
    object_at,
    one_or_each,
    standard_name,
    time_at,
)
from lotmark_adapters.epcis_vocabulary import (
    BUSINESS_STEP,
    DISPOSITION,
    ERROR_REASON,
    SOURCE_TYPE,
    TRANSACTION_TYPE,
)
from lotmark_adapters.errors import EpcisError

FUTURE_MAX_MS = 86_400_000  # how far ahead of now an event may be: clocks and time zones go wrong
EARLIEST_MS = 946_684_800_000  # 2000-01-01, where the ledger's time begins

ACTIONS = ("ADD", "OBSERVE", "DELETE")

_OFFSET = re.compile(r"[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00)")


def check_epcis_event(event: EpcisEvent, *, now_ms: int) -> None:
    """Check that an event keeps the rules of EPCIS 2.0 and CBV 2.0.

    Args:
        event: The event.
        now_ms: The time now, which an event cannot be far ahead of, Unix time in ms.

    Raises:
        EpcisError: It breaks one. The message names the place, the value, the rule and the remedy.
    """
    try:
        _check(event, now_ms)
    except MalformedError as error:
        raise EpcisError(str(error)) from error


def _check(event: EpcisEvent, now_ms: int) -> None:
    place, members = event.place, event.members
    if not event.names_standard_context:
        raise place.member("@context").missing(f"name {EPCIS_CONTEXT_URL} there or in its document")
    at = place.member("type")
    if "type" not in members:
        raise at.missing(f"write one of {', '.join(EVENT_TYPES)}")
    event_type = string_at(members["type"], at)
    if event_type not in EVENT_TYPES:
        raise at.refusal(
            f"{shown(event_type)} is no event type; allowed are {', '.join(EVENT_TYPES)}"
        )
    checks = {name: _CHECKS[name] for name in (*_COMMON, *EVENT_TYPES[event_type])}
    needed = ["type", "eventTime", "eventTimeZoneOffset"]
    if event_type != "TransformationEvent":
        needed.append("action")
    _check_foreign_members(members, place, event_type)
    check_members(members, place, event.context, checks, required=needed)
    _check_times(members, place, now_ms)
    _RULES[event_type](members, place)
    _check_master_data(members, place)


def _check_foreign_members(
    members: Mapping[str, ForeignJson], place: Place, event_type: str
) -> None:
    """Refuse a standard member in an event of a type that has none of the kind."""
    for name in members:
        if name in _CHECKS and name not in (*_COMMON, *EVENT_TYPES[event_type]):
            where = [other for other, names in EVENT_TYPES.items() if name in names]
            raise place.member(name).refusal(
                f"is no member of {event_type}, only of {', '.join(where)}; leave it out or change"
                " the type"
            )


def _check_times(members: Mapping[str, ForeignJson], place: Place, now_ms: int) -> None:
    at = place.member("eventTime")
    time_ms = time_at(members["eventTime"], at)
    if time_ms < EARLIEST_MS:
        raise at.refusal(f"{shown(members['eventTime'])} is before 2000; correct the clock")
    if time_ms > now_ms + FUTURE_MAX_MS:
        raise at.refusal(
            f"{shown(members['eventTime'])} is over {FUTURE_MAX_MS // 3_600_000} hours after now,"
            f" {text_of_ms(now_ms)}; correct the clock or the offset"
        )


def _check_master_data(members: Mapping[str, ForeignJson], place: Place) -> None:
    if "ilmd" in members and members.get("action", "ADD") != "ADD":
        raise place.member("ilmd").refusal(
            f"stands in an event with action {shown(members['action'])}; master data is stated"
            " where things come into being: in an ObjectEvent with ADD or a TransformationEvent"
        )


def _has(members: Mapping[str, ForeignJson], *names: str) -> bool:
    return any(members.get(name) for name in names)


def _check_object(members: Mapping[str, ForeignJson], place: Place) -> None:
    if not _has(members, "epcList", "quantityList", "sensorElementList"):
        raise place.member("epcList").missing(
            "an ObjectEvent is about things: write epcList or quantityList, or what a sensor at its"
            " place reported in sensorElementList"
        )


def _check_aggregation(members: Mapping[str, ForeignJson], place: Place) -> None:
    if "parentID" not in members and (
        members["type"] == "AssociationEvent" or members["action"] != "OBSERVE"
    ):
        raise place.member("parentID").missing(
            f"an {members['type']} with action {members['action']} names the parent"
        )
    if members["action"] != "DELETE" and not _has(members, "childEPCs", "childQuantityList"):
        raise place.member("childEPCs").missing(
            f"with action {members['action']} write childEPCs or childQuantityList; only DELETE"
            " without them means all children"
        )


def _check_transaction(members: Mapping[str, ForeignJson], place: Place) -> None:
    if "bizTransactionList" not in members:
        raise place.member("bizTransactionList").missing(
            "a TransactionEvent links things to a transaction"
        )
    if members["action"] != "DELETE" and not _has(members, "epcList", "quantityList", "parentID"):
        raise place.member("epcList").missing(
            f"with action {members['action']} write epcList or quantityList; only DELETE without"
            " them means all"
        )


def _check_transformation(members: Mapping[str, ForeignJson], place: Place) -> None:
    inputs = _has(members, "inputEPCList", "inputQuantityList")
    outputs = _has(members, "outputEPCList", "outputQuantityList")
    if inputs and outputs:
        return
    if not inputs and not outputs:
        raise place.member("inputEPCList").missing(
            "a TransformationEvent has inputs and outputs; write what was consumed and made"
        )
    if "transformationID" not in members:
        missing = "outputEPCList" if inputs else "inputEPCList"
        raise place.member(missing).missing(
            f"write it or its quantity list; {'inputs' if inputs else 'outputs'} alone need a"
            " transformationID, which joins them with those of other events"
        )


def _check_action(value: ForeignJson, place: Place, _context: JsonLdContext) -> None:
    if value not in ACTIONS:
        raise place.refusal(f"{shown(value)} is no action; allowed are {', '.join(ACTIONS)}")


def _check_offset(value: ForeignJson, place: Place, _context: JsonLdContext) -> None:
    if not _OFFSET.fullmatch(string_at(value, place)):
        raise place.refusal(
            f"{shown(value)} is no time zone offset; write one from -14:00 to +14:00, such as"
            " +01:00"
        )


def _check_type(value: ForeignJson, place: Place, _context: JsonLdContext) -> None:
    string_at(value, place)


def _check_quantity(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    members = object_at(value, place)
    check_members(
        members,
        place,
        context,
        {"epcClass": check_class, "quantity": check_number, "uom": check_unit},
        required=["epcClass"],
        extensible=False,
    )
    amount = members.get("quantity")
    at = place.member("quantity")
    if amount is None:
        if "uom" in members:
            raise at.missing("a unit alone says nothing; leave uom out where the amount is unknown")
        return
    assert isinstance(amount, int | float), "judged above"
    if amount <= 0:
        raise at.refusal(f"{shown(amount)} is not above 0; leave it out where it is unknown")
    if "uom" not in members and amount != int(amount):
        raise at.refusal(f"{shown(amount)} is no number of pieces; name its unit in uom")


def _check_place(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    check_members(object_at(value, place), place, context, {"id": check_uri}, required=["id"])


def _check_persistent(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    members = object_at(value, place)
    dispositions = each(standard_name(DISPOSITION))
    check_members(
        members, place, context, {"set": dispositions, "unset": dispositions}, extensible=False
    )
    if not members:
        raise place.member("set").missing("write which dispositions begin or end")
    both = [each_ for each_ in _list(members.get("set")) if each_ in _list(members.get("unset"))]
    if both:
        raise place.refusal(f"{shown(both[0])} is both set and unset; decide for one")


def _list(value: ForeignJson) -> list[ForeignJson]:
    return list(value) if isinstance(value, list) else []


def _typed(name: str, type_check: Check, *, type_needed: bool) -> Check:
    checks: dict[str, Check] = {"type": type_check, name: check_uri}

    def check(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
        check_members(
            object_at(value, place),
            place,
            context,
            checks,
            required=["type", name] if type_needed else [name],
            extensible=False,
        )

    return check


def _check_error(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    check_members(
        object_at(value, place),
        place,
        context,
        {
            "declarationTime": check_time,
            "reason": standard_name(ERROR_REASON),
            "correctiveEventIDs": each(check_uri),
        },
        required=["declarationTime"],
    )


def _check_ilmd(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    members = object_at(value, place)
    if not members:
        raise place.refusal("is empty; leave it out where there is nothing to say")
    check_members(members, place, context, {})


def _check_epcs(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    if value != []:  # as good as none, and written so by older systems
        each(check_instance)(value, place, context)


def _check_quantities(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    if value != []:
        each(_check_quantity)(value, place, context)


_COMMON = (
    "type", "eventTime", "recordTime", "eventTimeZoneOffset", "eventID", "certificationInfo",
    "errorDeclaration",
)  # fmt: skip
_USUAL = (
    "bizStep", "disposition", "readPoint", "bizLocation", "bizTransactionList", "sourceList",
    "destinationList", "sensorElementList",
)  # fmt: skip
EVENT_TYPES = {
    "ObjectEvent": (
        "epcList", "quantityList", "action", "persistentDisposition", "ilmd", *_USUAL,
    ),
    "AggregationEvent": ("parentID", "childEPCs", "childQuantityList", "action", *_USUAL),
    "TransactionEvent": ("parentID", "epcList", "quantityList", "action", *_USUAL),
    "TransformationEvent": (
        "inputEPCList", "inputQuantityList", "outputEPCList", "outputQuantityList",
        "transformationID", "persistentDisposition", "ilmd", *_USUAL,
    ),
    "AssociationEvent": ("parentID", "childEPCs", "childQuantityList", "action", *_USUAL),
}  # fmt: skip
_RULES = {
    "ObjectEvent": _check_object,
    "AggregationEvent": _check_aggregation,
    "TransactionEvent": _check_transaction,
    "TransformationEvent": _check_transformation,
    "AssociationEvent": _check_aggregation,
}
_CHECKS: dict[str, Check] = {
    "type": _check_type,
    "eventTime": check_time,
    "recordTime": check_time,
    "eventTimeZoneOffset": _check_offset,
    "eventID": check_uri,
    "certificationInfo": one_or_each(check_uri),
    "errorDeclaration": _check_error,
    "epcList": _check_epcs,
    "childEPCs": _check_epcs,
    "inputEPCList": _check_epcs,
    "outputEPCList": _check_epcs,
    "quantityList": _check_quantities,
    "childQuantityList": _check_quantities,
    "inputQuantityList": _check_quantities,
    "outputQuantityList": _check_quantities,
    "parentID": check_instance,
    "action": _check_action,
    "transformationID": check_uri,
    "bizStep": standard_name(BUSINESS_STEP),
    "disposition": standard_name(DISPOSITION),
    "persistentDisposition": _check_persistent,
    "readPoint": _check_place,
    "bizLocation": _check_place,
    "bizTransactionList": each(
        _typed("bizTransaction", standard_name(TRANSACTION_TYPE), type_needed=False)
    ),
    "sourceList": each(_typed("source", standard_name(SOURCE_TYPE), type_needed=True)),
    "destinationList": each(_typed("destination", standard_name(SOURCE_TYPE), type_needed=True)),
    "sensorElementList": check_sensor_elements,
    "ilmd": _check_ilmd,
}
