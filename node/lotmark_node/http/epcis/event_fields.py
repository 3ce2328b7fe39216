"""Reads EPCIS events in JSON, of whatever shape: what is not as it should be counts as absent.

Nodes take documents that no gateway has checked, so a query must not fail on one.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from lotmark_adapters.epcis_uris import item_of_uri

Event: TypeAlias = Mapping[str, Any]  # parsed JSON, nothing of it checked

EPC_LISTS = ("epcList", "childEPCs", "inputEPCList", "outputEPCList")
QUANTITY_LISTS = ("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList")

# Further ids that an event is known by; whoever judges an event sets it, over whatever is there.
OTHER_IDS = "\0ids"


def same_id(value: str) -> str:
    """Return the one name of what an id names, so that its forms compare equal."""
    return item_of_uri(value)


def texts(holder: object, *members: str) -> Iterator[str]:
    """Yield the strings that members hold, alone or in lists."""
    if not isinstance(holder, Mapping):
        return
    for member in members:
        for each in _listed(holder.get(member)):
            if isinstance(each, str):
                yield each


def objects(holder: object, *members: str) -> Iterator[Event]:
    """Yield the objects that members hold, alone or in lists."""
    if not isinstance(holder, Mapping):
        return
    for member in members:
        for each in _listed(holder.get(member)):
            if isinstance(each, Mapping):
                yield each


def epc_classes(event: Event, *lists: str) -> Iterator[str]:
    """Yield the classes that quantity lists name."""
    for element in objects(event, *lists):
        yield from texts(element, "epcClass")


def item_ids(event: Event) -> Iterator[str]:
    """Yield the ids of things and of classes that an event is about."""
    yield from texts(event, "parentID", *EPC_LISTS)
    yield from epc_classes(event, *QUANTITY_LISTS)


def place_ids(event: Event, member: str) -> Iterator[str]:
    """Yield the id of a read point or business location."""
    for place in objects(event, member):
        yield from texts(place, "id")


def sensor_elements(event: Event) -> Iterator[Event]:
    """Yield the sensor elements."""
    yield from objects(event, "sensorElementList")


def sensor_metadata(event: Event) -> Iterator[Event]:
    """Yield what holds for each sensor element as a whole."""
    for element in sensor_elements(event):
        yield from objects(element, "sensorMetadata")


def sensor_reports(event: Event) -> Iterator[Event]:
    """Yield the reports of all sensor elements."""
    for element in sensor_elements(event):
        yield from objects(element, "sensorReport")


def sensor_parts(event: Event) -> Iterator[Event]:
    """Yield the metadata and the reports of all sensor elements."""
    yield from sensor_metadata(event)
    yield from sensor_reports(event)


def number(value: object) -> Decimal | None:
    """Return the number that a member holds; None: it holds none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    found = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return found if found.is_finite() else None


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else (value,)
