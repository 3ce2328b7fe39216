"""The recall set of a lot: every item that holds some of it, and where it went."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from lotmark.client.provenance_records import EdgeKind, Trace, TraceEdge, TraceNode
from lotmark.rfc3339 import TEXT_MAX_MS, text_of_ms
from lotmark_node.provenance_text.names import amount_text, day_text, short_name

HOLDING = (EdgeKind.CONSUMED, EdgeKind.PACKED, EdgeKind.MOUNTED)
FOLLOWED = (*HOLDING, EdgeKind.IDENTIFIED)  # what holds a lot by another name holds it
CSV_HEADER = (
    "item", "depth", "through", "kind", "entry", "time", "quantity", "unit", "party", "taken_out",
    "shipped_to",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalledItem:
    """An item that holds some of a lot, by the first link of the interval that leads to it."""

    node: TraceNode
    through: str  # what it holds the lot by
    edge: TraceEdge
    shipped_to: Sequence[str] = field(default=())
    is_last: bool  # it went into nothing further

    @property
    def time_ms(self) -> int:
        """When it came to hold it."""
        return self.edge.at_ms


def recalled_items(
    traces: Iterable[Trace], *, since_ms: int = 0, until_ms: int = 0
) -> list[RecalledItem]:
    """Return the items of a whole trace forward, in its order.

    An item is in the set if any link to it is of the interval: who recalls wants none left out.
    What an item outside went into is told all the same: a lot that was used before the interval may
    be in a unit that was made in it. Other names of an item are followed, and are no items.

    Args:
        traces: The trace's parts, each but the first resumed from the one before.
        since_ms: Items that came to hold it at this time or later.
        until_ms: Items that came to hold it before this time; 0: all.
    """
    nodes: dict[int, TraceNode] = {}
    first: dict[int, TraceEdge] = {}
    shipped: dict[int, list[str]] = {}
    going_on: set[int] = set()
    for trace in traces:
        nodes.update((node.number, node) for node in trace.nodes)
        for edge in trace.edges:
            if edge.kind is EdgeKind.SHIPPED:
                receiver = nodes[edge.far].id.partition(":")[2]
                shipped.setdefault(edge.near, []).append(receiver)
            elif edge.kind in HOLDING:
                going_on.add(edge.near)
                if since_ms <= edge.at_ms and (not until_ms or edge.at_ms < until_ms):
                    first.setdefault(edge.far, edge)
    return [
        RecalledItem(
            node=nodes[number],
            through=nodes[edge.near].id,
            edge=edge,
            shipped_to=tuple(dict.fromkeys(shipped.get(number, ()))),
            is_last=number not in going_on,
        )
        for number, edge in sorted(first.items())
        if number
    ]


def why_partial(last: Trace, *, answers_max: int) -> str:
    """Return by which bound a trace ended before it was whole; empty: it is whole.

    Args:
        last: Its last part.
        answers_max: How many parts were asked for at most.
    """
    if last.resume:
        return f"the trace has more than {answers_max} answers"
    return last.cut_short  # what a node keeps in memory: with this it does not go on


def recall_line(item: RecalledItem) -> str:
    """Return a line for a person."""
    edge = item.edge
    words = [
        short_name(item.node.id),
        f"{edge.kind.name.lower()} {short_name(item.through)}",
        "" if edge.amount is None else amount_text(edge.amount),
        edge.party,
        day_text(edge.at_ms),
        "taken out again" if edge.ended else "",
        f"shipped to {', '.join(item.shipped_to)}" if item.shipped_to else "",
    ]
    return "  ".join(word for word in words if word)


def recall_document(item: RecalledItem) -> dict[str, object]:
    """Return an item for a program."""
    edge, amount = item.edge, item.edge.amount
    return {
        "id": item.node.id,
        "depth": item.node.depth,
        "through": item.through,
        "kind": edge.kind.name.lower(),
        "entry": edge.entry,
        "at_ms": edge.at_ms,
        "quantity": None if amount is None else {"value": amount.value, "unit": amount.unit},
        "party": edge.party,
        "ended": edge.ended,
        "shipped_to": list(item.shipped_to),
        "last": item.is_last,
    }


def csv_rows(items: Iterable[RecalledItem]) -> Iterator[Sequence[object]]:
    """Return the rows of a table for a spreadsheet, below `CSV_HEADER`."""
    for item in items:
        edge, amount = item.edge, item.edge.amount
        yield (
            _cell(item.node.id),
            item.node.depth,
            _cell(item.through),
            edge.kind.name.lower(),
            edge.entry,
            text_of_ms(edge.at_ms) if edge.at_ms < TEXT_MAX_MS else edge.at_ms,
            "" if amount is None else amount.value,
            "" if amount is None else _cell(amount.unit),
            edge.party,
            "yes" if edge.ended else "",
            _cell(" ".join(item.shipped_to)),
        )


def _cell(text: str) -> str:
    """Return a text that a spreadsheet takes as one: an id may begin as a formula does."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
