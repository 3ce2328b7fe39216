"""Turns what a block adds to the index into rows; runs on the apply loop.

The tails of the lists that blocks append to stay in memory, bounded, so that most blocks need not
read what they add to.
"""

import struct
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from lotmark.item_name import plain_names
from lotmark.v1 import provenance_pb2
from lotmark_node.provenance.block_index import BlockIndex, IndexedBatch
from lotmark_node.provenance.packed import (
    OPEN,
    Alike,
    Edge,
    EdgesTail,
    PostingsTail,
    Told,
    encode_facts,
    pack_postings,
    parse_edges_tail,
    parse_facts,
    parse_postings_tail,
)
from lotmark_node.provenance.rows import (
    FACTS,
    TIME_PREFIX,
    Edges,
    Postings,
    alias_prefix,
    chunk_key,
    sightings_prefix,
    tail_key,
    window_key,
)

POSTINGS_CACHED_MAX = 24_576  # tails in memory, mostly below 200 bytes each
EDGES_CACHED_MAX = 4_096
FACTS_CACHED_MAX = 8_192
FACTS_PER_PARTY_MAX = 64  # of one item; further ones are told together, by kind
MORE = "(more)"

_USED = provenance_pb2.EDGE_KIND_USED
_MEASURED = provenance_pb2.EDGE_KIND_MEASURED
_U32 = struct.Struct(">I")

Row = tuple[bytes, bytes]
Tail = TypeVar("Tail")


class IndexWriter:
    """Adds blocks to an index, one after the other."""

    def __init__(self, read: Callable[[bytes], bytes | None]) -> None:
        """Begin where the rows end.

        Args:
            read: Returns the value of a row as the last block left it.
        """
        self._postings = _Tails(read, parse_postings_tail, POSTINGS_CACHED_MAX)
        self._edges = _Tails(read, parse_edges_tail, EDGES_CACHED_MAX)
        self._facts = _Tails(read, parse_facts, FACTS_CACHED_MAX)

    def rows(self, first_index: int, batches: Iterable[IndexedBatch]) -> list[Row]:
        """Return the rows that a block writes, ascending; they must be written.

        Args:
            first_index: Of the block's entries.
            batches: Those it accepted.
        """
        block = BlockIndex()
        block.add(batches)
        rows: dict[bytes, bytes] = {}
        new_items = self._add_items(block, rows)
        for kind, lists in (
            (Postings.PARTY, block.parties),
            (Postings.DEVICE, block.devices),
            (Postings.MODEL, block.models),
            (Postings.DISPOSITION, block.dispositions),
        ):
            for name, indexes in lists.items():
                self._extend(tail_key(kind, name), indexes, rows)
        for event_type, indexes in block.types.items():
            self._extend(tail_key(Postings.TYPE, str(event_type)), indexes, rows)
        self._add_edges(Edges.BACK, block.back, rows)
        self._add_edges(Edges.FORWARD, block.forward, rows)
        self._add_facts(block, new_items, rows)
        rows.update(dict.fromkeys(block.digests, b""))
        for (name, window), seen in block.sightings.items():
            rows[window_key(sightings_prefix(name), window, first_index)] = encode_sightings(seen)
        for window, indexes in block.windows.items():
            rows[window_key(TIME_PREFIX, window, first_index)] = pack_postings(indexes)
        return sorted(rows.items())

    def _add_items(self, block: BlockIndex, rows: dict[bytes, bytes]) -> set[str]:
        """List events by item, and items that are new by their shorter names; return those."""
        restricted, new = block.restricted, set()
        for name, indexes in block.items.items():
            open_count = len(indexes) - len(restricted.get(name, ()))
            key = tail_key(Postings.ITEM, name)
            if self._extend(key, indexes, rows, flags=OPEN if open_count else 0):
                rows.update(_alias_rows(name))
                new.add(name)
        return new

    def _extend(
        self, key: bytes, indexes: Sequence[int], rows: dict[bytes, bytes], *, flags: int = OPEN
    ) -> bool:
        """Append to a list of entries; return whether it is new."""
        tail = self._postings.find(key)
        is_new = tail is None
        if tail is None:
            tail = self._postings.keep(key, PostingsTail())
        tail.packed += pack_postings(indexes)
        tail.flags |= flags
        for at, chunk in tail.spill():
            rows[chunk_key(key, at)] = chunk
        rows[key] = tail.encode()
        return is_new

    def _add_edges(
        self, kind: Edges, by_item: Mapping[str, list[Edge]], rows: dict[bytes, bytes]
    ) -> None:
        for name, edges in by_item.items():
            key = tail_key(kind, name)
            tail = self._edges.find(key) or self._edges.keep(key, EdgesTail())
            for edge in edges:
                if spilt := tail.spill():
                    before, chunk = spilt
                    rows[chunk_key(key, before)] = chunk
                tail.append(edge)
            rows[key] = tail.encode()

    def _add_facts(
        self, block: BlockIndex, new_items: Container[str], rows: dict[bytes, bytes]
    ) -> None:
        for name, by_target in block.facts.items():
            if not by_target:
                continue
            key = tail_key(FACTS, name)
            known = None if name in new_items else self._facts.find(key)
            if known is None:
                known = self._facts.keep(key, {})
            for about, told in by_target.items():
                before = known.get(about)
                if before is not None:
                    _count(before, told)
                else:
                    _add_told(known, about, told)
            rows[key] = encode_facts(known)


def _add_told(known: dict[Alike, Told], alike: Alike, told: Told) -> None:
    """Add what is told first; what a party has too much of is counted together.

    So no party can keep out what another one tells of the same item.
    """
    if len(known) < FACTS_PER_PARTY_MAX:
        known[alike] = told
        return
    kind, target, party, audience = alike
    own_count = sum(1 for _, _, other, _ in known if other == party)
    if own_count >= FACTS_PER_PARTY_MAX:
        prefix = "tool" if kind == _USED else target.partition(":")[0]
        kind = _MEASURED if kind == _USED else kind  # no item is behind it
        alike = kind, f"{prefix}:{MORE}", party, audience
    before = known.get(alike)
    if before is not None:
        _count(before, told)
    elif own_count < 2 * FACTS_PER_PARTY_MAX:
        known[alike] = told


def _count(before: Told, told: Told) -> None:
    before.last_entry = told.last_entry
    before.event_count += told.event_count
    before.nonconforming_count += told.nonconforming_count


def _alias_rows(name: str) -> Iterator[Row]:
    """Return the rows that lead from an item's shorter names to it."""
    for plain in plain_names(name):
        if plain != name:
            yield alias_prefix(plain) + name.encode(), b""


def encode_sightings(seen: list[tuple[int, int, str]]) -> bytes:
    """Return the value of a row of sightings."""
    numbers = [number for time_ms, entry, _ in seen for number in (time_ms, entry)]
    return b"".join(
        (
            _U32.pack(len(seen)),
            struct.pack(f">{len(numbers)}Q", *numbers),
            "\n".join([name for _, _, name in seen]).encode(),
        )
    )


class _Tails(Generic[Tail]):
    """Tails in memory, read where they are not; the oldest are let go of."""

    def __init__(
        self,
        read: Callable[[bytes], bytes | None],
        parse: Callable[[bytes], Tail],
        count_max: int,
    ) -> None:
        self._read = read
        self._parse = parse
        self._count_max = count_max
        self._tails: dict[bytes, Tail] = {}

    def find(self, key: bytes) -> Tail | None:
        """Return a tail; None: the list is new."""
        tail = self._tails.get(key)
        if tail is None and (raw := self._read(key)) is not None:
            tail = self.keep(key, self._parse(raw))
        return tail

    def keep(self, key: bytes, tail: Tail) -> Tail:
        """Remember a tail and return it."""
        if len(self._tails) >= self._count_max:
            for old in list(self._tails)[: self._count_max // 4]:
                del self._tails[old]
        self._tails[key] = tail
        return tail
