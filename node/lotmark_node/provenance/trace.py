"""Traces: what an item was made of, or what it went into, breadth first, cycles once.

A trace is the same for the same question and size of the log, so that it can be cut anywhere and
gone on with: whoever asks for more has the way up to there walked again, which is cheap.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lotmark.v1 import provenance_pb2
from lotmark_node.provenance.packed import (
    EDGES_HEAD_SIZE,
    ENDED,
    MARKED,
    MARKED_BEFORE,
    RESTRICTED,
    Alike,
    Edge,
    Told,
    edges_head,
    unpack_edges,
)
from lotmark_node.provenance.reader import IndexReader
from lotmark_node.provenance.rows import Edges

NODES_MAX = 1_000_000  # of one trace, however often it is gone on with: what memory bounds
LINKS_PER_STEP = 512  # at least, but for the last of a level; a row's more at most

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


@dataclass(slots=True)
class Ended:
    """The ends of links to one thing that are still ahead, while the links are gone through."""

    entries: deque[int] = field(default_factory=deque)
    begun: bool = False  # a beginning was told since the last end

    def passes(self, entry: int) -> bool:
        """Go past the end of an entry, and tell whether a beginning was told that it belongs to."""
        if self.entries and self.entries[0] == entry:
            self.entries.popleft()
        begun, self.begun = self.begun, False
        return begun


Ends = dict[tuple[str, int], Ended]  # by what is linked and how
_NO_ENDS: Ends = {}


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
    """Links of one level that were followed: a part of the trace."""

    depth: int  # of the nodes that it reached first
    first_number: int  # of those
    nodes: list[str] = field(default_factory=list)  # those, in order
    link_count: int = 0
    # By origin: a row of links that all belong to the trace, or what is told of it.
    parts: list[tuple[str, bytes | Sequence[Statement]]] = field(default_factory=list)
    _ends: set[str] = field(default_factory=set)  # of the nodes, what is no item
    _numbers: dict[str, int] = field(default_factory=dict)

    @property
    def items(self) -> list[str]:
        """Of the nodes, what is an item and is traced on from."""
        ends = self._ends
        return [name for name in self.nodes if name not in ends] if ends else self.nodes

    def edges(self) -> Iterator[TracedEdge]:
        """Return its links; unpacked only now, since many a question needs the nodes alone."""
        numbers = self._numbers
        for name, part in self.parts:
            origin = numbers[name]
            for told in _statements(part) if isinstance(part, bytes) else part:
                yield TracedEdge(origin, numbers[told.other], told)

    def reach(self, names: Sequence[str]) -> None:
        """Number the nodes that links lead to, as far as they are new."""
        numbers, nodes = self._numbers, self.nodes
        for name in names:
            if name not in numbers:
                numbers[name] = len(numbers)
                nodes.append(name)

    def add_statements(self, origin: str, told: Sequence[Statement]) -> None:
        """Take what is told of a node."""
        for statement in told:
            other, kind = statement.other, statement.kind
            if kind not in LINK_KINDS and kind != _USED and other not in self._numbers:
                self._ends.add(other)
            self.reach((other,))
        self.parts.append((origin, told))
        self.link_count += len(told)


def _statements(row: bytes) -> Iterator[Statement]:
    for other, kind, _, entry, at_ms, amount, unit, party in unpack_edges(row):
        yield Statement(other, kind, entry, entry, at_ms, False, 1, 0, amount, unit, party)


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
        self._filtered = not question.asks_for_all
        self._links = bool(question.kinds & LINK_KINDS)
        self._facts = bool(question.kinds & FACT_KINDS)

    def steps_from(self, frontier: Sequence[str], depth: int) -> Iterator[TraceStep]:
        """Follow the links and then the facts of nodes."""
        names = sorted(frontier)
        if self._links:
            yield from self._link_steps(names, depth)
        if self._facts:
            yield from self._fact_steps(names, depth)

    def _link_steps(self, names: Sequence[str], depth: int) -> Iterator[TraceStep]:
        step, newest, size = self._begin(depth), b"", self._question.size
        for name, tail in self._index.edge_tails(self._kind, names):
            rows: Iterable[bytes] = (tail,)
            ends = _NO_ENDS
            if tail[0]:
                rows = self._index.edge_rows(self._kind, name, tail)
                ends = self._ends(name, tail)
            for row in rows:
                flags, _, count, names_size, last_entry = edges_head(row)
                if self._filtered or ends or flags & MARKED or last_entry >= size:
                    if told := self._wanted_links(unpack_edges(row), ends):
                        step.add_statements(name, told)
                else:
                    packed = row[EDGES_HEAD_SIZE : EDGES_HEAD_SIZE + names_size]
                    if packed != newest:  # what lies side by side often went into the same
                        newest = packed
                        step.reach(packed[:-1].decode().split("\n"))
                    step.parts.append((name, row))
                    step.link_count += count
                if step.link_count >= LINKS_PER_STEP:
                    yield self._end(step)
                    step = self._begin(depth)
        if step.link_count:
            yield self._end(step)

    def _ends(self, name: str, tail: bytes) -> Ends:
        """Return the ends of an item's links, which may stand in other rows than the beginnings."""
        ends: Ends = {}
        if not tail[0] & (MARKED | MARKED_BEFORE):
            return ends
        for row in self._index.edge_rows(self._kind, name, tail):
            for edge in unpack_edges(row) if row[0] & MARKED else ():
                told = edge.entry < self._question.size and self._may_tell(edge)
                if edge.flags & ENDED and told:
                    ends.setdefault((edge.other, edge.kind), Ended()).entries.append(edge.entry)
        return ends

    def _may_tell(self, edge: Edge) -> bool:
        return not edge.flags & RESTRICTED or self._may_read(edge.entry)

    def _fact_steps(self, names: Sequence[str], depth: int) -> Iterator[TraceStep]:
        step = self._begin(depth)
        for name, facts in self._index.facts_of(names):
            if told := self._wanted_facts(facts):
                step.add_statements(name, told)
            if step.link_count >= LINKS_PER_STEP:
                yield self._end(step)
                step = self._begin(depth)
        if step.link_count:
            yield self._end(step)

    def _begin(self, depth: int) -> TraceStep:
        return TraceStep(depth, len(self._numbers), _numbers=self._numbers)

    def _end(self, step: TraceStep) -> TraceStep:
        """Return a step that is full.

        Raises:
            TooWide: The trace is.
        """
        if len(self._numbers) > NODES_MAX:
            raise TooWide(
                f"the trace has more than {NODES_MAX:,} nodes; narrow it by depth, time, kind of"
                " link or party"
            )
        return step

    def _wanted_links(self, edges: Iterable[Edge], ends: Ends) -> list[Statement]:
        """Return the links asked for; where one ended, that is told with its beginning."""
        found: list[Statement] = []
        for edge in edges:
            other, kind, flags, entry, at_ms, quantity, unit, party = edge
            if entry >= self._question.size:
                break
            last_entry, ended, end = entry, bool(flags & ENDED), ends.get((other, kind))
            if end is not None and ended and end.passes(entry):
                continue  # it was told with its beginning
            if not self._is_wanted(kind, at_ms, party) or not self._may_tell(edge):
                continue
            if end is not None and not ended:
                end.begun = True
                if end.entries:
                    last_entry, ended = end.entries[0], True
            found.append(
                Statement(other, kind, entry, last_entry, at_ms, ended, 1, 0, quantity, unit, party)
            )
        return found

    def _wanted_facts(self, facts: Mapping[Alike, Told]) -> list[Statement]:
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
                party,
            )
            for (kind, target, party, audience), told in facts.items()
            if told.entry < self._question.size
            and self._is_wanted(kind, told.at_ms, party)
            and (not audience or self._may_read(told.entry))
        ]

    def _is_wanted(self, kind: int, at_ms: int, party: str) -> bool:
        question = self._question
        return (
            kind in question.kinds
            and at_ms >= question.from_ms
            and (question.to_ms is None or at_ms < question.to_ms)
            and (not question.parties or party in question.parties)
        )
