"""Query parameters about fields of one's own, such as EQ_example:colour or GE_ILMD_example:heat.

A field is named in the event by a prefix that the event's own context declares. In a query it is
named by its whole IRI, by a prefix that the header GS1-Extensions declares, or just as it stands
in the event.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lotmark.errors import MalformedError
from lotmark_node.http.epcis.comparisons import COMPARISONS, parse_number
from lotmark_node.http.epcis.event_fields import (
    Event,
    number,
    objects,
    sensor_elements,
    sensor_metadata,
    sensor_reports,
)
from lotmark_node.http.epcis.event_query import Asked
from lotmark_node.http.epcis.instants import instant_or_none, parse_instant
from lotmark_node.http.errors import QueryParameterRefused

DEPTH_MAX = 16  # of fields within fields that INNER_ looks through

_SCOPES: dict[str, Callable[[Event], Iterable[Event]]] = {
    "ILMD_": lambda event: objects(event, "ilmd"),
    "ERROR_DECLARATION_": lambda event: objects(event, "errorDeclaration"),
    "SENSORELEMENT_": sensor_elements,
    "SENSORMETADATA_": sensor_metadata,
    "SENSORREPORT_": sensor_reports,
    "readPoint_": lambda event: objects(event, "readPoint"),
    "bizLocation_": lambda event: objects(event, "bizLocation"),
    "": lambda event: (event,),
}
_NAME = re.compile(
    rf"(EQ|GT|GE|LT|LE|EXISTS)_(INNER_)?({'|'.join(_SCOPES)})"
    r"((?:https?://|urn:)?[^\s|]{1,400}:?[^\s|]*)"
)


def names_an_extension(name: str) -> bool:
    """Tell whether a parameter is about a field that is not the standard's."""
    match = _NAME.fullmatch(name)
    return match is not None and ":" in match[4]


def extension_parameter(name: str, values: Sequence[str], namespaces: Mapping[str, str]) -> Asked:
    """Return what a parameter about a field of one's own asks for.

    Args:
        name: One that `names_an_extension`.
        values: Of which one is to fit, for EQ; one otherwise.
        namespaces: What prefixes in `name` stand for.

    Raises:
        QueryParameterRefused: A value cannot be compared so.
    """
    match = _NAME.fullmatch(name)
    assert match is not None, "who calls this has looked"
    comparison, inner, scope, field = match.groups()
    wanted = _expanded(field, namespaces)
    fits = _comparison(name, comparison, values)

    def holds(event: Event) -> bool:
        prefixes = context_prefixes(event)
        return any(
            fits(value)
            for holder in _SCOPES[scope](event)
            for member, value in (_inner(holder) if inner else holder.items())
            if ":" in member and wanted in (member, _expanded(member, prefixes))
        )

    return Asked(holds)


def context_prefixes(event: Event) -> dict[str, str]:
    """Return what the prefixes of an event's own context stand for."""
    found: dict[str, str] = {}
    context = event.get("@context")
    for part in context if isinstance(context, list) else [context]:
        if isinstance(part, Mapping):
            found |= {
                prefix: namespace
                for prefix, namespace in part.items()
                if isinstance(namespace, str)
            }
    return found


def _expanded(name: str, namespaces: Mapping[str, str]) -> str:
    prefix, _, local = name.partition(":")
    return namespaces[prefix] + local if prefix in namespaces else name


def _inner(holder: Event) -> Iterator[tuple[str, Any]]:
    """Yield the members of what extension fields hold, however deep."""
    waiting = [(value, 1) for member, value in holder.items() if ":" in member]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEPTH_MAX:
            continue
        if isinstance(value, list):
            waiting += [(each, depth + 1) for each in value]
        elif isinstance(value, Mapping):
            yield from value.items()
            waiting += [(each, depth + 1) for each in value.values()]


def _comparison(name: str, comparison: str, values: Sequence[str]) -> Callable[[Any], bool]:
    if comparison == "EXISTS":
        return lambda _value: True
    if comparison == "EQ":
        return lambda value: any(_equal(each, value) for each in values)
    if len(values) > 1:
        raise QueryParameterRefused(f"{name[:60]!a} is one value, no list")
    return _ordered(name, COMPARISONS[comparison], values[0])


def _equal(wanted: str, value: object) -> bool:
    if isinstance(value, list):
        return any(_equal(wanted, each) for each in value)
    if isinstance(value, Mapping):  # a typed value of JSON-LD
        return _equal(wanted, value.get("@value"))
    if isinstance(value, bool):
        return wanted == str(value).lower()
    if isinstance(value, str):
        return wanted == value
    found = number(value)
    try:
        return found is not None and parse_number(wanted) == found
    except MalformedError:
        return False


def _ordered(name: str, compare: Callable[[Any, Any], bool], wanted: str) -> Callable[[Any], bool]:
    """Return what compares a member with a number or a time."""
    read: Callable[[object], Any]
    bound: Any
    try:
        bound, read = parse_number(wanted), _number_of
    except MalformedError:
        try:
            bound, read = parse_instant(wanted), instant_or_none
        except MalformedError as error:
            raise QueryParameterRefused(
                f"{name[:60]!a} is compared with {wanted[:60]!a}, which is neither a number nor a"
                " time with an offset"
            ) from error

    def fits(value: object) -> bool:
        if isinstance(value, list):
            return any(fits(each) for each in value)
        if isinstance(value, Mapping):
            return fits(value.get("@value"))
        found = read(value)
        return found is not None and compare(found, bound)

    return fits


def _number_of(value: object) -> Any:
    if isinstance(value, str):
        try:
            return parse_number(value)
        except MalformedError:
            return None
    return number(value)
