"""Traces: what an item was made of, or what it went into, breadth first, cycles once.

A trace is the same for the same question and size of the log, so that it can be cut anywhere and
gone on with: whoever asks for more has the way up to there walked again, which is cheap.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lotmark.v1 import provenance_pb2
from lotmark_node.provenance.packed import (
    ENDED,
    RESTRICTED,
    Edge,
    edges_head,
    unpack_edges,
    unpack_names,
)
from lotmark_node.provenance.reader import IndexReader
from lotmark_node.provenance.rows import Edges, tail_key

NODES_MAX = 1_000_000  # of one trace, however often it is gone on with: what memory bounds

LINK_KINDS = frozenset(
    {
        provenance_pb2.EDGE_KIND_CONSUMED,
        provenance_pb2.EDGE_KIND_PACKED,
        provenance_pb2.EDGE_KIND_MOUNTED,
        provenance_pb2.EDGE_KIND_IDENTIFIED,
    }
)
FACT_KINDS = frozenset(provenance_pb2.EdgeKind.values()) - LINK_KINDS - {0}
_USED = provenance_pb2.EDGE_KIND_USED  # the fact whose target is an item itself


class TooWide(Exception):
    """A trace has more nodes than are kept in memory; the question is to be narrowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceQuestion:
    """What to trace, and how far."""

    item: str  # its canonical name
    backward: bool
    size: int  # links of entries from here on are left out
    depth_max: int | None = None
    kinds: frozenset[int] = LINK_KINDS
    from_ms: int = 0
    to_ms: int | None = None
    parties: frozenset[str] = frozenset()

    @property
    def asks_for_all(self) -> bool:
        """Whether no link is left out by kind, time or party."""
        return (
            self.kinds >= LINK_KINDS
            and not self.from_ms
            and self.to_ms is None
            and not self.parties
        )


class Statement(NamedTuple):
    """A link to, or a fact about, something that has a name."""

    other: str
    kind: int
    entry: int
    last_entry: int
    at_ms: int
    ended: bool
    event_count: int
    nonconforming_count: int
    quantity: str
    unit: str
    party: str


class TracedEdge(NamedTuple):
    """A statement that leads from one node of a trace to another."""

    origin: int  # number of the node nearer to the item asked for
    target: int
    statement: Statement


@dataclass(slots=True)
class TraceStep:
    """One row of links of one node, followed: a part of the trace."""

    origin: int
    first_number: int  # of the nodes that it reached first
    nodes: list[str]  # those, in order
    depth: int  # theirs
    items: list[str]  # of those, what is an item and is traced on from
    _raw: bytes = b""
    _numbers: dict[str, int] = field(default_factory=dict)
    _edges: Sequence[TracedEdge] = ()

    def edges(self) -> Sequence[TracedEdge]:
        """Return its links; unpacked only now, since many a question needs the nodes alone."""
        if not self._raw:
            return self._edges
        numbers, origin = self._numbers, self.origin
        return [
            TracedEdge(
                origin,
                numbers[other],
                Statement(other, kind, entry, entry, at_ms, False, 1, 0, amount, unit, party),
            )
            for other, kind, _, entry, at_ms, amount, unit, party in unpack_edges(self._raw)
        ]


def trace(
    index: IndexReader, question: TraceQuestion, may_read: Callable[[int], bool]
) -> Iterator[TraceStep]:
    """Yield a trace step by step, the item asked for being node 0.

    Args:
        index: The index.
        question: What is asked.
        may_read: Tells whether the event of an entry may be told to whoever asks.

    Raises:
        TooWide: It has more than `NODES_MAX` nodes; what was yielded stands.
    """
    walk = _Walk(index, question, may_read)
    frontier, depth = [question.item], 0
    while frontier and (question.depth_max is None or depth < question.depth_max):
        depth += 1
        reached: list[str] = []
        for step in walk.steps_from(frontier, depth):
            reached += step.items
            yield step
        frontier = reached


class _Walk:
    """A trace under way."""

    def __init__(
        self, index: IndexReader, question: TraceQuestion, may_read: Callable[[int], bool]
    ) -> None:
        self._index = index
        self._question = question
        self._may_read = may_read
        self._numbers = {question.item: 0}
        self._kind = Edges.BACK if question.backward else Edges.FORWARD
        self._links = bool(question.kinds & LINK_KINDS)
        self._facts = bool(question.kinds & FACT_KINDS)

    def steps_from(self, frontier: Sequence[str], depth: int) -> Iterator[TraceStep]:
        """Follow the links and facts of nodes."""
        names = sorted(frontier)
        keys = [tail_key(self._kind, name) for name in names] if self._links else []
        tails = self._index.rows.get_many(keys) if keys else [None] * len(names)
        for at, (name, tail) in enumerate(zip(names, tails, strict=True)):
            origin = self._numbers[name]
            if tail is not None:
                for raw in self._index.edge_rows(keys[at], tail):
                    yield self._follow(origin, raw, depth)
            if self._facts and (facts := self._wanted_facts(name)):
                yield self._step(origin, facts, depth)

    def _follow(self, origin: int, raw: bytes, depth: int) -> TraceStep:
        head = edges_head(raw)
        question = self._question
        if head.marked or head.last_entry >= question.size or not question.asks_for_all:
            return self._step(origin, self._wanted_links(unpack_edges(raw)), depth)
        numbers = self._numbers
        first, nodes = len(numbers), []
        for name in unpack_names(raw):
            if name not in numbers:
                numbers[name] = len(numbers)
                nodes.append(name)
        self._check_width()
        return TraceStep(origin, first, nodes, depth, nodes, raw, numbers)

    def _wanted_links(self, edges: Sequence[Edge]) -> list[Statement]:
        """Return the links asked for; where one ends, that goes to the beginning it belongs to."""
        found: list[Statement] = []
        begun: dict[tuple[str, int], int] = {}
        for other, kind, flags, entry, at_ms, quantity, unit, party in edges:
            if entry >= self._question.size:
                break
            if not self._is_wanted(kind, at_ms, party):
                continue
            if flags & RESTRICTED and not self._may_read(entry):
                continue
            if flags & ENDED and (other, kind) in begun:
                at = begun.pop((other, kind))
                found[at] = found[at]._replace(last_entry=entry, ended=True)
                continue
            begun[other, kind] = len(found)
            ended = bool(flags & ENDED)
            found.append(
                Statement(other, kind, entry, entry, at_ms, ended, 1, 0, quantity, unit, party)
            )
        return found

    def _wanted_facts(self, name: str) -> list[Statement]:
        return [
            Statement(
                target,
                kind,
                told.entry,
                told.last_entry,
                told.at_ms,
                False,
                told.event_count,
                told.nonconforming_count,
                "",
                "",
                told.party,
            )
            for (kind, target, flags), told in self._index.facts(name).items()
            if told.entry < self._question.size
            and self._is_wanted(kind, told.at_ms, told.party)
            and (not flags & RESTRICTED or self._may_read(told.entry))
        ]

    def _is_wanted(self, kind: int, at_ms: int, party: str) -> bool:
        question = self._question
        return (
            kind in question.kinds
            and at_ms >= question.from_ms
            and (question.to_ms is None or at_ms < question.to_ms)
            and (not question.parties or party in question.parties)
        )

    def _step(self, origin: int, found: Sequence[Statement], depth: int) -> TraceStep:
        numbers = self._numbers
        first, nodes, onward, edges = len(numbers), list[str](), list[str](), list[TracedEdge]()
        for statement in found:
            other, kind = statement.other, statement.kind
            if other not in numbers:
                numbers[other] = len(numbers)
                nodes.append(other)
                if kind in LINK_KINDS or kind == _USED:
                    onward.append(other)
            edges.append(TracedEdge(origin, numbers[other], statement))
        self._check_width()
        return TraceStep(origin, first, nodes, depth, onward, b"", {}, edges)

    def _check_width(self) -> None:
        if len(self._numbers) > NODES_MAX:
            raise TooWide(
                f"the trace has more than {NODES_MAX:,} nodes; narrow it by depth, time, kind of"
                " link or party"
            )
