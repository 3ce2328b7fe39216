"""Reads the parameters of a simple event query, EPCIS 2.0 section 8.2.7.1, from a URL.

A parameter's name says what to compare with what, such as EQ_bizStep or GE_value_CEL. Lists are
written a|b|c, of which one is to fit; parameters are to fit all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lotmark_node.http.epcis.event_query import Asked, OrderBy, SimpleEventQuery
from lotmark_node.http.epcis.extension_parameters import (
    extension_parameter,
    names_an_extension,
)
from lotmark_node.http.epcis.standard_parameters import standard_parameter
from lotmark_node.http.errors import EpcisNotImplemented, QueryParameterRefused

PARAMETERS_MAX = 64
VALUES_MAX = 256  # of one parameter
VALUE_SIZE_MAX = 1_024  # characters
COUNT_MAX = 1_000_000

_NOT_IMPLEMENTED = {
    "WD_": "the ledger keeps no master data, so nobody here knows what lies within a place",
    "HASATTR_": "it asks for attributes of XML, which events in JSON do not have",
    "EQ_ATTR_": "it asks for attributes of XML, which events in JSON do not have",
}


def parse_query(
    parameters: Sequence[tuple[str, str]], *, namespaces: Mapping[str, str] | None = None
) -> SimpleEventQuery:
    """Return what parameters ask for.

    Args:
        parameters: Names and values, decoded, in the order of the URL.
        namespaces: What prefixes of extension fields stand for, as the header GS1-Extensions says.

    Raises:
        QueryParameterRefused: One is unknown, stands twice, or has a value that cannot be.
        EpcisNotImplemented: One is the standard's, but not served here.
    """
    if len(parameters) > PARAMETERS_MAX:
        raise QueryParameterRefused(
            f"the query has {len(parameters)} parameters; at most {PARAMETERS_MAX} are taken"
        )
    query, seen = SimpleEventQuery(), dict[str, str]()
    for name, value in parameters:
        if name in seen:
            raise QueryParameterRefused(
                f"parameter {name[:60]!a} stands twice; write its values as one list, a|b"
            )
        seen[name] = value
        if name not in _CONTROLS:
            query = query.and_also(_asked(name, value, namespaces or {}))
    return _controlled(query, seen)


def _asked(name: str, value: str, namespaces: Mapping[str, str]) -> Asked:
    for prefix, reason in _NOT_IMPLEMENTED.items():
        if name.startswith(prefix):
            raise EpcisNotImplemented(f"parameter {name[:60]!a} is not served: {reason}")
    values = _values(name, value)
    asked = standard_parameter(name, values)
    if asked is None and names_an_extension(name):
        asked = extension_parameter(name, values, namespaces)
    if asked is None:
        raise QueryParameterRefused(
            f"parameter {name[:60]!a} is unknown; docs/epcis.md lists those that are served"
        )
    return asked


def _values(name: str, value: str) -> list[str]:
    values = value.split("|")
    if len(values) > VALUES_MAX:
        raise QueryParameterRefused(
            f"parameter {name[:60]!a} has {len(values)} values; at most {VALUES_MAX} are taken"
        )
    for each in values:
        if len(each) > VALUE_SIZE_MAX:
            raise QueryParameterRefused(
                f"parameter {name[:60]!a} has a value of {len(each)} characters; at most"
                f" {VALUE_SIZE_MAX} are taken"
            )
        if not each and not name.startswith("EXISTS_"):
            raise QueryParameterRefused(
                f"parameter {name[:60]!a} has an empty value; leave it out, or give it one"
            )
    return values


# What is done with the events that fit


def _controlled(query: SimpleEventQuery, seen: Mapping[str, str]) -> SimpleEventQuery:
    for name, read in _CONTROLS.items():
        if name in seen:
            query = read(query, seen[name])
    if query.event_count_limit is not None and query.max_event_count is not None:
        raise QueryParameterRefused(
            "eventCountLimit and maxEventCount exclude each other; leave one out"
        )
    if query.event_count_limit is not None and query.order_by is None:
        raise QueryParameterRefused(
            "eventCountLimit needs orderBy, which says which events are the first"
        )
    return query


def _order_by(query: SimpleEventQuery, value: str) -> SimpleEventQuery:
    if ":" in value:
        raise EpcisNotImplemented(
            f"orderBy={value[:60]!a} is not served; order by eventTime or recordTime"
        )
    return replace(query, order_by=_one_of(OrderBy, "orderBy", value))


def _direction(query: SimpleEventQuery, value: str) -> SimpleEventQuery:
    if value not in ("ASC", "DESC"):
        raise QueryParameterRefused(f"orderDirection={value[:60]!a} is neither ASC nor DESC")
    return replace(query, descending=value == "DESC")


def _limit(query: SimpleEventQuery, value: str) -> SimpleEventQuery:
    return replace(query, event_count_limit=parse_count("eventCountLimit", value, COUNT_MAX))


def _count(query: SimpleEventQuery, value: str) -> SimpleEventQuery:
    return replace(query, max_event_count=parse_count("maxEventCount", value, COUNT_MAX))


_CONTROLS: dict[str, Callable[[SimpleEventQuery, str], SimpleEventQuery]] = {
    "orderBy": _order_by,
    "orderDirection": _direction,
    "eventCountLimit": _limit,
    "maxEventCount": _count,
}


def parse_count(name: str, value: str, count_max: int) -> int:
    """Return the number that a parameter gives, 1 or more.

    Raises:
        QueryParameterRefused: It is none, or more than may be.
    """
    if (
        not (value.isascii() and value.isdigit() and len(value) <= 12)
        or not 1 <= int(value) <= count_max
    ):
        raise QueryParameterRefused(f"{name}={value[:60]!a} is no number from 1 to {count_max}")
    return int(value)


def _one_of(kind: type[OrderBy], name: str, value: str) -> OrderBy:
    try:
        return kind(value)
    except ValueError as error:
        raise QueryParameterRefused(
            f"{name}={value[:60]!a} is none of {', '.join(kind)}"
        ) from error
