"""`lotmark recall`: every item that holds some of a lot, and where it went."""

import csv
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile
from lotmark_node.commands._provenance import (
    Since,
    Until,
    asking,
    covering,
    parse_item,
    parse_time,
    standing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lotmark.client.provenance import ProvenanceReader
    from lotmark.client.provenance_records import Trace
    from lotmark_node.provenance_text.recall import RecalledItem

app = typer.Typer()

ANSWERS_MAX = 50  # of 100,000 things each
LINES_MAX = 40


@app.command()
def recall(
    lot: Annotated[
        str, typer.Argument(metavar="LOT", help="A lot, or any item: lot:GTIN.LOT, or its id.")
    ],
    *,
    client: ClientFile = None,
    since: Since = "",
    until: Until = "",
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print all of them as a table for a spreadsheet.")
    ] = False,
    as_json: terminal.JsonFlag = False,
) -> None:
    """List every item that holds some of a lot, however many steps on.

    --since and --until are about when an item came to hold it. Exit status: 1 no event names the
    lot, 2 the name means several items, or not all could be listed.
    """
    from lotmark_node.provenance_text.documents import head_document
    from lotmark_node.provenance_text.recall import recall_document, recalled_items, why_partial

    named, since_ms, until_ms = parse_item(lot), parse_time(since), parse_time(until)
    with asking(client, as_json=as_json) as (session, reader):
        traces = list(_answers(reader, named))
        head = traces[-1].head
        checkpoint = covering(session, head)
    items = recalled_items(traces, since_ms=since_ms, until_ms=until_ms)
    left_out = why_partial(traces[-1], answers_max=ANSWERS_MAX)
    if as_csv:
        _print_csv(items)
    else:
        terminal.answer(
            {
                **head_document(head, checkpoint),
                "item_count": len(items),
                "last_count": sum(item.is_last for item in items),
                "complete": not left_out,
                "items": [recall_document(item) for item in items],
            },
            lambda: "\n".join(_lines(head.item, items, standing(head, checkpoint))),
            as_json=as_json,
        )
    if left_out:
        terminal.fail(
            f"Not all items are listed: {left_out}.",
            "Recall what the lot went into first, one item at a time.",
        )


def _answers(reader: "ProvenanceReader", item: str) -> "Iterator[Trace]":
    """Return the trace forward in its parts, all of one height, up to its end or the bound."""
    from lotmark.client.provenance_records import EdgeKind, TraceLimits
    from lotmark_node.provenance_text.recall import FOLLOWED

    limits = TraceLimits(kinds=[*FOLLOWED, EdgeKind.SHIPPED])
    resume = b""
    with terminal.progress("Following the lot") as advance:
        for _ in range(ANSWERS_MAX):
            found = reader.trace_forward(item, limits, resume=resume, fresh=not resume)
            yield found
            advance(len(found.nodes))
            resume = found.resume
            if not resume:
                return


def _print_csv(items: "list[RecalledItem]") -> None:
    from lotmark_node.provenance_text.recall import CSV_HEADER, csv_rows

    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(CSV_HEADER)
    table.writerows(csv_rows(items))


def _lines(lot: str, items: "list[RecalledItem]", where: str) -> "Iterator[str]":
    from lotmark_node.commands._event_lines import counted
    from lotmark_node.provenance_text.names import short_name
    from lotmark_node.provenance_text.recall import recall_line

    last_count = sum(item.is_last for item in items)
    yield (
        f"{short_name(lot)}  is in {counted(len(items), 'item')}, {last_count} of them in nothing"
        f" further  {where}"
    )
    yield from map(recall_line, items[:LINES_MAX])
    if len(items) > LINES_MAX:
        yield f"… {len(items) - LINES_MAX:,} more: --csv lists all"
