"""`lotmark init`: founds a consortium in a folder."""

import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal

if TYPE_CHECKING:
    from lotmark_node.consortium.found import Founded
    from lotmark_node.consortium.plan import ConsortiumPlan

app = typer.Typer()

NODES_MAX = 1  # nodes do not yet agree on an order among themselves


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to; must be empty or not exist.")],
    *,
    consortium: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the consortium: a-z, 0-9, . and -")
    ] = "stator-line",
    party: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID:ROLE[:K/N]",
            help="A party, such as T2-CU-JX:supplier; by 2/3, two of its three root keys speak"
            " for it. Again for each; without any, the four of a stator line.",
        ),
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PARTY/NAME@HOST:PORT",
            help="The node that orders. Without it, n1 of the first party at 127.0.0.1:7401.",
        ),
    ] = None,
    client: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PARTY/NAME[:TYPE,...]",
            help="A system that signs events, of these types or of all.",
        ),
    ] = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Found a consortium: make all keys, certificates and settings.

    Every private key is made here, so use it for a trial, or hand out the folders and delete them.
    """
    from lotmark_node.consortium.found import found_consortium
    from lotmark_node.consortium.plan import make_plan

    plan = make_plan(consortium, party or (), node or (), client or ())
    if len(plan.nodes) > NODES_MAX:
        terminal.fail(
            f"{len(plan.nodes)} nodes are planned, but in this version one node orders, and a"
            " consortium of more could not start.",
            "Give --node once.",
        )
    founded = found_consortium(folder, plan, now_ms=time.time_ns() // 1_000_000)
    next_command = f"lotmark node run {quote(str(_node_settings(folder, plan)))}"
    terminal.answer(
        {
            "consortium": plan.name,
            "chain_id": founded.chain_id.hex(),
            "folder": str(folder),
            "parties": _parties(folder, plan),
            "next": next_command,
        },
        lambda: _text(founded, plan, next_command),
        as_json=as_json,
    )


def _node_settings(folder: Path, plan: "ConsortiumPlan") -> Path:
    first = plan.nodes[0]
    return folder / first.party / "nodes" / first.name / "node.toml"


def _parties(folder: Path, plan: "ConsortiumPlan") -> list[dict[str, object]]:
    """List who got what, with the settings files, for programs."""
    return [
        {
            "id": party.id,
            "role": party.role.name.lower(),
            "nodes": [
                {
                    "name": node.name,
                    "address": node.address,
                    "settings": str(folder / party.id / "nodes" / node.name / "node.toml"),
                }
                for node in plan.nodes
                if node.party == party.id
            ],
            "clients": [
                {
                    "holder": client.holder,
                    "settings": str(folder / party.id / "clients" / client.holder / "client.toml"),
                }
                for client in plan.clients
                if client.party == party.id
            ],
        }
        for party in plan.parties
    ]


def _text(founded: "Founded", plan: "ConsortiumPlan", next_command: str) -> str:
    width = max(len(party.id) for party in plan.parties)
    lines = [
        f'Consortium "{plan.name}" in {founded.folder}',
        f"chain id {founded.chain_id.hex()}",
        "",
    ]
    for party in plan.parties:
        names = [f"{node.name}@{node.address}" for node in plan.nodes if node.party == party.id]
        names += [client.holder for client in plan.clients if client.party == party.id]
        lines.append(f"  {party.id:<{width}}  {party.role.name.lower():<10}  {', '.join(names)}")
    lines += [
        "",
        "Each party needs its folder, with genesis.json and acceptances.json beside it, and the",
        "chain id by a way it trusts.",
        "All private keys were made here: hand the folders out, then delete them.",
        f"Next: {next_command}",
    ]
    return "\n".join(lines)
