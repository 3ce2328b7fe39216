"""EPCIS 2.0 documents in JSON-LD, turned into one event each that keeps their bytes.

Read as plain JSON by the member names of the GS1 schema: a context is pinned and never fetched,
since what it holds tomorrow would change what the document says. The document itself stays the
evidence; the items and event hashes found in it only make it findable.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from lotmark.batch import EVENT_SIZE_MAX
from lotmark.canonical_json import ForeignJson
from lotmark.document_fields import Place, list_at, string_at
from lotmark.errors import MalformedError
from lotmark.event import ITEMS_MAX, EventRefused, check_event
from lotmark.event_rules import EPCIS_DOCUMENT_SIZE_MAX, ITEM_ID
from lotmark.rfc3339 import enclosing_ms
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.epcis_document import RefusedEvent, split_document
from lotmark_adapters.errors import EpcisError

IDS_REFUSED_SHOWN_MAX = 16

Role: TypeAlias = event_pb2.ItemRole.ValueType

_ROLES: dict[str, Role] = {
    "epcList": event_pb2.ITEM_ROLE_SUBJECT,
    "quantityList": event_pb2.ITEM_ROLE_SUBJECT,
    "inputEPCList": event_pb2.ITEM_ROLE_INPUT,
    "inputQuantityList": event_pb2.ITEM_ROLE_INPUT,
    "outputEPCList": event_pb2.ITEM_ROLE_OUTPUT,
    "outputQuantityList": event_pb2.ITEM_ROLE_OUTPUT,
    "parentID": event_pb2.ITEM_ROLE_PARENT,
    "childEPCs": event_pb2.ITEM_ROLE_CHILD,
    "childQuantityList": event_pb2.ITEM_ROLE_CHILD,
}
_ENVELOPE_SIZE_MAX = 256  # an event without its items and document: nonce, device, time, digest
_ITEM_OVERHEAD_MAX = 8  # an item without its id: role, tags, lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class EpcisEventDraft:
    """What one EPCIS document says, as far as the ledger looks into it."""

    document: bytes  # as received
    sha256: bytes
    event_count: int
    items: tuple[tuple[str, Role], ...]  # in the order they stand there, each once, at most 64
    items_left_out_count: int  # further ones, beyond the 64
    ids_refused: tuple[str, ...]  # of the ids that the ledger has no form for, the first 16
    ids_refused_count: int
    start_ms: int  # earliest event time
    end_ms: int  # latest event time
    embed: bool  # whether the document itself goes into the event, or only its digest


def read_epcis(raw: bytes, *, name: str) -> EpcisEventDraft:
    """Return what a document says.

    Args:
        raw: An EPCISDocument, an EPCISQueryDocument, a list of events or a single one.
        name: What to call the document in messages.

    Raises:
        EpcisError: It is none of those, has no event, or an event has no time with an offset, or
            items of another shape. The message names the document, the place and the value.
    """
    found = _Found()
    for event in split_document(raw, Place(name)):
        if isinstance(event, RefusedEvent):
            raise EpcisError(event.reason)
        try:
            found.add(event.members, event.place)
        except MalformedError as error:
            raise EpcisError(str(error)) from error
    items = tuple(found.items)[:ITEMS_MAX]
    size = sum(len(item) + _ITEM_OVERHEAD_MAX for item, _ in items) + _ENVELOPE_SIZE_MAX + len(raw)
    return EpcisEventDraft(
        document=raw,
        sha256=hashlib.sha256(raw).digest(),
        event_count=found.event_count,
        items=items,
        items_left_out_count=len(found.items) - len(items),
        ids_refused=tuple(found.ids_refused)[:IDS_REFUSED_SHOWN_MAX],
        ids_refused_count=len(found.ids_refused),
        start_ms=found.start_ms,
        end_ms=found.end_ms,
        embed=len(raw) <= EPCIS_DOCUMENT_SIZE_MAX and size <= EVENT_SIZE_MAX,
    )


def to_event(
    draft: EpcisEventDraft,
    nonce: Callable[[], bytes],
    *,
    device: str,
    capture_mode: event_pb2.CaptureMode.ValueType,
    uncertainty_us: int,
) -> event_pb2.Event:
    """Return the event of a document.

    Args:
        draft: The document.
        nonce: Gives 16 random bytes.
        device: System that gave the document.
        capture_mode: How its facts came to be known, which EPCIS does not say.
        uncertainty_us: How far the clocks behind its event times may be off, likewise.

    Raises:
        EpcisError: The event breaks a rule of the ledger, such as a time before 2000.
    """
    event = event_pb2.Event(
        nonce=nonce(),
        device=device,
        time=event_pb2.TimeInterval(
            start_ms=draft.start_ms, end_ms=draft.end_ms, uncertainty_us=uncertainty_us
        ),
        capture_mode=capture_mode,
        items=[event_pb2.ItemReference(id=item, role=role) for item, role in draft.items],
        epcis_document=quality_pb2.EpcisDocument(
            document=draft.document if draft.embed else b"",
            document_digest=draft.sha256,
            event_count=draft.event_count,
        ),
    )
    try:
        check_event(event.SerializeToString(deterministic=True))
    except EventRefused as error:
        raise EpcisError(f"EPCIS document {draft.sha256.hex()}: {error}") from error
    return event


class _Found:
    """What the events of a document add up to."""

    def __init__(self) -> None:
        self.event_count = 0
        self.items: dict[tuple[str, Role], None] = {}  # a set that keeps the order
        self.ids_refused: dict[str, None] = {}
        self.start_ms = 0
        self.end_ms = 0

    def add(self, event: Mapping[str, ForeignJson], place: Place) -> None:
        """Take in one EPCIS event."""
        at = place.member("eventTime")
        if "eventTime" not in event:
            raise at.missing("every EPCIS event states one, with an offset")
        time = string_at(event["eventTime"], at)
        try:
            start_ms, end_ms = enclosing_ms(time)
        except MalformedError as error:
            raise at.refusal(str(error)) from error
        self.start_ms = min(self.start_ms, start_ms) if self.event_count else start_ms
        self.end_ms = max(self.end_ms, end_ms)
        self.event_count += 1
        for member, role in _ROLES.items():
            for item in _ids(event, member, place.member(member)):
                if ITEM_ID.passes(item):
                    self.items[item, role] = None
                else:
                    # Left out and counted: an id made up in its place would name something else.
                    self.ids_refused[item] = None


def _ids(event: Mapping[str, ForeignJson], member: str, place: Place) -> Iterator[str]:
    if member not in event:
        return
    if member == "parentID":
        yield string_at(event[member], place)
        return
    for index, element in enumerate(list_at(event[member], place)):
        at = place.element(index)
        if not member.endswith("QuantityList") and member != "quantityList":
            yield string_at(element, at)
        elif isinstance(element, dict) and "epcClass" in element:
            yield string_at(element["epcClass"], at.member("epcClass"))
        else:
            raise at.member("epcClass").missing("a quantity element names its class")
