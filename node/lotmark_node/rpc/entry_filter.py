"""What a caller gets to see of entries: by subscription filter and by audience."""

from google.protobuf.message import DecodeError

from lotmark.entry import EntryKind
from lotmark.event import EVENT_TYPES
from lotmark.v1 import event_pb2, ledger_pb2
from lotmark_node.engine.log_reader import kind_of
from lotmark_node.engine.stored_block import LogEntry
from lotmark_node.rpc.access import Caller


class EntryFilter:
    """A subscription's filters: what is not asked for is left out, never shortened.

    What a caller may not read does not pass a filter on it either: that would tell what it holds.
    """

    def __init__(self, request: ledger_pb2.SubscribeRequest, caller: Caller) -> None:
        self._caller = caller
        self._types = frozenset(request.event_types)
        self._parties = frozenset(request.parties)
        self._item = request.item
        self._all_kinds = request.all_kinds

    def passes(self, entry: LogEntry) -> bool:
        """Tell whether an entry is asked for."""
        if kind_of(entry) != EntryKind.EVENT:
            return self._all_kinds
        assert entry.batch is not None, "an event entry has its batch beside it"
        if self._parties and entry.batch.header.party not in self._parties:
            return False
        if not self._types and not self._item:
            return True
        event = parse_event(entry.event)
        if event is None or not may_read(entry, self._caller):
            return False
        body = event.WhichOneof("body")
        if self._types and (body is None or EVENT_TYPES[body] not in self._types):
            return False
        return not self._item or any(item.id == self._item for item in event.items)


def entry_message(entry: LogEntry, caller: Caller) -> ledger_pb2.Entry:
    """Return the wire form of an entry, without the event where the caller may not read it."""
    message = ledger_pb2.Entry(index=entry.index, leaf_data=entry.leaf_data)
    if entry.event:
        if may_read(entry, caller):
            message.event = entry.event
        else:
            message.withheld = True
    return message


def may_read(entry: LogEntry, caller: Caller) -> bool:
    """Tell whether the event of an entry is shown to a caller."""
    # A refused event may be no protobuf at all: then nobody but its author's party reads it.
    assert entry.batch is not None, "an event entry has its batch beside it"
    if caller.party == entry.batch.header.party:
        return True
    event = parse_event(entry.event)
    return caller.own if event is None else caller.may_read(event.audience)


def parse_event(raw: bytes) -> event_pb2.Event | None:
    """Return the event; None where the bytes are none."""
    try:
        return event_pb2.Event.FromString(raw)
    except DecodeError:
        return None
