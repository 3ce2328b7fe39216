"""`lotmark verify-raw`: whether a file is the one that an event anchored."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile
from lotmark_node.commands._provenance import asking, covering, parse_item, standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lotmark.client.raw_file import AnchoredFile, RawFileVerdict

app = typer.Typer()


@app.command()
def verify_raw(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file; its content is sent nowhere.")
    ],
    *,
    client: ClientFile = None,
    item: Annotated[
        str, typer.Option(metavar="ITEM", help="The item that it is said to be about.")
    ] = "",
    as_json: terminal.JsonFlag = False,
) -> None:
    """Tell whether a raw file, report or certificate is the one that an event anchored.

    Exit status: 0 match, 1 another content is anchored under its name, 2 nothing is known of it.
    """
    from lotmark.client.raw_file import RawState, verify_raw_file
    from lotmark_node.provenance_text.documents import head_document

    if not file.is_file():
        terminal.fail(f"{file} is no file.", "Name the file as it was handed over.")
    named = parse_item(item) if item else ""
    with asking(client, as_json=as_json) as (session, reader):
        with terminal.progress("Reading the file", file.stat().st_size) as advance:
            verdict = verify_raw_file(reader, file, item=named, progress=advance)
        checkpoint = covering(session, verdict.head)
    where = standing(verdict.head, checkpoint)
    terminal.answer(
        {
            **head_document(verdict.head, checkpoint),
            "state": verdict.state.value,
            "file": str(file),
            "sha256": verdict.sha256.hex(),
            "file_size": verdict.size,
            "anchors": [_document(each) for each in verdict.anchors],
            "more": verdict.more,
        },
        lambda: "\n".join(_lines(file, verdict, where)),
        as_json=as_json,
    )
    raise typer.Exit(
        {
            RawState.MATCH: terminal.ExitCode.DONE,
            RawState.MISMATCH: terminal.ExitCode.NO,
            RawState.UNKNOWN: terminal.ExitCode.CANNOT_TELL,
        }[verdict.state]
    )


def _document(anchor: "AnchoredFile") -> dict[str, object]:
    found, file = anchor.proven.findings, anchor.file
    return {
        "index": found.index,
        "event_id": found.event_id.hex(),
        "event_type": found.event_type,
        "party": found.party,
        "event_time_ms": anchor.proven.event.time.end_ms,
        "time_ms": found.block_time_ms,
        "items": [item.id for item in anchor.proven.event.items],
        "sha256": None if file is None else file.sha256.hex(),
        "file_size": None if file is None else file.size,
        "is_salted": file is not None and bool(file.salt),
        "checkpoint_size": found.checkpoint.checkpoint.size,
        "final": found.checkpoint.is_final,
    }


def _lines(path: Path, verdict: "RawFileVerdict", where: str) -> "Iterator[str]":
    from lotmark.client.raw_file import RawState

    yield f"{verdict.state.value.upper()}  {path}  {where}"
    yield f"  sha256 {verdict.sha256.hex()}, {verdict.size:,} bytes"
    if verdict.state is RawState.MISMATCH:
        yield "  A file of this name is anchored with another content:"
    elif verdict.state is RawState.UNKNOWN:
        about = f" about {verdict.head.item}" if verdict.head.item else ""
        yield f"  No event{about} that you may read anchors it, or a file of its name."
    for anchor in verdict.anchors:
        yield from _anchor_lines(anchor)
    if verdict.more:
        yield "  There are further events: --item ITEM leaves fewer."


def _anchor_lines(anchor: "AnchoredFile") -> "Iterator[str]":
    from lotmark_node.commands._event_lines import items_text, time_text

    found, file, event = anchor.proven.findings, anchor.file, anchor.proven.event
    yield (
        f"  entry {found.index}  {found.event_type.replace('_', ' ')} of {items_text(event)} by"
        f" {found.party}"
    )
    yield (
        f"    made {time_text(event.time.end_ms)}, on the ledger {time_text(found.block_time_ms)}"
        f" UTC, {found.checkpoint.standing}"
    )
    if file is not None:
        salted = ", with a salt" if file.salt else ""
        yield f"    sha256 {file.sha256.hex()}{salted}, {file.size:,} bytes"
