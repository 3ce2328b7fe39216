"""Answers as EPCIS documents: a query document of events, a collection of values."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lotmark.rfc3339 import text_of_ms
from lotmark_adapters.epcis_context import EPCIS_CONTEXT_URL, PINNED_CONTEXTS
from lotmark_node.http.epcis.event_fields import Event

SCHEMA_VERSION = "2.0"
QUERY_NAME = "SimpleEventQuery"


def query_document(events: Sequence[Event], *, now_ms: int) -> dict[str, Any]:
    """Return the document of a query's answer.

    Its context has the prefixes of all events. Only an event that means something else by one of
    them keeps a context of its own.
    """
    prefixes: dict[str, str] = {}
    told = [_without_context(event, prefixes) for event in events]
    return {
        "@context": [EPCIS_CONTEXT_URL, prefixes] if prefixes else [EPCIS_CONTEXT_URL],
        "type": "EPCISQueryDocument",
        "schemaVersion": SCHEMA_VERSION,
        "creationDate": text_of_ms(now_ms),
        "epcisBody": {
            "queryResults": {"queryName": QUERY_NAME, "resultsBody": {"eventList": told}}
        },
    }


def collection(members: Iterable[str]) -> dict[str, Any]:
    """Return the document of a list of values."""
    return {"@context": [EPCIS_CONTEXT_URL], "type": "Collection", "member": list(members)}


def _without_context(event: Event, prefixes: dict[str, str]) -> dict[str, Any]:
    """Return an event without its context, if it fits the prefixes, which get its own."""
    own: dict[str, Any] = {}
    for part in event["@context"]:
        if isinstance(part, Mapping):
            own |= part
        elif part not in PINNED_CONTEXTS:
            return dict(event)
    if any(
        not isinstance(meaning, str) or prefixes.get(prefix, meaning) != meaning
        for prefix, meaning in own.items()
    ):
        return dict(event)
    prefixes |= own
    return {name: value for name, value in event.items() if name != "@context"}


_CONTEXT_SCHEMA = {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object"}]}}
COLLECTION_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["@context", "type", "member"],
    "properties": {
        "@context": _CONTEXT_SCHEMA,
        "type": {"const": "Collection"},
        "member": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    },
    "additionalProperties": False,
}
EVENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "EPCIS event",
    "description": "An event by EPCIS 2.0 in JSON-LD; a single one has its @context.",
    "required": ["type", "eventTime"],
}
QUERY_DOCUMENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "EPCIS query document",
    "required": ["@context", "type", "schemaVersion", "creationDate", "epcisBody"],
    "properties": {
        "@context": _CONTEXT_SCHEMA,
        "type": {"const": "EPCISQueryDocument"},
        "schemaVersion": {"const": SCHEMA_VERSION},
        "creationDate": {"type": "string", "format": "date-time"},
        "epcisBody": {
            "type": "object",
            "required": ["queryResults"],
            "properties": {
                "queryResults": {
                    "type": "object",
                    "required": ["queryName", "resultsBody"],
                    "properties": {
                        "queryName": {"const": QUERY_NAME},
                        "resultsBody": {
                            "type": "object",
                            "required": ["eventList"],
                            "properties": {
                                "eventList": {"type": "array", "items": {"type": "object"}}
                            },
                        },
                    },
                }
            },
        },
    },
    "additionalProperties": False,
}
