"""`lotmark node`: runs a node, and asks how one is."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands import _api_keys
from lotmark_node.commands._chain_id import ChainIdOption, parse_chain_id
from lotmark_node.commands._client import ClientFile, reading, silence_grpc

if TYPE_CHECKING:
    from lotmark.client.session import LedgerSession
    from lotmark_node.compose import RunningNode

app = typer.Typer(help="Run a node, and ask how one is.")
app.add_typer(_api_keys.app, name="api-key")

HEALTH_S = 15.0

SettingsFile = Annotated[
    Path, typer.Argument(metavar="NODE.toml", help="The node's settings, as `lotmark init` wrote.")
]


@app.command()
def run(settings_file: SettingsFile, *, as_json: terminal.JsonFlag = False) -> None:
    """Run a node until it gets SIGTERM or Ctrl-C.

    Prints one line when it takes calls. Logs go to the standard error, as JSON lines where that is
    no terminal.
    """
    silence_grpc()
    from lotmark.errors import ProtocolError
    from lotmark_node.compose import run_node
    from lotmark_node.log_lines import configure_logging
    from lotmark_node.node_settings import read_node_settings

    def tell(node: "RunningNode") -> None:
        terminal.answer(
            {
                "ready": True,
                "node": node.name,
                "chain_id": node.chain_id.hex(),
                "address": f"{node.host}:{node.port}",
                "height": node.height,
                "size": node.size,
                "metrics": node.metrics,
                "http": node.http,
            },
            lambda: (
                f"{node.name} ready at {node.host}:{node.port}, chain {node.chain_id.hex()[:16]}…,"
                f" height {node.height}, {node.size} entries"
                + (f", HTTP at {node.http}" if node.http else "")
            ),
            as_json=as_json,
        )

    configure_logging()
    try:
        asyncio.run(run_node(read_node_settings(settings_file), tell))
    except ProtocolError as error:
        # Also a key that is not this node's: nobody asked a question that "no" would answer.
        terminal.fail(str(error))


@app.command()
def status(*, client: ClientFile = None, as_json: terminal.JsonFlag = False) -> None:
    """Ask the client's node how it is. Exit status 1: it answers, but takes no events."""
    with reading(client, first_node_only=True) as session:
        began_s = time.monotonic()
        position = session.ledger()
        answer_ms = (time.monotonic() - began_s) * 1_000
        takes_events = _takes_events(session)
        checkpoint = session.checkpoint()
    age_s = time.time_ns() // 1_000_000_000 - position.time_ms // 1_000
    document = {
        "node": position.node,
        "address": session.settings.node_address,
        "takes_events": takes_events,
        "answer_ms": round(answer_ms, 1),
        "height": position.height,
        "size": position.size,
        "time_ms": position.time_ms,
        "checkpoint_size": checkpoint.size,
        "final": checkpoint.findings.is_final,
        "cosigned_by": checkpoint.findings.parties,
    }
    how = "takes events" if takes_events else "TAKES NO EVENTS: its log says why; then restart it"
    terminal.answer(
        document,
        lambda: (
            f"{position.node} at {session.settings.node_address}  {how}\n"
            f"ledger      height {position.height}, {position.size} entries, newest block"
            f" {max(age_s, 0)} s ago\n"
            f"checkpoint  {checkpoint.size} entries, {checkpoint.findings.standing}"
        ),
        as_json=as_json,
    )
    if not takes_events:
        raise typer.Exit(terminal.ExitCode.NO)


def _takes_events(session: "LedgerSession") -> bool:
    """Ask the node's health service; it goes on answering questions when its ledger has failed."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from lotmark.client.calls import node_errors
    from lotmark.client.connection import open_channel
    from lotmark.v1 import ledger_pb2

    service = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name
    place = session.settings.node_address
    with open_channel(session.settings) as channel, node_errors(place, HEALTH_S):
        told = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]  # untyped
            health_pb2.HealthCheckRequest(service=service), timeout=HEALTH_S
        )
    return bool(told.status == health_pb2.HealthCheckResponse.SERVING)


@app.command()
def recover(
    settings_file: SettingsFile,
    lost: Annotated[
        list[str],
        typer.Option(metavar="PARTY/NODE", help="A voter that is gone for ever; again for each."),
    ],
    *,
    gone_for_ever: Annotated[
        bool,
        typer.Option(
            "--gone-for-ever", help="You have made sure that their disks will never be started."
        ),
    ] = False,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Strike lost voters from a stopped node's order, so that those left are a quorum again.

    Use it where so many voters are lost for ever that nothing is ordered any more. If a lost voter
    ever starts again, the chain forks, and everybody who compares checkpoints sees it. Checkpoints
    become final again only when enough parties cosign; until then receipts are durable only.
    """
    from lotmark.genesis import chain_id
    from lotmark_consensus.errors import ConsensusError
    from lotmark_consensus.raft.recovery import strike_voters
    from lotmark_consensus.raft.rocks_log import RocksLogStore
    from lotmark_node.compose import read_consortium
    from lotmark_node.node_settings import read_node_settings

    if not gone_for_ever:
        terminal.fail(
            f"Nothing was changed: if {' or '.join(lost)} ever starts again, the chain forks.",
            "Destroy their data folders, then add --gone-for-ever.",
        )
    settings = read_node_settings(settings_file)
    genesis, _ = read_consortium(settings)
    pinned = chain_id(genesis.to_json())
    try:
        store = RocksLogStore(settings.data / "journal", pinned)
        try:
            left = strike_voters(
                store,
                name=settings.name,
                initial_voters=frozenset(f"{voter.party}/{voter.node}" for voter in genesis.voters),
                lost=lost,
            )
        finally:
            store.close()
    except ConsensusError as error:
        terminal.fail(f"{error}.", "Stop the node first, and name voters of the genesis.")
    terminal.answer(
        {"voters": sorted(left)},
        lambda: f"The voters are {', '.join(sorted(left))} now. Start {settings.name} again.",
        as_json=as_json,
    )


@app.command()
def backup(
    settings_file: SettingsFile,
    folder: Annotated[Path, typer.Argument(help="Where to: a folder that is new or empty.")],
    *,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Keep a running node's ledger, verified, with its evidence and settings.

    Keys are not in it, and no node can be started from it: it is for reading, proving and auditing.
    A node moves to another machine by its whole folder: docs/operations.md.
    """
    silence_grpc()
    from lotmark.errors import ProtocolError
    from lotmark_node.backup import back_up
    from lotmark_node.node_settings import read_node_settings

    settings = read_node_settings(settings_file)
    try:
        made = back_up(settings_file, settings, folder, now_ms=time.time_ns() // 1_000_000)
    except ProtocolError as error:
        terminal.fail(f"{error}.")
    terminal.answer(
        {"folder": str(folder), "node": made.node, "size": made.size, "chain_id": made.chain_id},
        lambda: (
            f"{folder}: {made.node}, {made.size} entries, verified\n"
            f"Check it where it is kept: lotmark node restore {folder} FOLDER --chain-id"
            f" {made.chain_id}"
        ),
        as_json=as_json,
    )


@app.command()
def restore(
    backup_folder: Annotated[Path, typer.Argument(metavar="BACKUP", help="What backup wrote.")],
    folder: Annotated[Path, typer.Argument(help="Where to: a folder that is new or empty.")],
    *,
    chain_id: ChainIdOption,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Check a backup to the last entry, and lay out what is in it for reading.

    It gives no node back: one that starts with less than it has shown contradicts itself, and its
    receipts convict it. A voter whose disk is lost stays away: no other can take its place yet.
    """
    from lotmark.errors import ProtocolError
    from lotmark_node.backup import restore as restore_backup

    try:
        found = restore_backup(backup_folder, folder, parse_chain_id(chain_id))
    except ProtocolError as error:
        terminal.fail(f"{error}.")
    terminal.answer(
        {"folder": str(folder), "node": found.node, "size": found.size},
        lambda: (
            f"{folder}: {found.size} entries, verified, and what {found.node} kept beside them."
            f" No node starts from it: {found.node} had signed a tree of {found.signed_size}"
            " entries then, and may have signed larger ones since"
        ),
        as_json=as_json,
    )
