"""`lotmark network`: where the nodes of a consortium stand; and all of a trial's nodes run here."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, read_settings
from lotmark_node.commands._network_status import NodeRole, NodeStanding, show

if TYPE_CHECKING:
    from lotmark.client.settings import ClientSettings
    from lotmark.v1 import ledger_pb2

app = typer.Typer()

ANSWER_S = 3.0
DAY_MS = 86_400_000
CALLS_MAX = 16  # nodes that are asked at once


@app.callback()
def network() -> None:
    """Where the nodes of the consortium stand; run a trial's."""


@app.command()
def status(client: ClientFile = None, *, as_json: terminal.JsonFlag = False) -> None:
    """Ask every node that the client's settings name how it and its part of the order fare.

    Exit status 0 while one of them leads, 1 while none does, 3 where none answers.
    """
    settings = read_settings(client)
    show(lambda: survey(settings), as_json=as_json)


@app.command()
def run(
    folder: Annotated[
        Path, typer.Argument(help="With every party's nodes, as `init` and `demo` make it.")
    ],
    *,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Run all nodes and witnesses of a trial on this machine, until Ctrl-C or SIGTERM.

    In earnest, each party runs its own: `lotmark node run`.
    """
    from lotmark_node.trial.network import servers_in, start_all, stop_all
    from lotmark_node.trial.server_process import ServerFailed

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())  # no node shall be left behind
    try:
        servers = servers_in(folder)
        try:
            start_all(servers)
            names = [server.name for server in servers]
            terminal.answer(
                {"running": names},
                lambda: f"{', '.join(names)} run; Ctrl-C ends them",
                as_json=as_json,
            )
            stop.wait()
        finally:
            ended = stop_all(servers)
    except ServerFailed as error:
        terminal.fail(str(error))
    bad = sorted(name for name, status in ended.items() if status)
    if bad:
        terminal.fail(f"Ended badly: {', '.join(bad)}.", "Their logs stand beside their settings.")


def survey(settings: "ClientSettings") -> list[NodeStanding]:
    """Return where each node of a client stands, in the order of the settings."""
    nodes = list(settings.each_node())
    with ThreadPoolExecutor(CALLS_MAX) as pool:
        answers = list(pool.map(_ask, nodes))
    last_index = max(
        (status.last_index for status in answers if not isinstance(status, str)), default=0
    )
    return [
        _standing(node, answer, last_index) for node, answer in zip(nodes, answers, strict=True)
    ]


def _ask(node: "ClientSettings") -> "ledger_pb2.GetNodeStatusResponse | str":
    """Return what a node tells, or why it does not."""
    from lotmark.client.calls import node_errors
    from lotmark.client.connection import open_channel, place
    from lotmark.v1 import ledger_pb2, ledger_pb2_grpc

    with open_channel(node) as channel:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        try:
            with node_errors(place(node), ANSWER_S):
                return stub.GetNodeStatus(ledger_pb2.GetNodeStatusRequest(), timeout=ANSWER_S)
        except (ConnectionError, TimeoutError) as error:
            return str(error)


def _standing(
    node: "ClientSettings", answer: "ledger_pb2.GetNodeStatusResponse | str", last_index: int
) -> NodeStanding:
    name = f"{node.node_party}/{node.node_name}"
    if isinstance(answer, str):
        return NodeStanding(name=name, address=node.node_address, reachable=False, problem=answer)
    now_ms = time.time_ns() // 1_000_000
    return NodeStanding(
        name=name,
        address=node.node_address,
        reachable=True,
        role=NodeRole(answer.role),
        term=answer.term,
        last_index=answer.last_index,
        committed_index=answer.committed_index,
        applied_index=answer.applied_index,
        lag_entries=last_index - answer.applied_index,
        height=answer.height,
        size=answer.size,
        signed_size=answer.signed_size,
        final_size=answer.final_size,
        certificate_days=(answer.certificate_not_after_ms - now_ms) // DAY_MS,
        clock_offset_ms=answer.now_ms - now_ms,
        problem=answer.closed,
    )
