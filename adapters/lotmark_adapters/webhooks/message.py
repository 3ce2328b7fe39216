"""What webhooks are told, before it takes the form that one of them wants."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from lotmark.canonical_json import JsonValue, dump, load
from lotmark.errors import MalformedError
from lotmark.json_fields import JsonFields
from lotmark_adapters.errors import WebhookRefused

MESSAGE_SIZE_MAX = 8_192  # bytes as JSON: Feishu takes about 20 kB with what goes around it

_EVENT_ID_SIZE = 32
_MEMBERS = ("kind", "title", "event_id", "made_ms", "fields")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A ticket or an alert.

    A ticket is on the ledger before anybody is told, so that what people act on is on record: its
    message carries the event's id. An alert may be told before, or without, any event.
    """

    kind: str  # "retrain_ticket", "alert"
    title: str
    event_id: bytes  # b"": there is no event
    made_ms: int  # Unix time
    fields: Mapping[str, str]  # in the order in which people read them

    def __post_init__(self) -> None:
        if len(self.event_id) not in (0, _EVENT_ID_SIZE):
            raise WebhookRefused(f"an event id of {len(self.event_id)} bytes is none")
        if self.kind.endswith("_ticket") and not self.event_id:
            raise WebhookRefused(
                f"a {self.kind} without an event: put the ticket on the ledger, then tell of it"
            )
        try:
            size = len(self.to_json())
        except MalformedError as error:
            raise WebhookRefused(f"the message cannot be written as JSON: {error}") from error
        if size > MESSAGE_SIZE_MAX:
            raise WebhookRefused(
                f"the message has {size} bytes; at most {MESSAGE_SIZE_MAX} are told: shorten it,"
                " the event has the rest"
            )

    @property
    def key(self) -> str:
        """What the same message has however often it is made; receivers may use it, too."""
        about = self.event_id or self.to_json()
        return hashlib.sha256(self.kind.encode() + b"\n" + about).hexdigest()

    def to_json(self) -> bytes:
        """Return it as canonical JSON."""
        document: dict[str, JsonValue] = {
            "kind": self.kind,
            "title": self.title,
            "event_id": self.event_id.hex(),
            "made_ms": self.made_ms,
            "fields": [{"name": name, "value": value} for name, value in self.fields.items()],
        }
        return dump(document)


def message_from_json(raw: bytes) -> Message:
    """Return the message that `Message.to_json` wrote.

    Raises:
        MalformedError: It is none.
        WebhookRefused: It breaks a rule of messages.
    """
    table = JsonFields(load(raw, size_max=MESSAGE_SIZE_MAX), _MEMBERS, place="message")
    event_id = table.text("event_id")
    return Message(
        kind=table.text("kind"),
        title=table.text("title"),
        event_id=table.hex("event_id", size=_EVENT_ID_SIZE) if event_id else b"",
        made_ms=table.number("made_ms"),
        fields={
            each.text("name"): each.text("value")
            for each in table.objects("fields", ("name", "value"))
        },
    )
