"""`lotmark history`: the events that name an item, in the order of the log."""

import shlex
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile
from lotmark_node.commands._provenance import (
    ItemName,
    ProofFile,
    Since,
    Until,
    WrittenProof,
    asking,
    covering,
    parse_item,
    parse_time,
    standing,
    write_proof,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lotmark.client.ledger_records import LedgerCheckpoint
    from lotmark.client.provenance import ProvenanceReader
    from lotmark.client.provenance_records import FoundEvents, ProvenEvent, ProvenHistory
    from lotmark.client.session import LedgerSession

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
    proof: ProofFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Show the events that name an item, each proven, in the order of the log.

    Of a whole history it is proven too up to where there are no others. --since and --until are
    about the events' own time. Exit status: 1 no event names the item, or the node left one out,
    2 the name means several items.
    """
    named, from_ms, to_ms = parse_item(item), parse_time(since), parse_time(until)
    options = _options({"--since": since, "--until": until})
    with asking(client, as_json=as_json) as (session, reader):
        found = reader.history(
            named, from_index=first, events_max=events, from_ms=from_ms, to_ms=to_ms
        )
        checkpoint = covering(session, found.head)
        with terminal.progress("Checking receipts", len(found.events)) as advance:
            proven = list(reader.prove((each.index for each in found.events), advance))
        is_whole = not (first or options or found.resume)
        complete = Completeness(reader, found) if is_whole else None
        told = _Told(found, checkpoint, proven, complete)
        if proof is not None:
            told = replace(told, written=told.write(session, proof, [str(first), *options]))
    again = shlex.join(["lotmark", "history", item, *options])
    terminal.answer(told.document(), lambda: "\n".join(told.lines(again)), as_json=as_json)
    if complete is not None and complete.left_out:
        entries = ", ".join(map(str, complete.left_out))
        terminal.fail(
            f"LEFT OUT: the answer lacks what the item's own proof holds: {entries}.",
            "Ask another node, and tell this node's party.",
            terminal.ExitCode.NO,
        )


def _options(given: "Mapping[str, str]") -> list[str]:
    """Return what an answer's options were, to be typed again."""
    return [word for option, value in given.items() if value for word in (option, value)]


@dataclass(frozen=True, slots=True)
class _Told:
    """A history with what proves it."""

    found: "FoundEvents"
    checkpoint: "LedgerCheckpoint"
    proven: "Sequence[ProvenEvent]"
    complete: "Completeness | None"  # None: only a part was asked for, or told
    written: "WrittenProof | None" = None

    def write(self, session: "LedgerSession", file: Path, asked: "Sequence[str]") -> "WrittenProof":
        """Write what proves it to a file."""
        whole = None if self.complete is None else self.complete.proven
        head = self.found.head
        return write_proof(
            session,
            file,
            {"history": head.item, "asked": " ".join(asked), "size": str(head.size)},
            [each.receipt for each in self.proven],
            [] if whole is None else [whole.proof],
        )

    def document(self) -> dict[str, object]:
        """Return it for a program."""
        from lotmark_node.provenance_text.documents import found_document, head_document

        found = self.found
        parties = self._parties()
        return {
            **head_document(found.head, self.checkpoint),
            "complete": not found.resume,
            "next_index": int.from_bytes(found.resume) or None,
            "events": [
                {**found_document(each), "party": parties[each.index]} for each in found.events
            ],
            "completeness": None if self.complete is None else self.complete.document(),
            "proof": None if self.written is None else self.written.document(),
        }

    def lines(self, again: str) -> "Iterator[str]":
        """Return it for a person, to whom `again` says how to go on."""
        from lotmark_node.commands._event_lines import event_line

        found, parties, width = self.found, self._parties(), terminal.WIDTH_MAX
        yield f"{found.head.item}  {standing(found.head, self.checkpoint)}"
        for each in found.events:
            line = event_line(each.index, each.entry.head.time_ms, parties[each.index], each.event)
            yield line if len(line) <= width else f"{line[: width - 1]}…"
        yield f"{len(self.proven)} proven, {self.checkpoint.findings.standing}"
        if self.complete is not None:
            yield from textwrap.wrap(self.complete.text, width)
        if found.resume:
            index = int.from_bytes(found.resume)
            yield f"Partial: there is more. Go on: {again} --from {index}"
        if self.written is not None:
            yield self.written.line()

    def _parties(self) -> dict[int, str]:
        """Return by entry whose key signed the event."""
        return {each.findings.index: each.findings.party for each in self.proven}


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
