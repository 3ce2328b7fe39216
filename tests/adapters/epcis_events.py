"""EPCIS events for tests: sound ones, and all that stand in the shared vectors and examples."""

import json
from pathlib import Path
from typing import Any

from lotmark.document_fields import Place
from lotmark_adapters.epcis_context import EPCIS_CONTEXT_URL
from lotmark_adapters.epcis_document import EpcisEvent, RefusedEvent, split_document
from tests.shared_vectors import require_shared, shared_folder

EXAMPLES = "data/gs1-epcis/JSON"
TWICE = "AssociationEvent/AssociationEvent-h.jsonld"  # names eventID twice in one object
HASH_VECTORS = "vectors/epcis-hash/tests/examples"
EQUAL_VECTORS = "vectors/epcis-hash/tests/expected_equal"


def files(relative: str, pattern: str) -> list[str]:
    """Return the files of a shared folder, none where it is not at hand."""
    folder = shared_folder()
    root = folder / relative if folder else Path("absent")
    return sorted(str(path.relative_to(root)) for path in root.rglob(pattern))


def shared_events(relative: str, name: str) -> list[EpcisEvent]:
    """Return the events of a shared document."""
    path = require_shared(relative) / name
    return events_of(path.read_bytes(), is_xml=path.suffix == ".xml")


def events_of(document: object, *, is_xml: bool = False) -> list[EpcisEvent]:
    """Return the events of a document, none of which is refused."""
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    events = split_document(raw, Place("d"), is_xml=is_xml)
    for event in events:
        assert not isinstance(event, RefusedEvent), event.reason
    return [event for event in events if isinstance(event, EpcisEvent)]


def an_event(**members: Any) -> dict[str, Any]:
    """Return a sound event with these members beside or instead of its own; None: without."""
    event = {
        "@context": [EPCIS_CONTEXT_URL, {"ex": "https://ns.example.com/epcis/"}],
        "type": "ObjectEvent",
        "eventTime": "2026-01-12T08:00:00.000Z",
        "eventTimeZoneOffset": "+01:00",
        "epcList": ["urn:epc:id:sgtin:4012345.011111.9876"],
        "action": "OBSERVE",
        "bizStep": "inspecting",
        **members,
    }
    return {name: value for name, value in event.items() if value is not None}
