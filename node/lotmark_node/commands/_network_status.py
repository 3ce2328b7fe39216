"""What `lotmark network status` shows: where each node of a consortium stands.

Whoever asks the nodes hands in what they told; from here on it is a table or a JSON document.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import typer

from lotmark_node import terminal

CERTIFICATE_DAYS_LOW = 30
CLOCK_OFF_MAX_MS = 5_000  # a voter takes no block that is further ahead of its own clock

_NAME_MIN = 12  # columns that a name keeps where a table is too wide
_GAP = "  "
_NUMBER_MAX = 9_999_999_999  # longer ones are shortened, so that a table always fits


class NodeRole(StrEnum):
    """What a node does for the order now."""

    LEADER = "leader"
    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    WITNESS = "witness"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStanding:
    """What a node tells of itself; None: it does not say, or has no such thing."""

    name: str  # "<party>/<node>"
    address: str
    reachable: bool
    # Why it is not reachable, naming it as errors of calls do; else why it takes no events.
    problem: str = ""
    role: NodeRole | None = None
    term: int | None = None
    last_index: int | None = None
    committed_index: int | None = None
    applied_index: int | None = None
    lag_entries: int | None = None  # entries of the order that the leader has and it has not
    height: int | None = None
    size: int | None = None
    signed_size: int | None = None
    final_size: int | None = None
    certificate_days: int | None = None  # until it ends
    clock_offset_ms: int | None = None  # its clock less the asker's


def show(fetch: Callable[[], Sequence[NodeStanding]], *, as_json: bool) -> None:
    """Print where the nodes stand, and end with 1 where none leads, with 3 where none answers.

    Args:
        fetch: Asks every node of the consortium; the result has one record of each, one at least.
        as_json: Whether a program asked.
    """
    nodes = fetch()
    leader = leader_of(nodes)
    terminal.answer(
        {
            "leader": leader.name if leader else None,
            "nodes": [asdict(node) for node in nodes],
            "problems": problems(nodes),
        },
        lambda: table(nodes),
        as_json=as_json,
    )
    if not any(node.reachable for node in nodes):
        raise typer.Exit(terminal.ExitCode.UNREACHABLE)
    if leader is None:
        raise typer.Exit(terminal.ExitCode.NO)


def leader_of(nodes: Iterable[NodeStanding]) -> NodeStanding | None:
    """Return the node that leads in the newest term; one cut off may still think that it leads."""
    leaders = [node for node in nodes if node.role is NodeRole.LEADER]
    return max(leaders, key=lambda node: node.term or 0, default=None)


def table(nodes: Sequence[NodeStanding]) -> str:
    """Return the standings as text of at most 100 columns."""
    order = [
        ("node", "role", "term", "last", "committed", "applied", "lag", "height"),
        *(
            (
                node.name,
                node.role.value if node.role else "",
                *_numbers(
                    node.term,
                    node.last_index,
                    node.committed_index,
                    node.applied_index,
                    node.lag_entries,
                    node.height,
                ),
            )
            for node in nodes
            if node.reachable
        ),
    ]
    ledger = [
        ("node", "address", "size", "signed", "final", "certificate", "clock"),
        *(
            (
                node.name,
                node.address,
                *_numbers(node.size, node.signed_size, node.final_size),
                _with_unit(node.certificate_days, "days"),
                _with_unit(node.clock_offset_ms, "ms", sign="+"),
            )
            for node in nodes
            if node.reachable
        ),
    ]
    told = [_leading(nodes), *(f"! {problem}" for problem in problems(nodes))]
    if len(order) == 1:
        return _folded(told)
    return "\n\n".join(["\n".join(_aligned(order)), "\n".join(_aligned(ledger)), _folded(told)])


def problems(nodes: Sequence[NodeStanding]) -> list[str]:
    """Return what somebody has to do something about, each in a sentence."""
    found = []
    for node in nodes:
        if not node.reachable:
            found.append(node.problem)
        elif node.problem:
            found.append(f"{node.name} takes no events: {node.problem}")
        days = node.certificate_days
        if days is not None and days <= CERTIFICATE_DAYS_LOW:
            ends = f"ends in {days} days" if days >= 0 else f"ended {-days} days ago"
            found.append(f"certificate of {node.name} {ends}: renew it: lotmark key renew-cert")
        offset_ms = node.clock_offset_ms
        if offset_ms is not None and abs(offset_ms) > CLOCK_OFF_MAX_MS:
            side = "ahead of" if offset_ms > 0 else "behind"
            found.append(
                f"clock of {node.name} is {abs(offset_ms) / 1_000:,.1f} s {side} this machine's:"
                f" voters take no block over {CLOCK_OFF_MAX_MS // 1_000} s ahead; set the wrong one"
            )
    return found


def _leading(nodes: Sequence[NodeStanding]) -> str:
    leader = leader_of(nodes)
    leads = f"{leader.name} leads in term {leader.term}" if leader else "No node says that it leads"
    return f"{leads}; {sum(node.reachable for node in nodes)} of {len(nodes)} nodes answer"


def _numbers(*values: int | None) -> list[str]:
    return ["" if value is None else _number(value) for value in values]


def _number(value: int) -> str:
    return str(value) if abs(value) <= _NUMBER_MAX else f"{value:.3e}"


def _with_unit(value: int | None, unit: str, *, sign: str = "") -> str:
    if value is None:
        return ""
    shown = _number(value)
    return f"{sign if value > 0 else ''}{shown} {unit}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows with their columns one below the other: texts to the left, numbers right.

    The first row has the headings. The first two columns are texts; where a line would be too
    long, the longer of them is cut first.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > terminal.WIDTH_MAX:
        longest = 0 if widths[0] >= widths[1] else 1
        if widths[longest] <= _NAME_MIN:
            break
        widths[longest] -= 1
    lines = []
    for row in rows:
        texts = [f"{_cut(row[at], widths[at]):<{widths[at]}}" for at in (0, 1)]
        numbers = [f"{row[at]:>{widths[at]}}" for at in range(2, len(row))]
        lines.append(_GAP.join(texts + numbers).rstrip())
    return lines


def _cut(text: str, width: int) -> str:
    """Return the text without its middle where it is too long: both ends tell names apart."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def _folded(paragraphs: Iterable[str]) -> str:
    from textwrap import fill

    return "\n".join(
        fill(text, terminal.WIDTH_MAX, subsequent_indent=_GAP, break_on_hyphens=False)
        for text in paragraphs
    )
