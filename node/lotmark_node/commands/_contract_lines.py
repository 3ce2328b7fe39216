"""How the commands on packages say what stands on the ledger, to people and to programs."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lotmark_node import terminal

if TYPE_CHECKING:
    from lotmark.client.contract_records import ChangeStanding

_SPACE = "  "
_LAST_WIDTH_MIN = 20


def wrapped_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of at most 100 columns; its last column wraps, the others shall be short."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)][:-1]
    before = sum(widths) + len(_SPACE) * len(widths)
    room = max(_LAST_WIDTH_MIN, terminal.WIDTH_MAX - before)
    lines = []
    for row in (head, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)]
        first, *rest = textwrap.wrap(row[-1], room) or [""]
        lines.append(_SPACE.join([*cells, first]).rstrip())
        lines += [" " * before + line for line in rest]
    return "\n".join(lines)


def change_text(standing: "ChangeStanding") -> str:
    """Return what a proposal asks for, in short."""
    from lotmark.package_change import ChangeKind

    if standing.kind is ChangeKind.ACTIVATE:
        return f"{standing.package} version {standing.change.activate.version}"
    return f"{standing.kind.name.lower()} {standing.package}"


def missing_text(standing: "ChangeStanding") -> str:
    """Return what an open proposal waits for."""
    told = []
    if standing.missing_parts:
        count = len(standing.change.activate.parts)
        told.append(f"{len(standing.missing_parts)} of {count} parts of the package")
    if standing.missing_parties:
        whose = ", ".join(standing.missing_parties)
        of_whom = "all of" if standing.rule == "all" else "a majority with some of"
        told.append(f"approval by {of_whom} {whose}")
    return "; ".join(told) or "nothing: the next block decides"


def change_document(standing: "ChangeStanding") -> dict[str, object]:
    """Return a proposal for a program."""
    from lotmark.package_change import ChangeKind

    document: dict[str, object] = {
        "proposal": standing.proposal.hex(),
        "kind": standing.kind.name.lower(),
        "package": standing.package,
        "status": standing.status.name.lower(),
        "approvals": list(standing.approvals),
        "missing_parties": list(standing.missing_parties),
        "missing_parts": list(standing.missing_parts),
        "rule": standing.rule,
        "expires_ms": str(standing.change.expires_ms),
        "opened_height": str(standing.opened_height),
    }
    if standing.kind is ChangeKind.ACTIVATE:
        activation = standing.change.activate
        document |= {
            "version": activation.version,
            "hash": activation.package.hex(),
            "from_height": str(activation.from_height),
            "report": activation.report.hex() or None,
            "report_first_height": str(activation.report_first_height),
            "report_last_height": str(activation.report_last_height),
        }
    return document


def report_text(standing: "ChangeStanding") -> str:
    """Return which backtest a proposal names."""
    activation = standing.change.activate
    if not activation.report:
        return "no backtest's report"
    return (
        f"report {activation.report.hex()} over heights {activation.report_first_height}"
        f" to {activation.report_last_height}"
    )
