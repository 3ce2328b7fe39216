"""A trace as a tree of lines that a person reads, many alike folded into one."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from lotmark.client.provenance_records import Trace, TraceEdge
from lotmark_node.provenance_text.facts import TraceFacts
from lotmark_node.provenance_text.lines import LinkText
from lotmark_node.provenance_text.names import FACT_KINDS, short_name
from lotmark_node.terminal import WIDTH_MAX

LINES_MAX = 500
DEPTH_MAX = 20  # levels shown; more would leave no room for words
FOLDED_MIN = 4  # alike, from which on they share a line

_NUMBER_AT_END = re.compile(r"[0-9]+$")
_LAST, _OTHER = ("└─ ", "   "), ("├─ ", "│  ")


@dataclass(frozen=True, slots=True)
class _Branch:
    """A link, or several alike, on its way onto the paper."""

    edge: TraceEdge
    name: str = ""  # of several alike
    words: str = ""  # where it is no link


def tree_lines(trace: Trace, facts: TraceFacts) -> list[str]:
    """Return the lines of a trace, at most `LINES_MAX` and a note."""
    lines: list[str] = []
    for line in _Tree(trace, facts).lines():
        if len(lines) >= LINES_MAX:
            lines.append(
                f"… more than {LINES_MAX} lines: --depth N shows less, --format json everything"
            )
            break
        lines.append(line)
    return lines


class _Tree:
    def __init__(self, trace: Trace, facts: TraceFacts) -> None:
        self._trace = trace
        self._text = LinkText(trace, facts)
        self._edges: defaultdict[int, list[TraceEdge]] = defaultdict(list)
        for edge in trace.edges:
            self._edges[edge.near].append(edge)
        self._shown: set[int] = set()

    def lines(self) -> Iterator[str]:
        told = {node.number for node in self._trace.nodes}
        if 0 in told:
            yield from self._below(0)
            return
        for near in [each for each in self._edges if each not in told]:
            yield self._text.name(near)
            yield from self._below(near)

    def _below(self, root: int) -> Iterator[str]:
        """Return the lines below a thing, depth first; no recursion, as a trace may be deep."""
        self._shown.add(root)
        stack = [(_with_last(self._branches(root)), "", 0)]
        while stack:
            branches, prefix, used_ms = stack[-1]
            following = next(branches, None)
            if following is None:
                stack.pop()
                continue
            branch, is_last = following
            mark, indent = _LAST if is_last else _OTHER
            below = [] if branch.words else self._next(branch, len(stack))
            words = branch.words or self._words(branch, used_ms)
            yield from _wrapped(prefix + mark, prefix + indent, bool(below), words)
            if below:
                last_ms = max(used_ms, self._text.last_ms(branch.edge))
                stack.append((_with_last(below), prefix + indent, last_ms))

    def _words(self, branch: _Branch, used_ms: int) -> str:
        words = self._text.link(branch.edge, used_ms=used_ms, name=branch.name)
        again = branch.edge.far in self._shown and self._edges[branch.edge.far]
        self._shown.add(branch.edge.far)
        return f"{words}  (see above)" if again else words

    def _next(self, branch: _Branch, depth: int) -> list[_Branch]:
        """Return what stands below a link: its nonconforming events, then what its end links to."""
        edge = branch.edge
        below = [_Branch(edge, words=words) for words in self._text.bad(edge)]
        if edge.far in self._shown:
            return below
        if depth >= DEPTH_MAX and self._edges[edge.far]:
            return [*below, _Branch(edge, words="… deeper: --format json tells it")]
        return [*below, *self._branches(edge.far)]

    def _branches(self, near: int) -> list[_Branch]:
        """Return the links of a thing, those alike folded, in the order of the first of each."""
        groups: dict[Hashable, list[TraceEdge]] = {}
        for edge in self._edges[near]:
            groups.setdefault(self._likeness(edge), []).append(edge)
        branches: list[_Branch] = []
        for edges in groups.values():
            if len(edges) < FOLDED_MIN:
                branches += [_Branch(edge) for edge in edges]
            else:
                branches.append(self._folded(edges))
        return branches

    def _likeness(self, edge: TraceEdge) -> Hashable:
        """Return what links have in common that may share a line."""
        if edge.kind in FACT_KINDS or edge.nonconforming_count:
            return edge.near, edge.far, edge.kind
        far = self._text.name(edge.far)
        stem = _NUMBER_AT_END.sub("", far)
        below = frozenset((each.kind, each.far) for each in self._edges[edge.far])
        return edge.kind, stem, edge.ended, edge.amount, edge.party, below

    def _folded(self, edges: Sequence[TraceEdge]) -> _Branch:
        ordered = sorted(edges, key=lambda edge: _by_number(self._text.name(edge.far)))
        first, last = (short_name(self._text.name(each.far)) for each in (ordered[0], ordered[-1]))
        times_ms = [edge.at_ms for edge in edges]
        edge = replace(ordered[0], at_ms=min(times_ms))
        return _Branch(edge, name=f"{first} to {last}  {len(edges)} alike")


def _by_number(name: str) -> tuple[int, str]:
    return len(name), name


def _with_last(branches: Sequence[_Branch]) -> Iterator[tuple[_Branch, bool]]:
    for at, branch in enumerate(branches):
        yield branch, at == len(branches) - 1


def _wrapped(first: str, further: str, has_below: bool, words: str) -> Iterator[str]:
    """Return a line; one that is too long goes on beneath, where the tree's strokes leave room."""
    further += "│    " if has_below else "     "
    yield from textwrap.wrap(
        words,
        WIDTH_MAX,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=True,
        break_on_hyphens=False,
    ) or [first.rstrip()]
