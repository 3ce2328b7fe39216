"""`lotmark history`: the events that name an item, in the order of the log."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile
from lotmark_node.commands._provenance import (
    ItemName,
    Since,
    Until,
    asking,
    covering,
    parse_item,
    parse_time,
    standing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lotmark.client.provenance_records import FoundEvents

app = typer.Typer()


@app.command()
def history(
    item: ItemName,
    *,
    client: ClientFile = None,
    first: Annotated[
        int, typer.Option("--from", min=0, metavar="INDEX", help="First entry to look at.")
    ] = 0,
    events: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="Events in one answer.")
    ] = 1_000,
    since: Since = "",
    until: Until = "",
    as_json: terminal.JsonFlag = False,
) -> None:
    """Show the events that name an item, each proven, in the order of the log.

    --since and --until are about the events' own time. Exit status: 1 no event names the item, 2
    the name means several items.
    """
    from lotmark_node.provenance_text.documents import found_document, head_document

    from_ms, to_ms = parse_time(since), parse_time(until)
    with asking(client, as_json=as_json) as (session, reader):
        found = reader.history(
            parse_item(item), from_index=first, events_max=events, from_ms=from_ms, to_ms=to_ms
        )
        checkpoint = covering(session, found.head)
        with terminal.progress("Checking receipts", len(found.events)) as advance:
            proven = list(reader.prove((each.index for each in found.events), advance))
    parties = {each.findings.index: each.findings.party for each in proven}
    again = f"lotmark history {shlex.quote(item)}"
    terminal.answer(
        {
            **head_document(found.head, checkpoint),
            "complete": not found.resume,
            "next_index": int.from_bytes(found.resume) or None,
            "events": [
                {**found_document(each), "party": parties[each.index]} for each in found.events
            ],
        },
        lambda: "\n".join(
            [
                f"{found.head.item}  {standing(found.head, checkpoint)}",
                *_lines(found, parties),
                f"{len(proven)} proven, {checkpoint.findings.standing}",
                *_partial(found, again),
            ]
        ),
        as_json=as_json,
    )


def _lines(found: "FoundEvents", parties: "Mapping[int, str]") -> "Iterator[str]":
    from lotmark_node.commands._event_lines import event_line

    for each in found.events:
        line = event_line(each.index, each.entry.head.time_ms, parties[each.index], each.event)
        yield line if len(line) <= terminal.WIDTH_MAX else f"{line[: terminal.WIDTH_MAX - 1]}…"


def _partial(found: "FoundEvents", again: str) -> list[str]:
    if not found.resume:
        return []
    return [f"Partial: there is more. Go on: {again} --from {int.from_bytes(found.resume)}"]
