"""Checks of the sensor elements of an EPCIS event: what was measured, by what, when."""

from collections.abc import Mapping

from lotmark.canonical_json import ForeignJson
from lotmark.document_fields import Place
from lotmark_adapters.epcis_context import JsonLdContext
from lotmark_adapters.epcis_values import (
    Check,
    check_boolean,
    check_hex,
    check_members,
    check_number,
    check_string,
    check_time,
    check_uri,
    filled_list_at,
    object_at,
    standard_name,
    time_at,
)
from lotmark_adapters.epcis_vocabulary import COMPONENT, EXCEPTION, MEASUREMENT

_SOURCES: dict[str, Check] = {
    "deviceID": check_uri,
    "deviceMetadata": check_uri,
    "rawData": check_uri,
    "dataProcessingMethod": check_uri,
    "bizRules": check_uri,
}
_METADATA: dict[str, Check] = {
    "time": check_time,
    "startTime": check_time,
    "endTime": check_time,
    **_SOURCES,
}
_REPORT: dict[str, Check] = {
    "type": standard_name(MEASUREMENT),
    "exception": standard_name(EXCEPTION),
    "time": check_time,
    **_SOURCES,
    "microorganism": check_uri,
    "chemicalSubstance": check_uri,
    "coordinateReferenceSystem": check_uri,
    "value": check_number,
    "component": standard_name(COMPONENT),
    "stringValue": check_string,
    "booleanValue": check_boolean,
    "hexBinaryValue": check_hex,
    "uriValue": check_uri,
    "minValue": check_number,
    "maxValue": check_number,
    "meanValue": check_number,
    "sDev": check_number,
    "percRank": check_number,
    "percValue": check_number,
    "uom": check_string,
}


def check_sensor_elements(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    """Check a ``sensorElementList``."""
    for index, element in enumerate(filled_list_at(value, place)):
        at = place.element(index)
        check_members(
            object_at(element, at),
            at,
            context,
            {"sensorMetadata": _check_metadata, "sensorReport": _check_reports},
            required=["sensorReport"],
        )


def _check_metadata(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    members = object_at(value, place)
    check_members(members, place, context, _METADATA)
    if "startTime" in members and "endTime" in members:
        at = place.member("endTime")
        start_ms = time_at(members["startTime"], place.member("startTime"))
        if time_at(members["endTime"], at) < start_ms:
            raise at.refusal("is before startTime; exchange or correct them")


def _check_reports(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    for index, report in enumerate(filled_list_at(value, place)):
        at = place.element(index)
        members = object_at(report, at)
        check_members(members, at, context, _REPORT, required=["type"])
        _check_statistics(members, at)


def _check_statistics(members: Mapping[str, ForeignJson], place: Place) -> None:
    low, high = members.get("minValue"), members.get("maxValue")
    if isinstance(low, int | float) and isinstance(high, int | float) and high < low:
        raise place.member("maxValue").refusal(f"{high} is below minValue {low}; exchange them")
    deviation = members.get("sDev")
    if isinstance(deviation, int | float) and deviation < 0:
        raise place.member("sDev").refusal(f"{deviation} is below 0; a deviation never is")
    rank = members.get("percRank")
    if isinstance(rank, int | float) and not 0 <= rank <= 100:
        raise place.member("percRank").refusal(f"{rank} is no per cent from 0 to 100")
    for name, other in (("percRank", "percValue"), ("percValue", "percRank")):
        if name in members and other not in members:
            raise place.member(other).missing(f"{name} says nothing without it")
