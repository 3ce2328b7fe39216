"""Events of the ledger as rules see them: a name, an author, and fields of plain values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from lotmark.document_fields import short_names
from lotmark.event import EVENT_TYPES, CheckedEvent
from lotmark.item_name import canonical_item
from lotmark.rule_value import RuleValue, values_of
from lotmark.v1 import event_pb2
from lotmark_contracts.execution.inputs import Ancestor, Event
from lotmark_contracts.wcel.types import (
    BoolType,
    IntType,
    ListType,
    RecordType,
    StringType,
    Type,
)

CONTRACT_EVENT = "contract_event"
_CAPTURES = short_names(event_pb2.CaptureMode.DESCRIPTOR)
# What rules may read of an event of the ledger's own types beside the fields of its body.
_ENVELOPE = {"device": "device", "capture": "capture_mode", "items": "items"}
_ITEM_ID = "lotmark.v1.ItemReference.id"  # rules know an item by one name, as `provenance` does
_TIMES = {"start_ms": "start_ms", "end_ms": "end_ms"}


def is_native(event_type: str) -> bool:
    """Tell whether rules read an event of this type from the ledger's own fields."""
    return event_type in EVENT_TYPES and event_type != CONTRACT_EVENT


def name_of(event: CheckedEvent) -> str:
    """Return the type by which rules know an event."""
    if event.body_name == CONTRACT_EVENT:
        name: str = event.body.name
        return name
    return event.body_name


def rule_event(
    event: CheckedEvent,
    *,
    index: int,
    author: str,
    declared: Mapping[str, Type],
    provenance: Callable[[], Sequence[Ancestor]],
) -> Event:
    """Return an event as rules see it.

    Args:
        event: The event.
        index: Of its entry, which is its id among rules.
        author: The party that signed it.
        declared: The fields that packages declare for its type, of an event of the ledger's own.
        provenance: Returns what is on record of its items.
    """
    if event.body_name == CONTRACT_EVENT:
        return Event(
            id=str(index),
            type=event.body.name,
            author=author,
            fields=values_of(event.body.fields),
            envelope={
                "capture": _CAPTURES[event.message.capture_mode],
                "from_device": event.message.device,
            },
            provenance=provenance,
        )
    return Event(
        id=str(index),
        type=event.body_name,
        author=author,
        fields=_native_fields(event, declared),
        provenance=provenance,
        is_native=True,
    )


def _native_fields(event: CheckedEvent, declared: Mapping[str, Type]) -> dict[str, RuleValue]:
    body, values = event.body, dict[str, RuleValue]()
    known = body.DESCRIPTOR.fields_by_name
    for name, type_ in declared.items():
        message, field_name = body, name
        if name not in known:
            message, field_name = _beside_body(event.message, name)
            if message is None:
                continue
        value = _field_value(message, field_name, type_)
        if value is not None:
            values[name] = value
    return values


def _beside_body(message: event_pb2.Event, name: str) -> tuple[Any, str]:
    if name in _TIMES:
        return message.time, _TIMES[name]
    return (message, _ENVELOPE[name]) if name in _ENVELOPE else (None, name)


def _field_value(message: Any, name: str, type_: Type) -> RuleValue | None:
    """Return the value of a message's field, or None where it is not there."""
    field: FieldDescriptor = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    if field.is_repeated:
        assert isinstance(type_, ListType), "declared fields were checked against the message's"
        return [_plain(field, each, type_.item) for each in value]
    if field.has_presence and not message.HasField(name):
        return None
    return _plain(field, value, type_)


def _plain(field: FieldDescriptor, value: Any, type_: Type) -> RuleValue:
    if field.message_type is not None:
        assert isinstance(type_, RecordType), "declared fields were checked against the message's"
        found = {name: _field_value(value, name, each.type) for name, each in type_.fields}
        return {name: each for name, each in found.items() if each is not None}
    if isinstance(field.enum_type, EnumDescriptor):
        return short_names(field.enum_type).get(value, str(value))
    if isinstance(value, bytes):
        return value.hex()
    if field.full_name == _ITEM_ID:
        return canonical_item(value)
    plain: RuleValue = value
    return plain


def _message_of(field: FieldDescriptor) -> Descriptor:
    assert field.message_type is not None, "bodies of events are messages"
    return field.message_type


def undeclarable(event_type: str, record: RecordType) -> str | None:
    """Return why an event of the ledger's own types has no such fields, or None where it has."""
    body = _message_of(event_pb2.Event.DESCRIPTOR.fields_by_name[event_type])
    for name, each in record.fields:
        field = body.fields_by_name.get(name) or _envelope_field(name)
        if field is None:
            known = sorted([*body.fields_by_name, *_ENVELOPE, *_TIMES])
            return f"{event_type} has no field {name!r}; there are {', '.join(known)}"
        reason = _mismatch(field, each.type, is_optional=each.is_optional)
        if reason:
            return f"{event_type}.{name} {reason}"
    return None


def _envelope_field(name: str) -> FieldDescriptor | None:
    if name in _TIMES:
        return event_pb2.TimeInterval.DESCRIPTOR.fields_by_name[_TIMES[name]]
    if name in _ENVELOPE:
        return event_pb2.Event.DESCRIPTOR.fields_by_name[_ENVELOPE[name]]
    return None


def _mismatch(field: FieldDescriptor, type_: Type, *, is_optional: bool) -> str:
    """Return how a field is of another type than is declared; empty: it is of that type."""
    if field.is_repeated:
        if not isinstance(type_, ListType):
            return "is a list"
        return _element_mismatch(field, type_.item)
    if field.has_presence and not is_optional:
        return "may be absent: declare it with ?"
    return _element_mismatch(field, type_)


def _element_mismatch(field: FieldDescriptor, type_: Type) -> str:
    if field.message_type is not None:
        if not isinstance(type_, RecordType):
            return "is a record"
        for name, each in type_.fields:
            inner = field.message_type.fields_by_name.get(name)
            if inner is None:
                return f"has no field {name!r}"
            reason = _mismatch(inner, each.type, is_optional=each.is_optional)
            if reason:
                return f"has a field {name!r} that {reason}"
        return ""
    texts = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_ENUM)
    if field.type in texts:
        return "" if isinstance(type_, StringType) else "is a text"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "" if isinstance(type_, BoolType) else "is a truth value"
    return "" if isinstance(type_, IntType) else "is a whole number"
