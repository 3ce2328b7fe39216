"""`lotmark history`: the events that name an item, in the order of the log."""

import shlex
import textwrap
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

    from lotmark.client.provenance import ProvenanceReader
    from lotmark.client.provenance_records import FoundEvents, ProvenHistory

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

    Of a whole history it is proven too up to where there are no others. --since and --until are
    about the events' own time. Exit status: 1 no event names the item, or the node left one out,
    2 the name means several items.
    """
    from lotmark_node.provenance_text.documents import found_document, head_document

    named, from_ms, to_ms = parse_item(item), parse_time(since), parse_time(until)
    with asking(client, as_json=as_json) as (session, reader):
        found = reader.history(
            named, from_index=first, events_max=events, from_ms=from_ms, to_ms=to_ms
        )
        checkpoint = covering(session, found.head)
        with terminal.progress("Checking receipts", len(found.events)) as advance:
            proven = list(reader.prove((each.index for each in found.events), advance))
        is_whole = not (first or from_ms or to_ms or found.resume)
        complete = Completeness(reader, found) if is_whole else None
    parties = {each.findings.index: each.findings.party for each in proven}
    again = shlex.join(["lotmark", "history", item, *_options(since=since, until=until)])
    terminal.answer(
        {
            **head_document(found.head, checkpoint),
            "complete": not found.resume,
            "next_index": int.from_bytes(found.resume) or None,
            "events": [
                {**found_document(each), "party": parties[each.index]} for each in found.events
            ],
            "completeness": None if complete is None else complete.document(),
        },
        lambda: "\n".join(
            [
                f"{found.head.item}  {standing(found.head, checkpoint)}",
                *_lines(found, parties),
                f"{len(proven)} proven, {checkpoint.findings.standing}",
                *([] if complete is None else textwrap.wrap(complete.text, terminal.WIDTH_MAX)),
                *_partial(found, again),
            ]
        ),
        as_json=as_json,
    )
    if complete is not None and complete.left_out:
        entries = ", ".join(map(str, complete.left_out))
        terminal.fail(
            f"LEFT OUT: the answer lacks what the item's own proof holds: {entries}.",
            "Ask another node, and tell this node's party.",
            terminal.ExitCode.NO,
        )


class Completeness:
    """Whether a whole history is all there is, as the item's proof tells."""

    def __init__(self, reader: "ProvenanceReader", found: "FoundEvents") -> None:
        from lotmark.client.calls import CallRefused
        from lotmark.verify.history_verdict import history_text

        self.proven: ProvenHistory | None = None
        self.left_out: list[int] = []
        try:
            self.proven = reader.item_proof(found.head.item)
        except CallRefused as error:
            self.text = f"not shown: that there are no others ({error})"
            return
        self.text = history_text(self.proven.findings)
        told = {each.index for each in found.events}
        self.left_out = [
            shown.index
            for shown in self.proven.findings.events
            if shown.event and shown.index < found.head.size and shown.index not in told
        ]

    def document(self) -> dict[str, object]:
        """Return it for a program."""
        from lotmark.verify.history_verdict import history_to_json

        proven = self.proven
        return {
            "text": self.text,
            "left_out": self.left_out,
            "proof": None if proven is None else history_to_json(proven.findings),
        }


def _options(*, since: str, until: str) -> list[str]:
    """Return what an answer's options were, to be typed again."""
    given = (("--since", since), ("--until", until))
    return [word for option, value in given if value for word in (option, value)]


def _lines(found: "FoundEvents", parties: "Mapping[int, str]") -> "Iterator[str]":
    from lotmark_node.commands._event_lines import event_line

    for each in found.events:
        line = event_line(each.index, each.entry.head.time_ms, parties[each.index], each.event)
        yield line if len(line) <= terminal.WIDTH_MAX else f"{line[: terminal.WIDTH_MAX - 1]}…"


def _partial(found: "FoundEvents", again: str) -> list[str]:
    if not found.resume:
        return []
    return [f"Partial: there is more. Go on: {again} --from {int.from_bytes(found.resume)}"]
