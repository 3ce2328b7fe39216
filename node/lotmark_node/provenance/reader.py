"""Reading the index's lists; what a block writes meanwhile is not seen in halves.

A list's tail is read before its chunks: what has become a chunk in between is in both, and is then
left out of the chunks.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from lotmark_node.provenance.block_index import RESTRICTED_SIGHTING
from lotmark_node.provenance.packed import (
    CHUNKED,
    EDGES_PER_CHUNK,
    OPEN,
    Alike,
    Edge,
    Told,
    edges_head,
    parse_facts,
    unpack_edges,
    unpack_postings,
)
from lotmark_node.provenance.rows import (
    FACTS,
    WINDOW_MS,
    Edges,
    Postings,
    alias_prefix,
    chunk_key,
    chunks_prefix,
    sightings_prefix,
    tail_key,
    tail_keys,
    window_key,
)

CHUNKS_PER_READ = 64

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_U64_MAX = 2**64 - 1


class IndexRows(Protocol):
    """The rows of the index as the last applied block left them."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the values of rows with these keys, which ascend; None where there is none."""
        ...

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows from key `start` to before `end`, ascending."""
        ...

    def scan_back(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows from key `start` to before `end`, descending."""
        ...


class IndexReader:
    """Lists of the index, by name."""

    def __init__(self, rows: IndexRows) -> None:
        self.rows = rows

    def has_item(self, name: str) -> bool:
        """Tell whether an event names an item."""
        return self.rows.get(tail_key(Postings.ITEM, name)) is not None

    def is_open(self, name: str) -> bool:
        """Tell whether an event without an audience names an item."""
        raw = self.rows.get(tail_key(Postings.ITEM, name))
        return raw is not None and bool(raw[0] & OPEN)

    def items_called(self, short: str, *, count_max: int) -> list[str]:
        """Return the items that have a shorter name, ascending, the first `count_max`."""
        prefix, found = alias_prefix(short), []
        for key, _ in self.rows.scan(prefix, prefix + b"\xff"):
            found.append(key[len(prefix) :].decode())
            if len(found) == count_max:
                break
        return found

    def entries(self, kind: Postings, name: str, *, from_index: int = 0) -> Iterator[int]:
        """Return the entries of a list from an index on, ascending."""
        key = tail_key(kind, name)
        raw = self.rows.get(key)
        if raw is None:
            return
        tail = unpack_postings(raw[1:])
        if raw[0] & CHUNKED and from_index < tail[0]:
            yield from self._chunked_entries(key, from_index, tail[0])
        for index in tail:
            if index >= from_index:
                yield index

    def _chunked_entries(self, key: bytes, from_index: int, end: int) -> Iterator[int]:
        prefix = chunks_prefix(key)
        start = prefix + _U64.pack(from_index)
        # The chunk that begins before the first entry asked for may hold it.
        for first, _ in self.rows.scan_back(prefix, start + b"\x00"):
            start = first
            break
        for _, chunk in self.rows.scan(start, prefix + _U64.pack(end)):
            for index in unpack_postings(chunk):
                if from_index <= index < end:
                    yield index

    def entries_back(self, kind: Postings, name: str, *, to_index: int) -> Iterator[int]:
        """Return the entries of a list from before an index on, descending."""
        key = tail_key(kind, name)
        raw = self.rows.get(key)
        if raw is None:
            return
        tail = unpack_postings(raw[1:])
        for index in reversed(tail):
            if index < to_index:
                yield index
        if not raw[0] & CHUNKED:
            return
        prefix, end = chunks_prefix(key), min(to_index, tail[0])
        for _, chunk in self.rows.scan_back(prefix, prefix + _U64.pack(end)):
            for index in reversed(unpack_postings(chunk)):
                if index < end:
                    yield index

    def edges(self, kind: Edges, name: str) -> Iterator[Edge]:
        """Return the links of an item, in the order of the log."""
        for _, tail in self.edge_tails(kind, (name,)):
            for row in self.edge_rows(kind, name, tail):
                yield from unpack_edges(row)

    def edge_tails(self, kind: Edges, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Return the newest row of links of each item that has any, as names ascend."""
        for name, tail in zip(names, self.rows.get_many(tail_keys(kind, names)), strict=True):
            if tail is not None:
                yield name, tail

    def edge_rows(self, kind: Edges, name: str, tail: bytes) -> Iterator[bytes]:
        """Return all rows of links of an item, whose tail is given, in the order of the log."""
        if tail[0] & CHUNKED:
            key, count = tail_key(kind, name), edges_head(tail)[1]
            keys = [chunk_key(key, at) for at in range(0, count, EDGES_PER_CHUNK)]
            for at in range(0, len(keys), CHUNKS_PER_READ):
                for chunk in self.rows.get_many(keys[at : at + CHUNKS_PER_READ]):
                    assert chunk is not None, "the tail counts the chunks before it"
                    yield chunk
        yield tail

    def facts_of(self, names: Sequence[str]) -> Iterator[tuple[str, Mapping[Alike, Told]]]:
        """Return what is known of items beside their links, as names ascend."""
        for name, row in zip(names, self.rows.get_many(tail_keys(FACTS, names)), strict=True):
            if row is not None:
                yield name, parse_facts(row)

    def facts(self, name: str) -> dict[Alike, Told]:
        """Return what is known of an item beside its links."""
        raw = self.rows.get(tail_key(FACTS, name))
        return {} if raw is None else parse_facts(raw)

    def under_digest(self, prefix: bytes, *, from_index: int = 0) -> Iterator[int]:
        """Return the entries under a digest's prefix, ascending; their events decide."""
        start = prefix + _U64.pack(from_index)
        for key, _ in self.rows.scan(start, prefix + b"\xff" * 9):
            yield _U64.unpack_from(key, len(prefix))[0]

    def seen_by(self, name: str, from_ms: int, to_ms: int) -> Iterator[tuple[int, int, str, bool]]:
        """Return what a device or tool touched: time, entry, item, whether it is restricted.

        Args:
            name: Of the device or tool.
            from_ms: Begin by the events' time.
            to_ms: End, not included.
        """
        prefix = sightings_prefix(name)
        for _, raw in self.rows.scan(*_windows(prefix, from_ms, to_ms)):
            (count,) = _U32.unpack_from(raw)
            numbers = struct.unpack_from(f">{2 * count}Q", raw, 4)
            names = raw[4 + 16 * count :].decode().split("\n")
            for at, item in enumerate(names):
                time_ms, entry = numbers[2 * at], numbers[2 * at + 1]
                if from_ms <= time_ms < to_ms:
                    restricted = bool(entry & RESTRICTED_SIGHTING)
                    yield time_ms, entry & ~RESTRICTED_SIGHTING, item, restricted

    def in_window(self, prefix: bytes, from_ms: int, to_ms: int) -> Iterator[int]:
        """Return the entries whose events may be in an interval, by window; the events decide."""
        for _, raw in self.rows.scan(*_windows(prefix, from_ms, to_ms)):
            yield from unpack_postings(raw)


def _windows(prefix: bytes, from_ms: int, to_ms: int) -> tuple[bytes, bytes]:
    first, last = from_ms // WINDOW_MS, min(to_ms, _U64_MAX) // WINDOW_MS
    return window_key(prefix, first, 0), window_key(prefix, last, _U64_MAX)
