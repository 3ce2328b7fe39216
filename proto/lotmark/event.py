"""The rules every event keeps, whatever the state: canonical bytes, known type, sound fields.

Each rule here is applied by authors, by admission and by the state machine alike, so all of them
refuse the same events with the same outcome.
"""

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError

from lotmark.batch import EVENT_SIZE_MAX
from lotmark.errors import MalformedError, ProtocolError
from lotmark.event_rules import (
    ANYTHING,
    BODY_RULES,
    DECIMAL,
    DEVICE,
    DIGEST,
    ITEM_ID,
    PARTY,
    UNIT,
    ForbiddenTextError,
    identifier,
    text,
)
from lotmark.item_name import canonical_item
from lotmark.key_grant import TIME_MAX_MS, TIME_MIN_MS
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2

ITEMS_MAX = 64
FILES_MAX = 16
AUDIENCE_MAX = 32
NONCE_SIZE = 16

EVENT_TYPES = {
    field.name: field.number for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields
}


_MEDIA_TYPE = identifier(64)
_FILE_NAME = text(255)

# What `check_event` runs through: (field, test, explanation, name in messages).
_FIELDS = {
    body: [
        (field, rule.passes, rule.explain, f"{body}.{field}")
        for field, rule in rules
        if rule is not ANYTHING
    ]
    for body, rules in BODY_RULES.items()
}


class EventRefused(ProtocolError):
    """An event breaks a rule; `outcome` is what goes on record."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(f"{outcome.name}: {detail}")
        self.outcome = outcome


class CheckedEvent:
    """An event that keeps every rule that needs no state."""

    __slots__ = ("_item_names", "body_name", "event_type", "item_ids", "item_roles", "message")

    def __init__(
        self,
        message: event_pb2.Event,
        body_name: str,
        item_ids: Sequence[str],
        item_roles: Sequence[int],
    ) -> None:
        self.message = message
        self.body_name = body_name
        self.item_ids = item_ids
        self.item_roles = item_roles
        self.event_type = EVENT_TYPES[body_name]
        self._item_names: tuple[str, ...] | None = None

    @property
    def item_names(self) -> tuple[str, ...]:
        """Canonical names of its items, each once, in the order in which they stand there."""
        if self._item_names is None:
            self._item_names = tuple(dict.fromkeys(map(canonical_item, self.item_ids)))
        return self._item_names

    @property
    def body(self) -> Any:
        """The body that is set."""
        return getattr(self.message, self.body_name)


def check_event(raw: bytes) -> CheckedEvent:
    """Parse an event and check everything that needs no state.

    Raises:
        EventRefused: A rule is broken; the message names the field, the value and the rule.
    """
    if len(raw) > EVENT_SIZE_MAX:
        raise EventRefused(
            Outcome.EVENT_OVERSIZE, f"{len(raw)} bytes, at most {EVENT_SIZE_MAX} are allowed"
        )
    try:
        message = event_pb2.Event.FromString(raw)
    except DecodeError as error:
        raise EventRefused(Outcome.EVENT_MALFORMED, "the bytes are no protobuf event") from error
    message.DiscardUnknownFields()
    if message.SerializeToString(deterministic=True) != raw:
        raise EventRefused(
            Outcome.EVENT_MALFORMED, "serialising the parsed event gives other bytes"
        )
    body_name = message.WhichOneof("body")
    if body_name is None:
        raise EventRefused(Outcome.EVENT_TYPE_UNKNOWN, "no body is set")
    try:
        item_ids, item_roles = _check_common(message)
        body = getattr(message, body_name)
        for field, passes, explain, what in _FIELDS[body_name]:
            value = getattr(body, field)
            if not passes(value):
                explain(value, what)
    except ForbiddenTextError as error:
        raise EventRefused(Outcome.TEXT_FORBIDDEN, str(error)) from error
    except MalformedError as error:
        raise EventRefused(Outcome.FIELD_INVALID, str(error)) from error
    return CheckedEvent(message, body_name, item_ids, item_roles)


def _check_common(message: event_pb2.Event) -> tuple[Sequence[str], Sequence[int]]:
    if len(message.nonce) != NONCE_SIZE:
        raise MalformedError(f"nonce has {len(message.nonce)} bytes, not {NONCE_SIZE}")
    if not DEVICE.passes(message.device):
        DEVICE.explain(message.device, "device")
    if not 1 <= message.capture_mode <= 3:
        raise MalformedError(f"capture_mode {message.capture_mode} is not 1, 2 or 3")
    time = message.time
    if not TIME_MIN_MS <= time.start_ms <= time.end_ms < TIME_MAX_MS:
        raise EventRefused(
            Outcome.EVENT_TIME_ABSURD,
            f"time {time.start_ms} to {time.end_ms} ms is no interval within 2000 to 2099",
        )
    if message.files:
        _check_files(message)
    if message.audience:
        _check_audience(message)
    return _check_items(message) if message.items else ((), ())


def _check_items(message: event_pb2.Event) -> tuple[Sequence[str], Sequence[int]]:
    items = message.items
    _check_count("items", len(items), ITEMS_MAX)
    item_ids, item_roles, seen = [], [], set()
    passes = ITEM_ID.passes
    for item in items:
        item_id, role = item.id, item.role
        if not passes(item_id):
            ITEM_ID.explain(item_id, "items.id")
        if not 1 <= role <= 6:
            raise MalformedError(f"items.role {role} is not 1 to 6")
        if item.HasField("quantity"):
            quantity = item.quantity
            if not DECIMAL.passes(quantity.value):
                DECIMAL.explain(quantity.value, "items.quantity.value")
            if not UNIT.passes(quantity.unit):
                UNIT.explain(quantity.unit, "items.quantity.unit")
        item_ids.append(item_id)
        item_roles.append(role)
        seen.add((item_id, role))
    if len(seen) != len(item_ids):
        raise MalformedError("items: one stands twice with the same role")
    return item_ids, item_roles


def _check_files(message: event_pb2.Event) -> None:
    _check_count("files", len(message.files), FILES_MAX)
    for file in message.files:
        if not DIGEST.passes(file.sha256):
            DIGEST.explain(file.sha256, "files.sha256")
        if file.salt and not 16 <= len(file.salt) <= 32:
            raise MalformedError(f"files.salt has {len(file.salt)} bytes, not 0 or 16 to 32")
        if not _MEDIA_TYPE.passes(file.media_type):
            _MEDIA_TYPE.explain(file.media_type, "files.media_type")
        if not _FILE_NAME.passes(file.name):
            _FILE_NAME.explain(file.name, "files.name")


def _check_audience(message: event_pb2.Event) -> None:
    audience = list(message.audience)
    _check_count("audience", len(audience), AUDIENCE_MAX)
    for member in audience:
        if not PARTY.passes(member):
            PARTY.explain(member, "audience")
    if sorted(set(audience)) != audience:
        raise MalformedError("audience: the parties do not ascend")


def _check_count(field: str, count: int, count_max: int) -> None:
    if count > count_max:
        raise MalformedError(f"{count} {field}, at most {count_max} are allowed")
