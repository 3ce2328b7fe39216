"""`lotmark receipt`: fetches the proof of one event, to be kept beside what it is about."""

from pathlib import Path
from typing import Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, EntryName, parse_entry_name, reading

app = typer.Typer()


@app.command()
def receipt(
    name: EntryName,
    *,
    client: ClientFile = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to; must not exist. [default: print it]"),
    ] = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Fetch the receipt of an event: proof of it that anyone checks offline.

    It is verified before it is written: lotmark verify FILE --chain-id HEX --genesis genesis.json
    """
    from lotmark.key_file import write_new_file
    from lotmark.verify.receipt import verify_receipt

    named = parse_entry_name(name)
    with reading(client) as session:
        index = named if isinstance(named, int) else session.entry(named).head.index
        raw = session.receipt(index)
        found = verify_receipt(
            raw, genesis_json=session.genesis.to_json(), chain_id=session.settings.chain_id
        )
    if out is not None:
        write_new_file(out, raw, mode=0o644)
    elif not as_json:
        typer.echo(raw, nl=False)
        return
    terminal.answer(
        {
            "index": index,
            "event_id": found.event_id.hex(),
            "type": found.event_type,
            "checkpoint_size": found.checkpoint.checkpoint.size,
            "final": found.checkpoint.is_final,
            "file": str(out) if out else None,
            "receipt": None if out else raw.decode(),
        },
        lambda: (
            f"{out}: entry {index}, {found.event_type or 'no event'} by {found.party},"
            f" {found.checkpoint.standing}"
        ),
        as_json=as_json,
    )
