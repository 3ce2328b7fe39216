"""`lotmark trace`: what an item was made of, or what it went into, each fact with its event."""

import shlex
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile
from lotmark_node.commands._provenance import (
    ItemName,
    ProofFile,
    asking,
    covering,
    parse_item,
    parse_resume,
    standing,
    write_proof,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lotmark.client.ledger_records import LedgerCheckpoint
    from lotmark.client.provenance_records import Trace
    from lotmark_node.provenance_text.facts import TraceFacts

app = typer.Typer()

PROVEN_MAX = 5_000  # events in a proof: some 20 MB, and some seconds to check


class Format(StrEnum):
    """How a trace is printed."""

    TREE = "tree"
    MERMAID = "mermaid"
    DOT = "dot"
    JSON = "json"


@app.command()
def trace(
    item: ItemName,
    *,
    client: ClientFile = None,
    back: Annotated[
        bool, typer.Option("--back/--forward", help="What it was made of, or what it went into.")
    ] = True,
    depth: Annotated[
        int,
        typer.Option(min=0, metavar="N", show_default=False, help="Steps from the item; 0: all."),
    ] = 0,
    nodes: Annotated[
        int,
        typer.Option(min=1, max=100_000, metavar="N", help="Things in one answer."),
    ] = 100_000,
    resume: Annotated[
        str, typer.Option(metavar="HEX", help="Go on where a partial answer ended.")
    ] = "",
    proof: ProofFile = None,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TREE,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Show what an item was made of and what was found out about each part, as a tree.

    Exit status: 1 no event names the item, 2 the name means several items.
    """
    from lotmark.client.provenance_records import EdgeKind, TraceLimits
    from lotmark_node.provenance_text.documents import head_document, trace_document
    from lotmark_node.provenance_text.facts import FACTS_MAX, TraceFacts, gather_facts

    as_json = as_json or output is Format.JSON
    direction = "back" if back else "forward"
    limits = TraceLimits(depth_max=depth, nodes_max=nodes, kinds=list(EdgeKind))
    named = parse_item(item)
    with asking(client, as_json=as_json) as (session, reader):
        ask = reader.trace_back if back else reader.trace_forward
        found = ask(named, limits, resume=parse_resume(resume))
        checkpoint = covering(session, found.head)
        facts, written = TraceFacts(), None
        if as_json or proof is not None or output is Format.TREE:
            facts_max = FACTS_MAX if proof is None else PROVEN_MAX
            with terminal.progress("Checking receipts") as advance:
                facts = gather_facts(reader, found, facts_max=facts_max, progress=advance)
        if proof is not None:
            question = {"trace": direction, "item": found.head.item, "depth": str(depth)}
            question["size"] = str(found.head.size)
            written = write_proof(session, proof, question, list(facts.receipts.values()))
    again = f"lotmark trace {shlex.quote(item)} --{direction}{f' --depth {depth}' if depth else ''}"
    notes = [*_partial(found, again), *([] if written is None else [written.line()])]
    terminal.answer(
        {
            **head_document(found.head, checkpoint),
            "direction": direction,
            **trace_document(found, facts),
            "proof": None if written is None else written.document(),
        },
        lambda: "\n".join(_lines(found, facts, checkpoint, output, back=back, notes=notes)),
        as_json=as_json,
    )


def _partial(found: "Trace", again: str) -> list[str]:
    """Return what to say of an answer that is not whole, and how to go on."""
    if not found.cut_short and not found.resume:
        return []
    told = f"Partial: {found.cut_short or 'there is more'}."
    return [f"{told} Go on: {again} --resume {found.resume.hex()}" if found.resume else told]


def _lines(
    found: "Trace",
    facts: "TraceFacts",
    checkpoint: "LedgerCheckpoint",
    output: Format,
    *,
    back: bool,
    notes: list[str],
) -> "Iterator[str]":
    """Return the lines of an answer in the format that was asked for."""
    from lotmark_node.provenance_text.graphs import dot_lines, mermaid_lines
    from lotmark_node.provenance_text.lines import LinkText
    from lotmark_node.provenance_text.tree import tree_lines

    where = standing(found.head, checkpoint)
    match output:
        case Format.MERMAID:
            yield f"%% {where}"
            yield from (f"%% {line}" for line in notes)
            yield from mermaid_lines(found, back=back)
        case Format.DOT:
            yield f"// {where}"
            yield from (f"// {line}" for line in notes)
            yield from dot_lines(found, back=back)
        case _:
            yield f"{LinkText(found, facts).root(found, back=back)}  {where}"
            yield from tree_lines(found, facts)
            yield _proven(found, facts, checkpoint)
            yield from notes


def _proven(found: "Trace", facts: "TraceFacts", checkpoint: "LedgerCheckpoint") -> str:
    """Return what of an answer is proven, and what is the node's word."""
    from lotmark_node.commands._event_lines import counted

    told = (
        f"{counted(len(found.edges), 'link')}; {counted(len(facts.by_entry), 'event')} read and"
        f" proven, {checkpoint.findings.standing}"
    )
    if facts.left_out:
        told += f"; {counted(facts.left_out, 'further event')} not read: node's word"
    return told
