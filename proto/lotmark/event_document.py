"""Events as a person or an ERP writes them: TOML or JSON, one event or many in a document.

    type = "measurement"
    device = "lims"
    time = "2025-12-23T09:14:07.312Z"       # or start and end
    uncertainty_us = 2000                   # how far the clock may be off
    capture = "SENSOR_DIRECT"
    items = [{ id = "https://id.gs1.org/01/04012345000016/10/CU-7", role = "SUBJECT" }]
    files = [{ path = "raw.csv", media_type = "text/csv" }]     # beside the document

    [measurement]                           # named as the type; its fields as in quality.proto
    feature = "resistivity"
    value = "17.241"
    ...

An event may carry its ``nonce``, 32 hex digits: then its document always makes the same event, and
the ledger takes it once. Many events stand in ``[[event]]`` tables. How the fields are written:
`lotmark.document_fields`.
"""

from collections.abc import Callable, Mapping
from importlib.resources.abc import Traversable
from typing import Any

from google.protobuf.message import Message

from lotmark.batch import EVENT_SIZE_MAX
from lotmark.document_fields import (
    DocumentValue,
    FileDigester,
    Place,
    enum_at,
    fill,
    hex_at,
    integer_at,
    list_at,
    short_names,
    shown,
    string_at,
    table_at,
    table_of,
)
from lotmark.document_source import digest_beneath, file_beneath, parse_document
from lotmark.errors import MalformedError
from lotmark.event import EVENT_TYPES, EventRefused, check_event
from lotmark.event_rules import BODY_RULES, DECIMAL, DEVICE, ITEM_ID, PARTY, UNIT, Rule
from lotmark.rfc3339 import TEXT_MAX_MS, parse_ms, text_of_ms
from lotmark.v1 import event_pb2

_COMMON = (
    "type", "device", "time", "start", "end", "uncertainty_us", "capture",
    "items", "files", "audience", "nonce",
)  # fmt: skip
_CAPTURE = event_pb2.CaptureMode.DESCRIPTOR
_UNCERTAINTY_MAX_US = 2**32 - 1
_NONCE_SIZE = 16


def read_events(
    raw: bytes, *, name: str, nonce: Callable[[], bytes], folder: Traversable | None = None
) -> list[event_pb2.Event]:
    """Return the events of a document, each of which keeps every rule that needs no state.

    Args:
        raw: The document: JSON if it begins with a brace, else TOML.
        name: What to call the document in messages.
        nonce: Gives 16 random bytes at each call, for an event that carries none of its own or
            for the salt of a file.
        folder: Where the files that the document names stand; None: it may name none.

    Raises:
        MalformedError: The document or an event in it is not as it should be. The message names
            the document, the place in it, the value and what is allowed.
    """
    document = parse_document(raw, Place(name))
    top = Place(name)
    reader = _Reader(nonce, folder)
    if "event" not in document:
        return [reader.event_at(document, top)]
    table_at(document, top, ["event"])
    at = top.member("event")
    tables = list_at(document["event"], at)
    return [reader.event_at(table, at.element(index)) for index, table in enumerate(tables)]


def describe(event: event_pb2.Event) -> dict[str, DocumentValue]:
    """Return the document of an event, all but its nonce; never fails, whatever it holds."""
    body = event.WhichOneof("body")
    table: dict[str, DocumentValue] = {} if body is None else {"type": body}
    table["device"] = event.device
    if event.time.start_ms == event.time.end_ms:
        table["time"] = _time_text(event.time.start_ms)
    else:
        table["start"] = _time_text(event.time.start_ms)
        table["end"] = _time_text(event.time.end_ms)
    table["uncertainty_us"] = event.time.uncertainty_us
    table["capture"] = short_names(_CAPTURE).get(event.capture_mode, int(event.capture_mode))
    if event.items:
        table["items"] = [table_of(item) for item in event.items]
    if event.files:
        table["files"] = [table_of(file) for file in event.files]
    if event.audience:
        table["audience"] = list(event.audience)
    if body is not None:
        table[body] = table_of(getattr(event, body))
    return table


def _time_text(time_ms: int) -> DocumentValue:
    return text_of_ms(time_ms) if time_ms < TEXT_MAX_MS else time_ms


class _Reader:
    """Makes events of tables."""

    def __init__(self, nonce: Callable[[], bytes], folder: Traversable | None) -> None:
        self._nonce = nonce
        self._folder = folder

    def event_at(self, value: object, place: Place) -> event_pb2.Event:
        """Return the event that a table says."""
        body = _body_name(value, place)
        table = table_at(value, place, [*_COMMON, body])
        event = event_pb2.Event(
            nonce=self._nonce_of(table, place.member("nonce")),
            device=string_at(_required(table, "device", place), place.member("device")),
            time=_interval(table, place),
            capture_mode=enum_at(  # type: ignore[arg-type]  # the stubs want their own class
                _required(table, "capture", place), place.member("capture"), _CAPTURE
            ),
        )
        _check(DEVICE, event.device, place.member("device"))
        self._add_items(event, table, place.member("items"))
        self._add_files(event, table, place.member("files"))
        at = place.member("audience")
        for index, member in enumerate(list_at(table.get("audience", []), at)):
            event.audience.append(string_at(member, at.element(index)))
            _check(PARTY, event.audience[index], at.element(index))
        event.audience.sort()
        at, fields = place.member(body), _required(table, body, place)
        message = getattr(event, body)
        message.SetInParent()
        fill(message, fields, at, self._digester())
        for name, rule in BODY_RULES[body]:
            if name in table[body]:
                _check_field(message, name, rule, at.member(name))
            else:
                _check_left_out(message, name, rule, at.member(name))
        _check_whole(event, place)
        return event

    def _nonce_of(self, table: Mapping[str, Any], place: Place) -> bytes:
        if "nonce" not in table:
            return self._nonce()
        nonce = hex_at(table["nonce"], place)
        if len(nonce) != _NONCE_SIZE:
            raise place.refusal(
                f"{shown(table['nonce'])} has {len(nonce)} bytes; write {_NONCE_SIZE} random ones,"
                f" {2 * _NONCE_SIZE} digits, or leave it out"
            )
        return nonce

    def _add_items(self, event: event_pb2.Event, table: Mapping[str, Any], place: Place) -> None:
        for index, value in enumerate(list_at(table.get("items", []), place)):
            at = place.element(index)
            item = event.items.add()
            fill(item, value, at, self._digester())
            _check(ITEM_ID, item.id, at.member("id"))
            if item.HasField("quantity"):
                _check(DECIMAL, item.quantity.value, at.member("quantity").member("value"))
                _check(UNIT, item.quantity.unit, at.member("quantity").member("unit"))

    def _add_files(self, event: event_pb2.Event, table: Mapping[str, Any], place: Place) -> None:
        for index, value in enumerate(list_at(table.get("files", []), place)):
            at = place.element(index)
            if isinstance(value, dict) and "path" in value:
                event.files.append(file_beneath(self._folder, value, at, self._nonce))
            else:
                fill(event.files.add(), value, at, self._digester())

    def _digester(self) -> FileDigester:
        return lambda path, place: digest_beneath(self._folder, path, place, b"")[0]


def _body_name(value: object, place: Place) -> str:
    if not isinstance(value, dict):
        raise place.refusal(f"{shown(value)} is no table; write [[event]]")
    at = place.member("type")
    body = string_at(_required(value, "type", place), at)
    if body not in EVENT_TYPES:
        raise at.refusal(f"{shown(body)} is no event type; allowed are {', '.join(EVENT_TYPES)}")
    return body


def _required(table: Mapping[str, Any], name: str, place: Place) -> object:
    if name not in table:
        raise place.member(name).missing(_REMEDIES.get(name, "an event needs it"))
    return table[name]


_REMEDIES = {
    "type": 'write what happened, such as type = "measurement"',
    "device": "name the device, line or system that saw it",
    "capture": f"write one of {', '.join(short_names(_CAPTURE).values())}",
    "uncertainty_us": "state how far the clock may be off, such as 1000000 for a second",
}


def _interval(table: Mapping[str, Any], place: Place) -> event_pb2.TimeInterval:
    if "time" in table and ("start" in table or "end" in table):
        raise place.member("time").refusal(
            "it stands beside start or end; write the one or the others"
        )
    if not ("time" in table or ("start" in table and "end" in table)):
        raise place.member("time").missing("write when it was so, or start and end")
    start_ms, end_ms = (
        _time_at(table[name], place.member(name))
        for name in (("time", "time") if "time" in table else ("start", "end"))
    )
    if end_ms < start_ms:
        raise place.member("end").refusal(f"{shown(table['end'])} is before start")
    uncertainty_us = integer_at(
        _required(table, "uncertainty_us", place),
        place.member("uncertainty_us"),
        0,
        _UNCERTAINTY_MAX_US,
    )
    return event_pb2.TimeInterval(start_ms=start_ms, end_ms=end_ms, uncertainty_us=uncertainty_us)


def _time_at(value: object, place: Place) -> int:
    text = string_at(value, place)
    try:
        return parse_ms(text)
    except MalformedError as error:
        raise place.refusal(str(error)) from error


def _check(rule: Rule, value: object, place: Place) -> None:
    if rule.passes(value):
        return
    try:
        rule.explain(value, place.path)
    except MalformedError as error:
        raise MalformedError(f"{place.document}: {error}") from error


def _check_field(message: Message, name: str, rule: Rule, place: Place) -> None:
    value = getattr(message, name)
    if message.DESCRIPTOR.fields_by_name[name].is_repeated:
        for index, element in enumerate(value):
            _check(rule, [element], place.element(index))
    _check(rule, value, place)


def _check_left_out(message: Message, name: str, rule: Rule, place: Place) -> None:
    value = getattr(message, name)
    try:
        if not rule.passes(value):
            rule.explain(value, name)
    except MalformedError as error:
        raise place.missing("this type of event needs it") from error


def _check_whole(event: event_pb2.Event, place: Place) -> None:
    """Check what only shows in the whole event, such as its size."""
    raw = event.SerializeToString(deterministic=True)
    if len(raw) > EVENT_SIZE_MAX:
        raise place.refusal(
            f"the event has {len(raw)} bytes; at most {EVENT_SIZE_MAX} are allowed: keep the data"
            " in a file and name that in files"
        )
    try:
        check_event(raw)
    except EventRefused as error:
        raise place.refusal(str(error)) from error
