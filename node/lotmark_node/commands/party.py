"""`lotmark party`: who is a member, who is invited, and how a party's roots change."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, read_settings, reading
from lotmark_node.commands._governing import (
    PassphraseFile,
    RootFiles,
    SealOption,
    governing,
    read_keys,
    read_or_make_key,
    table,
)

if TYPE_CHECKING:
    from lotmark.canonical_json import JsonValue
    from lotmark.state_rows import PartyRow

app = typer.Typer(no_args_is_help=True, help="Show parties, invite one, change your roots.")


@app.command("list")
def list_parties(*, client: ClientFile = None, as_json: terminal.JsonFlag = False) -> None:
    """List the members, and the parties that left."""
    from lotmark.genesis import PartyRole
    from lotmark.key_grant import NEVER
    from lotmark.state_rows import Table, parse_party_row

    with reading(client) as session:
        register = session.governed().keys
    found = {
        key[3:].decode("ascii"): parse_party_row(value)
        for key, value in register.rows(bytes([Table.PARTY]))
    }
    parties: list[JsonValue] = [_to_json(party, row) for party, row in found.items()]
    lines = [
        (
            party,
            PartyRole(row.role).name.lower(),
            f"{row.threshold} of {len(row.roots)} roots",
            "member" if row.removed_height == NEVER else f"left at height {row.removed_height}",
        )
        for party, row in found.items()
    ]
    terminal.answer({"parties": parties}, lambda: table(lines), as_json=as_json)


@app.command()
def show(
    party: Annotated[str, typer.Argument(metavar="PARTY", help="Its id.")],
    *,
    client: ClientFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Show one party: its role, its roots, and since when it is a member."""
    from lotmark.state_rows import party_row

    with reading(client) as session:
        register = session.governed().keys
    row = party_row(register, party) if party.isascii() else None
    if row is None:
        terminal.fail(
            f"There never was a party {party[:40]!a}.",
            "`lotmark party list` shows those there are.",
            terminal.ExitCode.NO,
        )
    shown = _to_json(party, row)
    terminal.answer(
        shown,
        lambda: table([(name, str(value)) for name, value in shown.items()]),
        as_json=as_json,
    )


def _to_json(party: str, row: "PartyRow") -> "dict[str, JsonValue]":
    from lotmark.genesis import PartyRole
    from lotmark.key_grant import NEVER

    return {
        "party": party,
        "role": PartyRole(row.role).name.lower(),
        "threshold": row.threshold,
        "roots": [root.hex() for root in row.roots],
        "root_generation": row.generation,
        "from_height": str(row.from_height),
        "removed_height": None if row.removed_height == NEVER else str(row.removed_height),
    }


@app.command("rotate-roots")
def rotate_roots(
    *,
    roots: RootFiles,
    new: Annotated[
        list[Path],
        typer.Option(
            "--new",
            metavar="FILE",
            help="Root key that it is to have; all of them. Made there if nothing is there.",
        ),
    ],
    threshold: Annotated[int, typer.Option(min=1, max=255, help="How many of them must sign.")],
    client: ClientFile = None,
    seal: SealOption = False,
    passphrase_file: PassphraseFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Give your party other root keys, by the word of the old ones and of all new ones."""
    from lotmark.state_rows import party_row

    old_keys = read_keys(roots, passphrase_file)
    new_keys = [read_or_make_key(each, passphrase_file, seal=seal) for each in new]
    with governing(client) as made:
        row = party_row(made.register, made.party)
        assert row is not None, "whoever calls is of a party"
        event = made.events.rotate_roots(
            made.party,
            generation=row.generation + 1,
            threshold=threshold,
            new=new_keys,
            old=old_keys,
        )
        (result,) = made.put([event])
        party = made.party
    terminal.answer(
        {"party": party, "index": result.index, "height": result.height},
        lambda: f"{party} has {len(new_keys)} root keys, of which {threshold} must sign",
        as_json=as_json,
    )


@app.command()
def invite(
    party: Annotated[str, typer.Argument(metavar="PARTY", help="Id it is to have, T2-CU-JX.")],
    *,
    role: Annotated[str, typer.Option(help="oem supplier laboratory site notary or regulator.")],
    client: ClientFile = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="[default: invite-PARTY.lotmark]")
    ] = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Write an invitation: chain, genesis and nodes, for `lotmark join`. It holds no secret."""
    from lotmark.client.connection import read_pinned_genesis
    from lotmark.client.settings import NodeAddress
    from lotmark.invitation import Invitation, parse_role
    from lotmark.key_file import write_new_file
    from lotmark.key_grant import check_party

    check_party(party)
    settings = read_settings(client)
    first = NodeAddress(
        party=settings.node_party, node=settings.node_name, address=settings.node_address
    )
    made = Invitation(
        party=party,
        role=parse_role(role),
        sponsor=settings.party,
        genesis=read_pinned_genesis(settings).to_json(),
        nodes=(first, *settings.other_nodes),
    )
    file = out or Path(f"invite-{party}.lotmark")
    write_new_file(file, made.encode(), mode=0o644)
    terminal.answer(
        {"file": str(file), "chain_id": made.chain_id.hex()},
        lambda: (
            f"{file}: send it to {party}, and the chain id by another way, to be compared:"
            f" {made.chain_id.hex()}"
        ),
        as_json=as_json,
    )
