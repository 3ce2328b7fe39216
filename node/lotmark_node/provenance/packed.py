"""How lists are packed into rows: postings (entry indexes), edges and facts.

A list grows at its end. Its newest part, the *tail*, stands in a row of its own that is written
anew with every block; once it is full it becomes a *chunk*, which never changes again. So a long
list costs no more to append to than a short one, and is read in a few rows.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

POSTINGS_PER_CHUNK = 512
EDGES_PER_CHUNK = 256

_U64 = struct.Struct(">Q")

OPEN = 1  # flag of postings: one of the events at least is for everybody
CHUNKED = 2  # flag of postings and edges: there are chunks before the tail
MARKED = 4  # flag of a row of edges: one of them at least has a flag of its own
MARKED_BEFORE = 8  # flag of a tail of edges: there is such a row among the chunks
RESTRICTED = 1  # flag of an edge: its event has an audience
ENDED = 2  # flag of an edge: it ended, rather than began


@dataclass(slots=True)
class PostingsTail:
    """The newest entry indexes of a list, ascending, packed as u64."""

    flags: int = 0
    packed: bytearray = field(default_factory=bytearray)

    def encode(self) -> bytes:
        """Return the row's value."""
        return bytes((self.flags,)) + self.packed

    def spill(self) -> Iterator[tuple[int, bytes]]:
        """Take the full chunks off; yield each with its first index, and leave a tail."""
        size = POSTINGS_PER_CHUNK * 8
        while len(self.packed) > size:
            chunk = bytes(self.packed[:size])
            del self.packed[:size]
            self.flags |= CHUNKED
            yield _U64.unpack_from(chunk)[0], chunk


def parse_postings_tail(raw: bytes) -> PostingsTail:
    """Parse a tail's row."""
    return PostingsTail(raw[0], bytearray(raw[1:]))


def pack_postings(indexes: Sequence[int]) -> bytes:
    """Return entry indexes as chunks and tails hold them."""
    return struct.pack(f">{len(indexes)}Q", *indexes)


def unpack_postings(packed: bytes | bytearray) -> tuple[int, ...]:
    """Return the entry indexes of a chunk or tail."""
    return struct.unpack(f">{len(packed) // 8}Q", packed)


class Edge(NamedTuple):
    """A link between two items, as one event states it."""

    other: str  # name of the item at the other end
    kind: int
    flags: int
    entry: int
    at_ms: int
    quantity: str
    unit: str
    party: str


_EDGE = struct.Struct(">BBQQ")
# Flags, edges in chunks before, edges in it, size of names, entry of the last.
_EDGES_HEAD = struct.Struct(">BIHHQ")
EDGES_HEAD_SIZE = _EDGES_HEAD.size


@dataclass(slots=True)
class EdgesTail:
    """The newest links of an item: numbers, names and the rest, each kept together.

    A trace mostly needs the names alone, which are had by one split.
    """

    flags: int = 0
    before: int = 0  # edges in chunks
    count: int = 0
    last_entry: int = 0
    numbers: bytearray = field(default_factory=bytearray)
    names: bytearray = field(default_factory=bytearray)
    rest: bytearray = field(default_factory=bytearray)

    def append(self, edge: Edge) -> None:
        """Add a link."""
        other, kind, flags, entry, at_ms, quantity, unit, party = edge
        if flags:
            self.flags |= MARKED
        self.numbers += _EDGE.pack(kind, flags, entry, at_ms)
        self.names += other.encode() + b"\n"
        self.rest += f"{quantity}\t{unit}\t{party}\n".encode()
        self.count += 1
        self.last_entry = entry

    def encode(self) -> bytes:
        """Return the row's value."""
        head = _EDGES_HEAD.pack(
            self.flags, self.before, self.count, len(self.names), self.last_entry
        )
        return b"".join((head, self.names, self.numbers, self.rest))

    def spill(self) -> tuple[int, bytes] | None:
        """Return the tail as a chunk with the number of edges before it, once it is full."""
        if self.count < EDGES_PER_CHUNK:
            return None
        before, chunk = self.before, self.encode()
        marked = MARKED_BEFORE if self.flags & MARKED else 0
        self.flags = CHUNKED | marked | (self.flags & MARKED_BEFORE)
        self.before += self.count
        self.count = 0
        for part in (self.numbers, self.names, self.rest):
            part.clear()
        return before, chunk


def parse_edges_tail(raw: bytes) -> EdgesTail:
    """Parse a tail's row."""
    flags, before, count, names_size, last_entry = _EDGES_HEAD.unpack_from(raw)
    names_end = EDGES_HEAD_SIZE + names_size
    numbers_end = names_end + count * _EDGE.size
    return EdgesTail(
        flags,
        before,
        count,
        last_entry,
        bytearray(raw[names_end:numbers_end]),
        bytearray(raw[EDGES_HEAD_SIZE:names_end]),
        bytearray(raw[numbers_end:]),
    )


# Of a tail or chunk: flags, edges before, edges, size of names, last entry. The names follow, each
# with a line break behind it. Not a function around this one: a recall asks 50,000 rows.
edges_head: Callable[[bytes], tuple[int, int, int, int, int]] = _EDGES_HEAD.unpack_from


def unpack_edges(raw: bytes) -> list[Edge]:
    """Return the edges of a tail or chunk."""
    _, _, count, names_size, _ = _EDGES_HEAD.unpack_from(raw)
    names_end = EDGES_HEAD_SIZE + names_size
    numbers_end = names_end + count * _EDGE.size
    names = raw[EDGES_HEAD_SIZE:names_end].decode().split("\n")
    rest = raw[numbers_end:].decode().split("\n")
    return [
        Edge(name, kind, flags, entry, at_ms, *more.split("\t"))
        for name, (kind, flags, entry, at_ms), more in zip(
            names, _EDGE.iter_unpack(raw[names_end:numbers_end]), rest, strict=False
        )
    ]


# What events share that are told together, so that who may read one of them may read all: kind of
# edge; target, such as "model:weld-light/3" or a gauge's id; signing party; a short name of their
# audience, empty: everybody.
Alike = tuple[int, str, str, str]


@dataclass(slots=True)
class Told:
    """What events that are alike say of an item: a gauge measured it, a model judged it."""

    entry: int  # of the first
    last_entry: int
    at_ms: int  # of the first
    event_count: int
    nonconforming_count: int


_FACT = struct.Struct(">BQQQII")


def encode_facts(facts: Mapping[Alike, Told]) -> bytes:
    """Return the value of a row of facts."""
    numbers, texts = [], []
    for (kind, target, party, audience), told in facts.items():
        numbers.append(
            _FACT.pack(
                kind,
                told.entry,
                told.last_entry,
                told.at_ms,
                told.event_count,
                told.nonconforming_count,
            )
        )
        texts.append(f"{target}\t{party}\t{audience}")
    return b"".join((struct.pack(">H", len(numbers)), *numbers, "\n".join(texts).encode()))


def parse_facts(raw: bytes) -> dict[Alike, Told]:
    """Parse a row of facts."""
    (count,) = struct.unpack_from(">H", raw)
    end = 2 + count * _FACT.size
    texts = (text.split("\t") for text in raw[end:].decode().split("\n"))
    return {
        (kind, target, party, audience): Told(entry, last, at_ms, events, bad)
        for (kind, entry, last, at_ms, events, bad), (target, party, audience) in zip(
            _FACT.iter_unpack(raw[2:end]), texts, strict=True
        )
    }
