"""A trace as a graph for other programs to draw: Mermaid and DOT, whatever the ids hold."""

from collections.abc import Iterator

from lotmark.client.provenance_records import Trace, TraceEdge
from lotmark_node.provenance_text.names import FACT_KINDS, amount_text, fact_name, short_name

_MERMAID_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ._:/,+-")


def mermaid_lines(trace: Trace, *, back: bool) -> Iterator[str]:
    """Return a Mermaid flowchart: what went in stands left of what was made."""
    names = _names(trace)
    yield "flowchart LR"
    for number, name in names.items():
        yield f'  n{number}["{_mermaid_text(name)}"]'
    for edge in trace.edges:
        first, second = _ends(edge, back=back)
        arrow = "-.->" if edge.kind in FACT_KINDS else "-->"
        yield f'  n{first} {arrow}|"{_mermaid_text(_label(edge))}"| n{second}'


def dot_lines(trace: Trace, *, back: bool) -> Iterator[str]:
    """Return a graph in the DOT language of Graphviz."""
    yield "digraph trace {"
    yield "  rankdir=LR;"
    for number, name in _names(trace).items():
        yield f"  n{number} [label={_dot_text(name)}, shape=box];"
    for edge in trace.edges:
        first, second = _ends(edge, back=back)
        style = ", style=dashed" if edge.kind in FACT_KINDS else ""
        yield f"  n{first} -> n{second} [label={_dot_text(_label(edge))}{style}];"
    yield "}"


def _names(trace: Trace) -> dict[int, str]:
    """Return a name for each thing that is linked; what an earlier answer told has its number."""
    facts = {edge.far for edge in trace.edges if edge.kind in FACT_KINDS}
    names = {
        node.number: fact_name(node.id) if node.number in facts else short_name(node.id)
        for node in trace.nodes
    }
    for edge in trace.edges:
        for number in (edge.near, edge.far):
            names.setdefault(number, f"no. {number}")
    return names


def _ends(edge: TraceEdge, *, back: bool) -> tuple[int, int]:
    """Return the ends in the order of time: facts follow what they are about."""
    if edge.kind in FACT_KINDS or not back:
        return edge.near, edge.far
    return edge.far, edge.near


def _label(edge: TraceEdge) -> str:
    words = [edge.kind.name.lower()]
    if edge.amount is not None:
        words.append(amount_text(edge.amount))
    if edge.event_count > 1:
        words.append(f"{edge.event_count} times")
    if edge.nonconforming_count:
        words.append(f"{edge.nonconforming_count} nonconforming")
    if edge.ended:
        words.append("ended")
    return ", ".join(words)


def _mermaid_text(text: str) -> str:
    """Return a text that stays one in quotes: all but plain characters become entity codes."""
    return "".join(each if each in _MERMAID_PLAIN else f"#{ord(each)};" for each in text)


def _dot_text(text: str) -> str:
    """Return a quoted string; a backslash would begin an escape, a line break end the line."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else "?" for each in escaped) + '"'
