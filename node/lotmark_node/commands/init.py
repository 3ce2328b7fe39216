"""`lotmark init`: founds a consortium in a folder."""

import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lotmark_node.consortium.found import Founded
    from lotmark_node.consortium.plan import ConsortiumPlan, PlannedNode, PlannedWitness

app = typer.Typer()


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
            help="A node that votes on the order; again for each. Without any, n1 of the first"
            " party at 127.0.0.1:7401.",
        ),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PARTY/NAME@HOST:PORT",
            help="A witness, which orders nothing and cosigns; again for each.",
        ),
    ] = None,
    network: Annotated[
        bool,
        typer.Option(
            "--network",
            help="The stator line with three voters and the laboratory's witness, at ports 7401 to"
            " 7404 of this machine.",
        ),
    ] = False,
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
    from lotmark_node.consortium.plan import NETWORK_NODES, NETWORK_WITNESSES, make_plan

    if network:
        if party or node or witness:
            terminal.fail(
                "--network names all parties, nodes and witnesses.",
                "Leave it out, or leave out --party, --node and --witness.",
            )
        node, witness = list(NETWORK_NODES), list(NETWORK_WITNESSES)
    plan = make_plan(consortium, party or (), node or (), client or (), witness or ())
    founded = found_consortium(folder, plan, now_ms=time.time_ns() // 1_000_000)
    next_commands = _next_commands(folder, plan)
    terminal.answer(
        {
            "consortium": plan.name,
            "chain_id": founded.chain_id.hex(),
            "folder": str(folder),
            "parties": _parties(folder, plan),
            "next": next_commands[0],
        },
        lambda: _text(founded, plan, next_commands),
        as_json=as_json,
    )


def _node_settings(folder: Path, node: "PlannedNode") -> Path:
    return folder / node.party / "nodes" / node.name / "node.toml"


def _witness_settings(folder: Path, witness: "PlannedWitness") -> Path:
    return folder / witness.party / "witnesses" / witness.name / "witness.toml"


def _next_commands(folder: Path, plan: "ConsortiumPlan") -> list[str]:
    """Return what starts every node and witness, the first node first."""
    settings = [("node", _node_settings(folder, node)) for node in plan.nodes]
    settings += [("witness", _witness_settings(folder, witness)) for witness in plan.witnesses]
    return [f"lotmark {kind} run {quote(str(path))}" for kind, path in settings]


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
                    "settings": str(_node_settings(folder, node)),
                }
                for node in plan.nodes
                if node.party == party.id
            ],
            "witnesses": [
                {
                    "name": witness.name,
                    "address": witness.address,
                    "settings": str(_witness_settings(folder, witness)),
                }
                for witness in plan.witnesses
                if witness.party == party.id
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


def _text(founded: "Founded", plan: "ConsortiumPlan", next_commands: "Sequence[str]") -> str:
    width = max(len(party.id) for party in plan.parties)
    lines = [
        f'Consortium "{plan.name}" in {founded.folder}',
        f"chain id {founded.chain_id.hex()}",
        "",
    ]
    for party in plan.parties:
        names = [f"{node.name}@{node.address}" for node in plan.nodes if node.party == party.id]
        names += [
            f"witness {witness.name}@{witness.address}"
            for witness in plan.witnesses
            if witness.party == party.id
        ]
        names += [client.holder for client in plan.clients if client.party == party.id]
        lines.append(f"  {party.id:<{width}}  {party.role.name.lower():<10}  {', '.join(names)}")
    lines += [
        "",
        "Each party needs its folder, with genesis.json and acceptances.json beside it, and the",
        "chain id by a way it trusts.",
        "All private keys were made here: hand the folders out, then delete them.",
    ]
    if len(next_commands) == 1:
        return "\n".join([*lines, f"Next: {next_commands[0]}"])
    return "\n".join([*lines, "Next:", *(f"  {command}" for command in next_commands)])
