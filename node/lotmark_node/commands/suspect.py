"""`lotmark suspect`: what a device, tool or lot touched in an interval."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile
from lotmark_node.commands._provenance import (
    asking,
    covering,
    parse_resume,
    parse_time,
    standing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lotmark.client.provenance_records import Suspects

app = typer.Typer()

LINES_MAX = 40


@app.command()
def suspect(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Device, or id of a tool, gauge or lot.")
    ],
    *,
    client: ClientFile = None,
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="From this day or time on.")],
    end: Annotated[
        str, typer.Option("--to", metavar="TIME", help="Up to before this day or time.")
    ],
    resume: Annotated[
        str, typer.Option(metavar="HEX", help="Go on where a partial answer ended.")
    ] = "",
    as_json: terminal.JsonFlag = False,
) -> None:
    """List the items that a device, tool or lot touched in an interval, by the events' own time.

    Exit status: 1 no event names it, 2 the name means several things.
    """
    from lotmark_node.provenance_text.documents import head_document, suspect_document

    from_ms, to_ms = parse_time(start), parse_time(end)
    with asking(client, as_json=as_json) as (session, reader):
        found = reader.suspects(
            name, from_ms=from_ms, to_ms=to_ms, resume=parse_resume(resume), fresh=not resume
        )
        checkpoint = covering(session, found.head)
    again = f"lotmark suspect {shlex.quote(name)} --from {start} --to {end}"
    terminal.answer(
        {
            **head_document(found.head, checkpoint),
            "complete": not found.resume,
            "resume": found.resume.hex() or None,
            "items": [suspect_document(item) for item in found.items],
        },
        lambda: "\n".join(_lines(found, standing(found.head, checkpoint), again)),
        as_json=as_json,
    )


def _lines(found: "Suspects", where: str, again: str) -> "Iterator[str]":
    from lotmark_node.commands._event_lines import counted, time_text
    from lotmark_node.provenance_text.names import short_name

    count = len(found.items)
    yield f"{found.head.item}  touched {counted(count, 'item')}  {where}"
    for item in found.items[:LINES_MAX]:
        until = "" if item.last_ms == item.first_ms else f" to {time_text(item.last_ms)}"
        yield (
            f"{short_name(item.id)}  {time_text(item.first_ms)}{until}"
            f"  {counted(item.event_count, 'event')}, entry {item.entry}"
        )
    if count > LINES_MAX:
        yield f"… {count - LINES_MAX:,} more: --json lists all"
    if found.resume:
        yield f"Partial. Go on: {again} --resume {found.resume.hex()}"
