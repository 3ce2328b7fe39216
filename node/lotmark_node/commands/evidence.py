"""`lotmark evidence`: says offline whom a file convicts of signing two contradicting things."""

from pathlib import Path
from typing import Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._chain_id import ChainIdOption, parse_chain_id

app = typer.Typer(help="Evidence against a key that signed two contradicting things.")


@app.callback()
def _group() -> None:
    """Evidence against a key that signed two contradicting things."""


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="Evidence, as a node or a witness kept it.")],
    *,
    genesis: Annotated[Path, typer.Option(metavar="FILE", help="genesis.json of the ledger.")],
    chain_id: ChainIdOption,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Say whom a file convicts, and of what. Exit status: 0 somebody, 1 nobody, 2 cannot tell."""
    from lotmark.errors import ProtocolError
    from lotmark.evidence import EVIDENCE_SIZE_MAX, NoConviction, check_evidence
    from lotmark.genesis import parse_genesis

    pinned = parse_chain_id(chain_id)
    try:
        founding = parse_genesis(genesis.read_bytes())
    except ProtocolError as error:
        # Whatever is wrong with it, it acquits nobody.
        terminal.fail(f"{genesis}: {error}", "Give the ledger's own genesis.json.")
    with file.open("rb") as source:
        raw = source.read(EVIDENCE_SIZE_MAX + 1)
    try:
        convicted = check_evidence(raw, founding, pinned)
    except NoConviction as error:
        reason = str(error)
        document = {"convicted": [], "reason": reason}
        terminal.answer(document, lambda: reason, as_json=as_json)
        raise typer.Exit(terminal.ExitCode.NO) from error
    terminal.answer(
        {
            "convicted": [
                {
                    "party": item.party,
                    "node": item.node,
                    "key": item.key.hex(),
                    "what": item.what,
                }
                for item in convicted
            ]
        },
        lambda: "\n".join(
            f"CONVICTED  {item.party}/{item.node} {item.what}, by key {item.key.hex()}"
            for item in convicted
        ),
        as_json=as_json,
    )
