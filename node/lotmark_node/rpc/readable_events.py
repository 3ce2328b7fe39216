"""What one caller may read of the events that the index points to."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from lotmark.entry import parse_leaf_data
from lotmark.event import CheckedEvent, check_event
from lotmark.v1 import provenance_pb2
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.stored_block import LogEntry
from lotmark_node.provenance.reader import IndexReader
from lotmark_node.provenance.rows import Postings
from lotmark_node.rpc.access import Caller
from lotmark_node.rpc.entry_filter import entry_message, may_read

LOOKED_AT_MAX = 1_000  # events with an audience, to find one that a caller may read
_KEPT_MAX = 100_000  # answers about entries that are kept for a call


class ReadableEvent(NamedTuple):
    """An event that the caller may read, with its entry."""

    entry: LogEntry
    checked: CheckedEvent

    @property
    def party(self) -> str:
        """The party that signed it."""
        assert self.entry.batch is not None, "an event entry has its batch beside it"
        party: str = self.entry.batch.header.party
        return party

    @property
    def recorded_ms(self) -> int:
        """The time of its block."""
        return parse_leaf_data(self.entry.leaf_data)[0].time_ms


class ReadableEvents:
    """Events as one caller reads them; for one thread at a time."""

    def __init__(self, reader: LogReader, index: IndexReader, caller: Caller) -> None:
        self._reader = reader
        self._index = index
        self._caller = caller
        self._known: dict[int, bool] = {}

    def may_read(self, index: int) -> bool:
        """Tell whether the caller may read the event of an entry."""
        known = self._known.get(index)
        if known is None:
            (entry,) = self._reader.events([index])
            known = may_read(entry, self._caller)
            if len(self._known) < _KEPT_MAX:
                self._known[index] = known
        return known

    def may_read_entry(self, entry: LogEntry) -> bool:
        """Tell whether the caller may read the event of an entry that is at hand."""
        return may_read(entry, self._caller)

    def may_see(self, item: str) -> bool:
        """Tell whether the caller may read an event that names an item, by its canonical name."""
        return self._index.is_open(item) or self.any_readable(Postings.ITEM, item)

    def any_readable(self, kind: Postings, name: str) -> bool:
        """Tell whether the caller may read one of the first events of a list."""
        entries = islice(self._index.entries(kind, name), LOOKED_AT_MAX)
        return any(self.may_read(entry) for entry in entries)

    def read(self, indexes: Iterable[int]) -> Iterator[tuple[int, ReadableEvent | None]]:
        """Return accepted events by the indexes of their entries; None: not for the caller."""
        for entry in self._reader.events(indexes):
            readable = may_read(entry, self._caller)
            yield entry.index, ReadableEvent(entry, check_event(entry.event)) if readable else None

    def message(self, event: ReadableEvent) -> provenance_pb2.FoundEvent:
        """Return an event on the wire."""
        return provenance_pb2.FoundEvent(
            entry=entry_message(event.entry, self._caller), party=event.party
        )
