"""Which items an event links: what was consumed by what, packed into what, mounted to what.

One rule for the index of a node and for whoever judges an answer without one. An EPCIS document
links items only if it holds a single EPCIS event, since else nothing says which item is of which.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from lotmark.item_name import canonical_item
from lotmark.v1 import event_pb2, provenance_pb2, quality_pb2

_SUBJECT = event_pb2.ITEM_ROLE_SUBJECT
_INPUT = event_pb2.ITEM_ROLE_INPUT
_OUTPUT = event_pb2.ITEM_ROLE_OUTPUT
_PARENT = event_pb2.ITEM_ROLE_PARENT
_CHILD = event_pb2.ITEM_ROLE_CHILD
_CONSUMED = provenance_pb2.EDGE_KIND_CONSUMED
_PACKED = provenance_pb2.EDGE_KIND_PACKED
_MOUNTED = provenance_pb2.EDGE_KIND_MOUNTED
_IDENTIFIED = provenance_pb2.EDGE_KIND_IDENTIFIED

LINKING_BODIES = frozenset(
    {"transformation", "aggregation", "association", "epcis_document", "item_identified"}
)
_EPCIS_RELATIONS = {"AggregationEvent": _PACKED, "AssociationEvent": _MOUNTED}


class Link(NamedTuple):
    """One item is part of another's history."""

    kind: provenance_pb2.EdgeKind.ValueType
    source: str  # canonical name of the part, of what was consumed, or of the other name
    product: str  # canonical name of what it went into
    quantity: str  # decimal; empty: a whole unit
    unit: str
    ended: bool  # it was taken out again


def links(event: event_pb2.Event, body_name: str) -> Iterator[Link]:
    """Return the links that an accepted event states, in the order of its items.

    Args:
        event: The event.
        body_name: Which body is set, one of `LINKING_BODIES`.
    """
    match body_name:
        case "transformation":
            yield from _between(event, _INPUT, _OUTPUT, _CONSUMED)
        case "aggregation":
            yield from _related(event, _PACKED, event.aggregation.action)
        case "association":
            yield from _related(event, _MOUNTED, event.association.action)
        case "epcis_document":
            yield from _of_epcis(event)
        case "item_identified":
            yield from _identified(event)


def _between(
    event: event_pb2.Event,
    source_role: int,
    product_role: int,
    kind: provenance_pb2.EdgeKind.ValueType,
    *,
    ended: bool = False,
) -> Iterator[Link]:
    products = [canonical_item(item.id) for item in event.items if item.role == product_role]
    for item in event.items:
        if item.role != source_role:
            continue
        source, quantity, unit = canonical_item(item.id), "", ""
        if item.HasField("quantity"):
            quantity, unit = item.quantity.value, item.quantity.unit
        for product in products:
            if source != product:
                yield Link(kind, source, product, quantity, unit, ended)


def _related(
    event: event_pb2.Event,
    kind: provenance_pb2.EdgeKind.ValueType,
    action: quality_pb2.RelationAction.ValueType,
) -> Iterator[Link]:
    ended = action == quality_pb2.RELATION_ACTION_DELETE
    return _between(event, _CHILD, _PARENT, kind, ended=ended)


def _of_epcis(event: event_pb2.Event) -> Iterator[Link]:
    stated = single_epcis_event(event.epcis_document)
    kind = stated.get("type")
    if kind == "TransformationEvent":
        yield from _between(event, _INPUT, _OUTPUT, _CONSUMED)
    elif isinstance(kind, str) and kind in _EPCIS_RELATIONS:
        ended = stated.get("action") == "DELETE"
        yield from _between(event, _CHILD, _PARENT, _EPCIS_RELATIONS[kind], ended=ended)


def single_epcis_event(document: quality_pb2.EpcisDocument) -> dict[str, Any]:
    """Return the members of a document's only EPCIS event; nothing where it is not one alone."""
    if document.event_count != 1 or not document.document:
        return {}
    try:
        stated = json.loads(document.document)
    except (ValueError, RecursionError):
        return {}  # authors write what they like; what cannot be read links nothing
    for member in ("epcisBody", "queryResults", "resultsBody", "eventList"):
        if isinstance(stated, dict) and member in stated:
            stated = stated[member]
    if isinstance(stated, list) and len(stated) == 1:
        stated = stated[0]
    return stated if isinstance(stated, dict) else {}


def _identified(event: event_pb2.Event) -> Iterator[Link]:
    subjects = [canonical_item(item.id) for item in event.items if item.role == _SUBJECT]
    for name in event.item_identified.also_known_as:
        other = canonical_item(name)
        for subject in subjects:
            if other != subject:
                # Both ways: what is known of one name holds for the other.
                yield Link(_IDENTIFIED, other, subject, "", "", False)
                yield Link(_IDENTIFIED, subject, other, "", "", False)
