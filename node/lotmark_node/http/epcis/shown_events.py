"""EPCIS events as the ledger tells them: captured ones as captured, others as exported."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lotmark.client.provenance_records import FoundEvent
from lotmark.document_fields import Place
from lotmark.event import EVENT_TYPES
from lotmark.outcome import Outcome
from lotmark.rfc3339 import text_of_ms
from lotmark_adapters.epcis_document import EpcisEvent, split_document
from lotmark_adapters.epcis_export import RecordedEvent
from lotmark_adapters.epcis_export import epcis_events as exported
from lotmark_adapters.epcis_hash import event_hash_uri
from lotmark_adapters.epcis_native import VIEWS
from lotmark_adapters.epcis_uris import uri_of
from lotmark_adapters.errors import EpcisError
from lotmark_node.http.epcis.event_fields import OTHER_IDS, Event

LEDGER_ID_PREFIX = uri_of("event", "")  # before the ledger's id of an event, hex

CAPTURED = "epcis_document"
SHOWN_TYPES = tuple(sorted(EVENT_TYPES[body] for body in (CAPTURED, *VIEWS)))

_PLACE = Place("document")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownEvent:
    """An EPCIS event that the ledger holds."""

    members: Mapping[str, Any]  # with recordTime; eventID where its author gave it one
    ids: Callable[[], Sequence[str]]  # further ones, worked out when asked for: first its hash's
    size: int  # bytes of its JSON, about

    def judged(self, *, by_id: bool) -> Event:
        """Return the event as conditions see it; further ids only where they look at them."""
        return {**self.members, OTHER_IDS: list(self.ids())} if by_id else self.members

    def told(self) -> Event:
        """Return the event as callers get it, by its hash where its author gave it no id."""
        if isinstance(self.members.get("eventID"), str):
            return self.members
        return {**self.members, "eventID": self.ids()[0]}


def shown_events(found: FoundEvent) -> list[ShownEvent]:
    """Return the EPCIS events that one on the ledger tells; none where it tells none."""
    if found.entry.head.outcome != Outcome.ACCEPTED:
        return []
    if found.event.WhichOneof("body") == CAPTURED:
        return _captured(found)
    size = len(found.entry.event)
    return [_native(found, event, size) for event in exported(_recorded(found))]


def epcis_events(document: bytes) -> list[EpcisEvent]:
    """Return the EPCIS events of a document on the ledger, which nobody may have checked."""
    try:
        found = split_document(document, _PLACE) if document else []
    except EpcisError:
        return []  # what other readers make of it is unknown
    return [each for each in found if isinstance(each, EpcisEvent)]


def ledger_id(event_id: bytes) -> str:
    """Return the ledger's own id of an event as an EPCIS event ID."""
    return LEDGER_ID_PREFIX + event_id.hex()


def _captured(found: FoundEvent) -> list[ShownEvent]:
    """Return captured events; unlike the export it works out hashes when they are asked for."""
    document = found.event.epcis_document.document
    events = epcis_events(document)
    recorded = {"recordTime": text_of_ms(found.entry.head.time_ms)}
    return [
        ShownEvent(
            members={"@context": list(each.written_context), **each.members, **recorded},
            ids=_ids(found, each, alone=len(events) == 1),
            size=len(document),
        )
        for each in events
    ]


def _ids(found: FoundEvent, event: EpcisEvent, *, alone: bool) -> Callable[[], list[str]]:
    own = [ledger_id(_event_id(found))] if alone else []
    return lambda: [event_hash_uri(event.hash), *own]


def _native(found: FoundEvent, event: Mapping[str, Any], size: int) -> ShownEvent:
    ids = [str(event["eventID"]), ledger_id(_event_id(found))]
    return ShownEvent(members=event, ids=lambda: ids, size=size)


def _recorded(found: FoundEvent) -> RecordedEvent:
    return RecordedEvent(
        event=found.event,
        event_id=_event_id(found),
        party=found.party,
        recorded_ms=found.entry.head.time_ms,
    )


def _event_id(found: FoundEvent) -> bytes:
    event_id = found.entry.event_id
    assert event_id is not None, "a found event is one"
    return event_id
