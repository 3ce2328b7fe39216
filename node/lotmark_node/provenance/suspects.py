"""What a device, a tool or a lot touched in an interval."""

from collections.abc import Callable
from dataclasses import dataclass

from lotmark_node.provenance.packed import RESTRICTED
from lotmark_node.provenance.reader import IndexReader
from lotmark_node.provenance.rows import Edges

ITEMS_MAX = 1_000_000  # kept in memory for one question


class TooManyItems(Exception):
    """More items were touched than are kept in memory; the interval is to be shortened."""


@dataclass(slots=True, kw_only=True)
class Suspect:
    """An item that was touched."""

    name: str
    event_count: int
    entry: int  # of the first event on the log
    last_entry: int
    first_ms: int  # earliest event, by its own time
    last_ms: int


def suspects(
    index: IndexReader,
    name: str,
    *,
    from_ms: int,
    to_ms: int,
    size: int,
    may_read: Callable[[int], bool],
) -> list[Suspect]:
    """Return what was touched, in the order of the first event of each by its own time.

    Args:
        index: The index.
        name: Device, or canonical name of a tool, lot or other item.
        from_ms: Begin by the events' own time.
        to_ms: End, not included.
        size: Entries from here on are left out.
        may_read: Tells whether the event of an entry may be told to whoever asks.

    Raises:
        TooManyItems: There are more than `ITEMS_MAX`.
    """
    found: dict[str, Suspect] = {}
    for time_ms, entry, item, restricted in index.seen_by(name, from_ms, to_ms):
        if entry < size and (not restricted or may_read(entry)):
            _add(found, item, time_ms, entry)
    for edge in index.edges(Edges.FORWARD, name):
        if edge.entry >= size:
            break
        if from_ms <= edge.at_ms < to_ms and (not edge.flags & RESTRICTED or may_read(edge.entry)):
            _add(found, edge.other, edge.at_ms, edge.entry)
    return sorted(found.values(), key=lambda each: (each.first_ms, each.entry, each.name))


def _add(found: dict[str, Suspect], item: str, time_ms: int, entry: int) -> None:
    known = found.get(item)
    if known is None:
        if len(found) == ITEMS_MAX:
            raise TooManyItems(
                f"more than {ITEMS_MAX:,} items were touched; ask for a shorter interval"
            )
        found[item] = Suspect(
            name=item,
            event_count=1,
            entry=entry,
            last_entry=entry,
            first_ms=time_ms,
            last_ms=time_ms,
        )
        return
    known.event_count += 1
    known.entry, known.last_entry = min(known.entry, entry), max(known.last_entry, entry)
    known.first_ms, known.last_ms = min(known.first_ms, time_ms), max(known.last_ms, time_ms)
