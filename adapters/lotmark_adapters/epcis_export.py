"""Events of the ledger as EPCIS 2.0 events in JSON-LD.

A captured EPCIS event comes back as it was captured, with the ledger's time as its record time. Any
other event shows what EPCIS has members for, and all it says in the extension ``lotmark:``. Its
``eventID`` is its event hash, so whoever holds the ledger's event makes the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lotmark.canonical_json import ForeignJson
from lotmark.document_fields import Place, table_of
from lotmark.gs1_ids import STEM as GS1_STEM
from lotmark.rfc3339 import text_of_ms
from lotmark.v1 import event_pb2
from lotmark_adapters.epcis import PIECE
from lotmark_adapters.epcis_context import EPCIS_CONTEXT_URL, read_context
from lotmark_adapters.epcis_document import EpcisEvent, split_document
from lotmark_adapters.epcis_hash import event_hash, event_hash_uri
from lotmark_adapters.epcis_native import VIEWS, View
from lotmark_adapters.epcis_numbers import json_number
from lotmark_adapters.epcis_uris import STEM, instance_uri, is_class, item_uri, uri_of
from lotmark_adapters.epcis_values import is_unit
from lotmark_adapters.errors import EpcisError

LOTMARK_NAMESPACE = f"{STEM}epcis/"

_CONTEXT: list[ForeignJson] = [EPCIS_CONTEXT_URL, {"lotmark": LOTMARK_NAMESPACE}]
_JSON_LD = read_context(_CONTEXT, Place("export"))
_INTEGER_MAX = 2**53 - 1

_RELATIONS = ("AggregationEvent", "AssociationEvent")
_SUBJECT = event_pb2.ITEM_ROLE_SUBJECT
# Event type -> role -> members for single things and for classes.
_MEMBERS: dict[str, dict[int, tuple[str, str]]] = {
    "ObjectEvent": {_SUBJECT: ("epcList", "quantityList")},
    "TransactionEvent": {_SUBJECT: ("epcList", "quantityList")},
    "TransformationEvent": {
        event_pb2.ITEM_ROLE_INPUT: ("inputEPCList", "inputQuantityList"),
        event_pb2.ITEM_ROLE_OUTPUT: ("outputEPCList", "outputQuantityList"),
    },
    "AggregationEvent": {event_pb2.ITEM_ROLE_CHILD: ("childEPCs", "childQuantityList")},
    "AssociationEvent": {event_pb2.ITEM_ROLE_CHILD: ("childEPCs", "childQuantityList")},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    """An event as it stands on the ledger."""

    event: event_pb2.Event
    event_id: bytes
    party: str  # that signed it
    recorded_ms: int  # ledger time of its block, Unix time in ms


def epcis_events(recorded: RecordedEvent) -> list[dict[str, ForeignJson]]:
    """Return an event of the ledger as EPCIS events, each whole with its context.

    Returns:
        One event; of a document with several, each; none of what has no form in EPCIS, of a
        document that is kept by its digest alone, or of one that cannot be read.
    """
    body = recorded.event.WhichOneof("body")
    if body == "epcis_document":
        return _captured(recorded)
    if body not in VIEWS:
        return []
    return [_native(recorded, body)]


def _captured(recorded: RecordedEvent) -> list[dict[str, ForeignJson]]:
    document = recorded.event.epcis_document.document
    try:
        events = split_document(document, Place("document")) if document else []
    except EpcisError:
        return []  # authors may put on the ledger what they like
    found = []
    for event in events:
        if isinstance(event, EpcisEvent):
            whole = {"@context": list(event.written_context), **event.members}
            whole.setdefault("eventID", event_hash_uri(event.hash))
            found.append(whole | {"recordTime": text_of_ms(recorded.recorded_ms)})
    return found


def _native(recorded: RecordedEvent, body: str) -> dict[str, ForeignJson]:
    event = recorded.event
    stated = VIEWS[body](getattr(event, body), event)
    view, items = dict(stated), _Items(event)
    if not items.place_in(view):
        # EPCIS asks for items that this event has not: so it tells that something was seen.
        view, items = {**stated, "type": "ObjectEvent", "action": "OBSERVE"}, _Items(event)
        items.place_in(view)
    whole: dict[str, ForeignJson] = {
        **view,
        "eventTime": text_of_ms(event.time.end_ms),
        "eventTimeZoneOffset": "+00:00",
        **_extension(recorded, body, items),
    }
    digest = event_hash(whole, _JSON_LD)
    return {
        "@context": list(_CONTEXT),
        "eventID": event_hash_uri(digest),
        "recordTime": text_of_ms(recorded.recorded_ms),
        **whole,
    }


def _extension(recorded: RecordedEvent, body: str, items: "_Items") -> dict[str, ForeignJson]:
    event = recorded.event
    time = table_of(event.time)
    extension: dict[str, ForeignJson] = {
        "lotmark:event": uri_of("event", recorded.event_id.hex()),
        "lotmark:party": recorded.party,
        "lotmark:device": event.device,
        "lotmark:capture": event_pb2.CaptureMode.Name(event.capture_mode).removeprefix(
            "CAPTURE_MODE_"
        ),
        "lotmark:time": _prefixed(time),
    }
    if items.elsewhere:
        extension["lotmark:items"] = list(items.elsewhere)
    if event.files:
        extension["lotmark:files"] = [_prefixed(table_of(file)) for file in event.files]
    fields = _prefixed(table_of(getattr(event, body)))
    if fields:
        extension[f"lotmark:{body}"] = fields
    return extension


def _prefixed(value: object) -> ForeignJson:
    """Return a table with our namespace before its names, and integers that any reader keeps."""
    if isinstance(value, Mapping):
        return {f"lotmark:{name}": _prefixed(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_prefixed(each) for each in value]
    if isinstance(value, bool | str):
        return value
    assert isinstance(value, int), "a table of a message holds nothing else"
    return value if abs(value) <= _INTEGER_MAX else str(value)


@dataclass(slots=True)
class _Items:
    """The items of an event, each put where EPCIS has a place for it, or else beside."""

    event: event_pb2.Event
    elsewhere: list[ForeignJson] = field(default_factory=list)

    def place_in(self, view: View) -> bool:
        """Add the items to a view; return whether it then has all that its type asks for."""
        event_type = str(view["type"])
        for item in self.event.items:
            if not self._placed(item, event_type, view):
                self.elsewhere.append(_beside(item))
        match event_type:
            case "ObjectEvent" | "TransactionEvent":
                if "epcList" not in view and "quantityList" not in view:
                    view["epcList"] = [self._subject()]
            case "TransformationEvent":
                inputs = "inputEPCList" in view or "inputQuantityList" in view
                outputs = "outputEPCList" in view or "outputQuantityList" in view
                return inputs and outputs
            case _:
                children = "childEPCs" in view or "childQuantityList" in view
                return "parentID" in view and (children or view["action"] == "DELETE")
        return True

    def _subject(self) -> str:
        """Return what an event without subjects is about: the event it judges, or its device."""
        body = self.event.WhichOneof("body")
        judged = getattr(getattr(self.event, body), "event_id", b"") if body else b""
        return uri_of("event", judged.hex()) if judged else uri_of("device", self.event.device)

    def _placed(self, item: event_pb2.ItemReference, event_type: str, view: View) -> bool:
        """Put an item where it belongs; return whether it is told there whole."""
        has_quantity = item.HasField("quantity")
        if item.role == event_pb2.ITEM_ROLE_PARENT and event_type in _RELATIONS:
            if "parentID" in view:
                return False
            view["parentID"] = instance_uri(item.id)
            return not has_quantity
        members = _MEMBERS[event_type].get(item.role)
        if members is None:
            return False
        uri = item_uri(item.id)
        if not is_class(item.id) and (not has_quantity or uri.startswith(GS1_STEM)):
            return _added(view, members[0], uri) and not has_quantity
        amount = _amount(item)
        told = _added(view, members[1], {"epcClass": uri, **amount})
        return told and (bool(amount) or not has_quantity)


def _added(view: View, member: str, value: ForeignJson) -> bool:
    """Add to a list of a view what does not stand there yet."""
    known = view.setdefault(member, [])
    assert isinstance(known, list), "each of these members is a list"
    if value in known:
        return False
    known.append(value)
    return True


def _amount(item: event_pb2.ItemReference) -> dict[str, ForeignJson]:
    """Return how much of it in EPCIS's members; nothing where they have no form for it."""
    number, unit = json_number(item.quantity.value), item.quantity.unit
    if number is None or number <= 0 or not is_unit(unit):
        return {}
    if unit == PIECE and number == int(number):
        return {"quantity": number}
    return {"quantity": number, "uom": unit}


def _beside(item: event_pb2.ItemReference) -> ForeignJson:
    table: dict[str, ForeignJson] = {
        "lotmark:item": item_uri(item.id),
        "lotmark:role": event_pb2.ItemRole.Name(item.role).removeprefix("ITEM_ROLE_"),
    }
    if item.HasField("quantity"):
        table["lotmark:quantity"] = item.quantity.value
        table["lotmark:unit"] = item.quantity.unit
    return table
