"""`lotmark join`: makes a party's keys by its sponsor's invitation, and the request to join."""

from pathlib import Path
from typing import Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._governing import PassphraseFile, read_passphrase

app = typer.Typer()


@app.command()
def join(
    invitation: Annotated[Path, typer.Argument(metavar="INVITE", help="File of your sponsor.")],
    *,
    chain_id: Annotated[
        str, typer.Option(metavar="HEX", help="Chain id that your sponsor told you another way.")
    ] = "",
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="[default: ~/.lotmark/PARTY]")
    ] = None,
    holder: Annotated[str, typer.Option(help="Name of your first client.")] = "erp",
    root_count: Annotated[
        int, typer.Option("--roots", min=1, max=255, help="How many root keys.")
    ] = 1,
    threshold: Annotated[int, typer.Option(min=1, max=255, help="How many of them must sign.")] = 1,
    seal: Annotated[bool, typer.Option("--seal", help="Seal the root keys.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Make your party's keys and a join request, which your sponsor proposes to the parties."""
    from lotmark.invitation import FILE_SIZE_MAX, parse_invitation
    from lotmark_node.compose import now_ms
    from lotmark_node.consortium.join import make_joining

    with invitation.open("rb") as file:
        invited, genesis = parse_invitation(file.read(FILE_SIZE_MAX + 1))
    if chain_id and chain_id != invited.chain_id.hex():
        terminal.fail(
            f"The invitation is for chain {invited.chain_id.hex()}, not {chain_id[:80]}.",
            "Ask your sponsor which is right.",
            terminal.ExitCode.NO,
        )
    made = make_joining(
        folder or Path.home() / ".lotmark" / invited.party,
        invited,
        genesis,
        holder=holder,
        root_count=root_count,
        threshold=threshold,
        passphrase=read_passphrase(passphrase_file, confirm=True) if seal else None,
        now_ms=now_ms(),
    )
    terminal.answer(
        {
            "party": invited.party,
            "chain_id": invited.chain_id.hex(),
            "folder": str(made.folder),
            "client": str(made.client),
            "request": str(made.request),
        },
        lambda: (
            f"Made keys in {made.folder} (0600), for chain {invited.chain_id.hex()}: compare that"
            f" with {invited.sponsor}. Send {made.request} to {invited.sponsor}; then:"
            f" lotmark status --wait --as {made.client}"
        ),
        as_json=as_json,
    )
