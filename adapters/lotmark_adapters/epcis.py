"""EPCIS 2.0 documents, turned into events of the ledger.

Two ways, one reading: `read_epcis` makes one event of a whole document and keeps its bytes;
`read_capture` makes one event of each EPCIS event that keeps every rule, and says of every other
why not. What was written stays the evidence; the items, quantities and event hashes found in it
only make it findable.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from lotmark.batch import EVENT_SIZE_MAX
from lotmark.canonical_json import ForeignJson
from lotmark.document_fields import Place, list_at, shown, string_at
from lotmark.errors import MalformedError
from lotmark.event import ITEMS_MAX, EventRefused, check_event
from lotmark.event_rules import (
    DECIMAL,
    EPCIS_DOCUMENT_SIZE_MAX,
    EPCIS_HASHES_MAX,
    ITEM_ID,
    UNIT,
)
from lotmark.rfc3339 import enclosing_ms
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.epcis_checks import check_epcis_event
from lotmark_adapters.epcis_document import (
    XML_MEDIA_TYPES,
    EpcisEvent,
    RefusedEvent,
    split_document,
)
from lotmark_adapters.errors import EpcisError

JSON_MEDIA_TYPES = ("application/json", "application/ld+json")
IDS_REFUSED_SHOWN_MAX = 16
PIECE = "C62"  # the unit "one" of UN/ECE Recommendation 20, for amounts that EPCIS gives none

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
_ENVELOPE_SIZE_MAX = 256  # an event without items, hashes and document: nonce, device, time, digest
_ITEM_OVERHEAD_MAX = 8  # an item without its id: role, tags, lengths
_AMOUNT_OVERHEAD_MAX = 8  # likewise of an amount and its unit
_HASH_SIZE = 34  # an event hash with its tag and length


@dataclass(frozen=True, slots=True)
class DraftItem:
    """An item that a document names."""

    id: str
    role: Role
    amount: str = ""  # decimal; empty: a whole unit, or not stated
    unit: str = ""

    @property
    def size_max(self) -> int:
        """At most so many bytes it takes in an event."""
        size = len(self.id) + _ITEM_OVERHEAD_MAX
        return (
            size + len(self.amount) + len(self.unit) + _AMOUNT_OVERHEAD_MAX if self.amount else size
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EpcisEventDraft:
    """What one EPCIS document says, as far as the ledger looks into it."""

    document: bytes  # as received
    sha256: bytes
    event_count: int
    event_hashes: tuple[bytes, ...]  # of the first 64 EPCIS events
    items: tuple[DraftItem, ...]  # in the order they stand there, each once, at most 64
    items_left_out_count: int  # further ones, beyond the 64
    ids_refused: tuple[str, ...]  # of the ids that the ledger has no form for, the first 16
    ids_refused_count: int
    start_ms: int  # earliest event time
    end_ms: int  # latest event time
    embed: bool  # whether the document itself goes into the event, or only its digest


@dataclass(frozen=True, slots=True)
class CapturedEvent:
    """An EPCIS event that becomes an event of the ledger."""

    place: str  # in the document that was captured
    draft: EpcisEventDraft  # its document is this one event, on its own, as compact JSON

    @property
    def event_hash(self) -> bytes:
        """The event hash of CBV 2.0, 32 bytes."""
        return self.draft.event_hashes[0]


@dataclass(frozen=True, slots=True)
class CaptureDocument:
    """What became of each event of a document, in its order."""

    events: tuple[CapturedEvent | RefusedEvent, ...]


def read_epcis(raw: bytes, *, name: str) -> EpcisEventDraft:
    """Return what a document says.

    Args:
        raw: An EPCISDocument, an EPCISQueryDocument, a list of events or a single one, in JSON-LD.
        name: What to call the document in messages.

    Raises:
        EpcisError: It is none of those, has no event, or an event has no time with an offset, or
            items of another shape, or a context is not pinned. The message names the document, the
            place and the value.
    """
    found = _Found()
    for event in split_document(raw, Place(name)):
        if isinstance(event, RefusedEvent):
            raise EpcisError(event.reason)
        try:
            found.add(event)
        except MalformedError as error:
            raise EpcisError(str(error)) from error
    return found.draft(raw)


def read_capture(
    raw: bytes, media_type: str, *, now_ms: int, name: str = "document"
) -> CaptureDocument:
    """Return a draft of each event of a document that keeps the rules, or why it does not.

    Args:
        raw: The document: JSON-LD of any shape that `read_epcis` takes, or XML.
        media_type: Which of the two it is; parameters behind a semicolon are passed over.
        now_ms: The time now, Unix time in ms.
        name: What to call the document in messages.

    Raises:
        EpcisError: It is no document with events, or its own context is not taken.
    """
    base_type = media_type.partition(";")[0].strip().lower()
    if base_type not in (*JSON_MEDIA_TYPES, *XML_MEDIA_TYPES):
        raise EpcisError(
            f"{name}: media type {shown(media_type)} is none of"
            f" {', '.join((*JSON_MEDIA_TYPES, *XML_MEDIA_TYPES))}"
        )
    events = split_document(raw, Place(name), is_xml=base_type in XML_MEDIA_TYPES)
    return CaptureDocument(tuple(_captured(event, now_ms) for event in events))


def _captured(event: EpcisEvent | RefusedEvent, now_ms: int) -> CapturedEvent | RefusedEvent:
    if isinstance(event, RefusedEvent):
        return event
    try:
        check_epcis_event(event, now_ms=now_ms)
        found = _Found()
        found.add(event)
        draft = found.draft(event.compact_json())
        _check_fits(draft, event.place)
    except (EpcisError, MalformedError) as error:
        return RefusedEvent(event.place, str(error))
    return CapturedEvent(event.place.path, draft)


def _check_fits(draft: EpcisEventDraft, place: Place) -> None:
    """Refuse an event of which the ledger would keep or find less than all."""
    if draft.ids_refused_count:
        raise place.refusal(
            f"{shown(draft.ids_refused[0])} has no form on the ledger: an id there has at most 128"
            " characters, ASCII letters, digits and -._:/~%+()@!$&'*,;=?#[]; escape the others"
        )
    if draft.items_left_out_count:
        raise place.refusal(
            f"{len(draft.items) + draft.items_left_out_count} different items; at most {ITEMS_MAX}"
            " fit into an event: split it, or name lots instead of their parts"
        )
    if not draft.embed:
        raise place.refusal(
            f"{len(draft.document)} bytes as compact JSON; at most {EPCIS_DOCUMENT_SIZE_MAX} fit"
            f" into an event of {EVENT_SIZE_MAX} with its items: split it, or keep large"
            " extensions in a file whose digest it names"
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
        items=[_reference(item) for item in draft.items],
        epcis_document=quality_pb2.EpcisDocument(
            document=draft.document if draft.embed else b"",
            document_digest=draft.sha256,
            event_count=draft.event_count,
            event_hashes=draft.event_hashes,
        ),
    )
    try:
        check_event(event.SerializeToString(deterministic=True))
    except EventRefused as error:
        raise EpcisError(f"EPCIS document {draft.sha256.hex()}: {error}") from error
    return event


def _reference(item: DraftItem) -> event_pb2.ItemReference:
    reference = event_pb2.ItemReference(id=item.id, role=item.role)
    if item.amount:
        reference.quantity.CopyFrom(event_pb2.Quantity(value=item.amount, unit=item.unit))
    return reference


class _Found:
    """What the events of a document add up to."""

    def __init__(self) -> None:
        self._event_count = 0
        self._hashes: list[bytes] = []
        self._items: dict[tuple[str, Role], _Amount] = {}  # in the order they stand there
        self._ids_refused: dict[str, None] = {}  # a set that keeps the order
        self._start_ms = 0
        self._end_ms = 0

    def add(self, event: EpcisEvent) -> None:
        """Take in one EPCIS event."""
        members, place = event.members, event.place
        at = place.member("eventTime")
        if "eventTime" not in members:
            raise at.missing("every EPCIS event states one, with an offset")
        time = string_at(members["eventTime"], at)
        try:
            start_ms, end_ms = enclosing_ms(time)
        except MalformedError as error:
            raise at.refusal(str(error)) from error
        self._start_ms = min(self._start_ms, start_ms) if self._event_count else start_ms
        self._end_ms = max(self._end_ms, end_ms)
        self._event_count += 1
        if len(self._hashes) < EPCIS_HASHES_MAX:
            self._hashes.append(event.hash)
        for member, role in _ROLES.items():
            for item, amount in _named(members, member, place.member(member)):
                self._add_item(item, role, amount)
        for item in _devices(members):
            self._add_item(item, event_pb2.ITEM_ROLE_USED, _Amount())

    def _add_item(self, item: str, role: Role, amount: "_Amount") -> None:
        if not ITEM_ID.passes(item):
            # Left out and counted: an id made up in its place would name something else.
            self._ids_refused[item] = None
            return
        known = self._items.get((item, role))
        self._items[item, role] = amount if known is None else known.plus(amount)

    def draft(self, document: bytes) -> EpcisEventDraft:
        """Return the draft of a document that says these events."""
        # Amounts of several events do not add up: what came in one may go out by the next.
        items = tuple(
            DraftItem(item, role, *(amount.texts() if self._event_count == 1 else ()))
            for (item, role), amount in tuple(self._items.items())[:ITEMS_MAX]
        )
        size = _ENVELOPE_SIZE_MAX + _HASH_SIZE * len(self._hashes) + len(document)
        size += sum(item.size_max for item in items)
        return EpcisEventDraft(
            document=document,
            sha256=hashlib.sha256(document).digest(),
            event_count=self._event_count,
            event_hashes=tuple(self._hashes),
            items=items,
            items_left_out_count=len(self._items) - len(items),
            ids_refused=tuple(self._ids_refused)[:IDS_REFUSED_SHOWN_MAX],
            ids_refused_count=len(self._ids_refused),
            start_ms=self._start_ms,
            end_ms=self._end_ms,
            embed=len(document) <= EPCIS_DOCUMENT_SIZE_MAX and size <= EVENT_SIZE_MAX,
        )


@dataclass(frozen=True, slots=True)
class _Amount:
    """How much of an item an event names."""

    value: Decimal | None = None  # None: not stated, or in several units
    unit: str = ""

    def plus(self, other: "_Amount") -> "_Amount":
        """Return both together; what has no common unit has no sum."""
        if self.value is None or other.value is None or self.unit != other.unit:
            return _Amount()
        return _Amount(self.value + other.value, self.unit)

    def texts(self) -> tuple[str, ...]:
        """Return amount and unit; nothing where the ledger has no form for them."""
        if self.value is None:
            return ()
        text = f"{self.value:f}"
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        return (text, self.unit) if DECIMAL.passes(text) and UNIT.passes(self.unit) else ()


def _named(
    event: Mapping[str, ForeignJson], member: str, place: Place
) -> Iterator[tuple[str, _Amount]]:
    """Yield the items that a member names, with how much of each."""
    if member not in event:
        return
    if member == "parentID":
        yield string_at(event[member], place), _Amount()
        return
    for index, element in enumerate(list_at(event[member], place)):
        at = place.element(index)
        if not member.endswith("QuantityList") and member != "quantityList":
            yield string_at(element, at), _Amount()
        elif isinstance(element, dict) and "epcClass" in element:
            yield string_at(element["epcClass"], at.member("epcClass")), _amount(element)
        else:
            raise at.member("epcClass").missing("a quantity element names its class")


def _amount(element: Mapping[str, ForeignJson]) -> _Amount:
    value, unit = element.get("quantity"), element.get("uom", PIECE)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isinstance(unit, str):
        return _Amount()
    return _Amount(Decimal(repr(value)), unit) if abs(value) < _AMOUNT_LIMIT else _Amount()


def _devices(event: Mapping[str, ForeignJson]) -> Iterator[str]:
    """Yield the sensors that an event names; what has another shape names none."""
    elements = event.get("sensorElementList")
    for element in elements if isinstance(elements, list) else ():
        if not isinstance(element, dict):
            continue
        reports = element.get("sensorReport")
        parts = [element.get("sensorMetadata"), *(reports if isinstance(reports, list) else ())]
        for part in parts:
            device = part.get("deviceID") if isinstance(part, dict) else None
            if isinstance(device, str):
                yield device


_AMOUNT_LIMIT = 10**18  # a decimal of the ledger has 18 digits before the point
