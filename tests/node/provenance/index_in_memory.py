"""An index whose rows stand in a dictionary, and events to put into it."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from lotmark.event import check_event
from lotmark.v1 import event_pb2
from lotmark_node.provenance.block_index import IndexedBatch
from lotmark_node.provenance.reader import IndexReader
from lotmark_node.provenance.writer import IndexWriter

TIME_MS = 1_768_204_800_000
CONSUMED, PACKED, MOUNTED = "transformation", "aggregation", "association"


class RowsInMemory:
    """Keeps the promises of `lotmark_node.provenance.reader.IndexRows`."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        assert list(keys) == sorted(keys)
        return [self.rows.get(key) for key in keys]

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        keys = sorted(self.rows)
        for key in keys[bisect_left(keys, start) : bisect_left(keys, end)]:
            yield key, self.rows[key]

    def scan_back(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        yield from reversed(list(self.scan(start, end)))


class IndexInMemory:
    """An index that grows by events, a block a call."""

    def __init__(self) -> None:
        self.rows = RowsInMemory()
        self.reader = IndexReader(self.rows)
        self._writer = IndexWriter(self.rows.get)
        self.size = 2

    def block(self, *events: event_pb2.Event, party: str = "T1-STATOR") -> list[int]:
        """Add events in one batch and block; return their entries."""
        raws = [event.SerializeToString(deterministic=True) for event in events]
        first = self.size + 1
        batch = IndexedBatch(first, party, [check_event(raw) for raw in raws], [0] * len(raws))
        self.rows.rows.update(self._writer.rows(self.size, [batch]))
        self.size = first + len(raws) + 1  # after the batch's entry, the events and the close
        return list(range(first, first + len(raws)))

    def forget_tails(self) -> None:
        """Go on as a node does after a restart."""
        self._writer = IndexWriter(self.rows.get)


def event(
    *items: tuple[str, str],
    start_ms: int = TIME_MS,
    device: str = "mes",
    audience: Sequence[str] = (),
    quantities: Sequence[str] = (),
    **body: object,
) -> event_pb2.Event:
    """Return an event with items (name, role) and a body; quantities are those of the first items.

    Args:
        items: Names and roles.
        start_ms: When it was so.
        device: That saw it.
        audience: Who may read it; empty: all.
        quantities: Of the items, as far as they go, in kg.
        body: One argument: the body.
    """
    made = event_pb2.Event(
        nonce=bytes(16),
        device=device,
        time=event_pb2.TimeInterval(start_ms=start_ms, end_ms=start_ms),
        capture_mode=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
        audience=audience,
        **body,  # type: ignore[arg-type]  # the caller names a body
    )
    for at, (name, role) in enumerate(items):
        item = made.items.add(id=name, role=event_pb2.ItemRole.Value(f"ITEM_ROLE_{role}"))
        if at < len(quantities):
            item.quantity.value, item.quantity.unit = quantities[at], "KGM"
    return made
