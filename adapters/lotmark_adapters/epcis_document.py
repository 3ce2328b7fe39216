"""EPCIS documents, split into their events: each with its place, its context and its hash.

In JSON-LD: an EPCISDocument, an EPCISQueryDocument, a list of events or a single one. In XML: the
first two. Of a query document's fields, those that it names as added by a repository
(``ignoreFields``) are left out: they are no part of the events.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lotmark.canonical_json import ForeignJson, load_foreign
from lotmark.document_fields import Place
from lotmark.errors import MalformedError
from lotmark_adapters.epcis_context import (
    STANDARD_CONTEXT,
    JsonLdContext,
    names_standard_context,
    read_context,
)
from lotmark_adapters.epcis_hash import event_hash
from lotmark_adapters.errors import EpcisError

DOCUMENT_SIZE_MAX = 16_777_216
EVENTS_MAX = 10_000  # of a document
XML_MEDIA_TYPES = ("application/xml", "text/xml")

_WAY_TO_EVENTS = ("epcisBody", "queryResults", "resultsBody", "eventList", "event")


@dataclass(frozen=True, slots=True)
class EpcisEvent:
    """One event of a document."""

    place: Place
    members: Mapping[str, ForeignJson]  # but its context
    context: JsonLdContext
    written_context: Sequence[ForeignJson]  # as it and its document wrote it

    @property
    def hash(self) -> bytes:
        """The event hash of CBV 2.0, 32 bytes."""
        return event_hash(self.members, self.context)

    @property
    def names_standard_context(self) -> bool:
        """Whether it or its document names GS1's context."""
        return names_standard_context(list(self.written_context))

    def compact_json(self) -> bytes:
        """Return the event on its own, with its context, as compact JSON."""
        whole = {"@context": list(self.written_context), **self.members}
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """An event that cannot be read, though its document can."""

    place: Place
    reason: str


def split_document(
    raw: bytes, place: Place, *, is_xml: bool = False
) -> list[EpcisEvent | RefusedEvent]:
    """Return the events of a document, at least one.

    Args:
        raw: The document.
        place: What to call it.
        is_xml: Whether it is in XML, else in JSON-LD.

    Raises:
        EpcisError: It is no document with events, or its own context is not taken. The message
            names the document, the place and the value.
    """
    try:
        if is_xml:
            return list(_of_xml(raw, place))
        return list(_of_json(load_foreign(raw, size_max=DOCUMENT_SIZE_MAX), place))
    except MalformedError as error:
        prefix = "" if str(error).startswith(f"{place.document}: ") else f"{place.document}: "
        raise EpcisError(f"{prefix}{error}") from error


def _of_xml(raw: bytes, place: Place) -> Iterator[EpcisEvent | RefusedEvent]:
    # A client without the node's libraries reads JSON-LD; only XML needs lxml.
    from lotmark_adapters.epcis_xml import json_event, read_xml

    if len(raw) > DOCUMENT_SIZE_MAX:
        raise place.refusal(f"{len(raw)} bytes; at most {DOCUMENT_SIZE_MAX} are allowed")
    document = read_xml(raw, place)
    _check_count(len(document.events), place)
    for event in document.events:
        try:
            members = json_event(event)
        except EpcisError as error:
            yield RefusedEvent(event.place, str(error))
            continue
        yield _event(members, event.place, [], STANDARD_CONTEXT, document.ignored)


def _of_json(document: ForeignJson, place: Place) -> Iterator[EpcisEvent | RefusedEvent]:
    written: list[ForeignJson] = []
    context = STANDARD_CONTEXT
    ignored: set[str] = set()
    at = place
    while isinstance(document, dict) and "eventTime" not in document:
        if "@context" in document:
            context = read_context(document["@context"], at.member("@context"), context)
            written = _joined(written, document["@context"])
        ignored |= _ignored_fields(document, context)
        member = next((name for name in _WAY_TO_EVENTS if name in document), None)
        if member is None:
            break
        document, at = document[member], at.member(member)
    if isinstance(document, dict) and "eventTime" in document:
        yield _event(document, at, written, context, frozenset(ignored))
        return
    if not isinstance(document, list) or not document:
        raise at.refusal(
            "no EPCIS event is here; an EPCISDocument has them in epcisBody.eventList, an"
            " EPCISQueryDocument in epcisBody.queryResults.resultsBody.eventList"
        )
    _check_count(len(document), at)
    for index, event in enumerate(document):
        yield _event(event, at.element(index), written, context, frozenset(ignored))


def _event(
    event: ForeignJson,
    place: Place,
    written: list[ForeignJson],
    context: JsonLdContext,
    ignored: frozenset[str],
) -> EpcisEvent | RefusedEvent:
    if not isinstance(event, dict):
        return RefusedEvent(place, str(place.refusal("is no EPCIS event; an event is an object")))
    if "@context" in event:
        try:
            context = read_context(event["@context"], place.member("@context"), context)
        except EpcisError as error:
            return RefusedEvent(place, str(error))
        written = _joined(written, event["@context"])
    members = {
        name: value
        for name, value in event.items()
        if name != "@context" and context.expanded_name(name) not in ignored
    }
    return EpcisEvent(place, members, context, tuple(written))


def _joined(written: list[ForeignJson], further: ForeignJson) -> list[ForeignJson]:
    entries = further if isinstance(further, list) else [further]
    return written + [entry for entry in entries if entry not in written]


def _ignored_fields(document: Mapping[str, ForeignJson], context: JsonLdContext) -> set[str]:
    """Return the expanded names that a document says a repository added to its events."""
    found: set[str] = set()
    for name, value in document.items():
        if name.rpartition(":")[2] == "ignoreFields" and isinstance(value, list):
            found |= {context.expanded_name(each) for each in value if isinstance(each, str)}
    return {name for name in found if name.startswith("{")}


def _check_count(count: int, place: Place) -> None:
    if count > EVENTS_MAX:
        raise place.refusal(f"{count} events; at most {EVENTS_MAX} are allowed: send parts")
