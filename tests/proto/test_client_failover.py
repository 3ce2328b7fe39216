"""A client of several nodes: it calls the first that answers, and no event counts twice for it."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from lotmark.client import connection
from lotmark.client.session import LedgerSession
from lotmark.client.settings import ClientSettings, NodeAddress, read_client_settings
from tests.node.running_node import NodeProcess, lotmark, node_process

PARTIES = ("OEM-A:oem", "T1-STATOR:supplier")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("failover") / "consortium"
    with node_process(folder, parties=PARTIES, clients=["T1-STATOR/mes"]) as running:
        yield running


def free_address() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def silent_address() -> Iterator[tuple[str, socket.socket]]:
    """Give an address where connections are taken and nothing is ever said."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}", listener


def own_node_at(node: NodeProcess, address: str) -> ClientSettings:
    """Return settings that name a node of the client's own party first, and then the real one."""
    settings = read_client_settings(node.client("T1-STATOR", "mes"))
    real = NodeAddress(party="OEM-A", node="n1", address=node.address)
    return replace(settings, node_party="T1-STATOR", node_address=address, other_nodes=(real,))


def test_where_the_first_node_is_down_the_next_one_is_called(node: NodeProcess) -> None:
    settings = own_node_at(node, free_address())
    with LedgerSession(settings) as session:
        position = session.ledger()

    assert position.node == "OEM-A/n1"
    assert session.settings == list(settings.each_node())[1]
    (reason,) = session.passed_over
    assert reason.startswith(
        f"T1-STATOR/n1 at {settings.node_address} cannot be reached: Connection refused"
    )


def test_where_the_first_node_answers_no_other_is_called(node: NodeProcess) -> None:
    settings = read_client_settings(node.client("T1-STATOR", "mes"))
    with silent_address() as (address, listener):
        other = NodeAddress(party="T1-STATOR", node="n1", address=address)
        with LedgerSession(replace(settings, other_nodes=(other,))) as session:
            assert session.ledger().node == "OEM-A/n1"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()

    assert session.passed_over == ()


def test_a_node_that_takes_the_call_and_says_nothing_is_passed_over(
    node: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 0.3)
    with (
        silent_address() as (address, _),
        LedgerSession(own_node_at(node, address)) as session,
    ):
        assert session.ledger().node == "OEM-A/n1"
    assert session.passed_over == (
        f"T1-STATOR/n1 at {address} did not answer within 0.3 s; try again",
    )


def test_whoever_is_not_the_named_node_is_passed_over(node: NodeProcess) -> None:
    with LedgerSession(own_node_at(node, node.address)) as session:
        assert session.ledger().node == "OEM-A/n1"
    (reason,) = session.passed_over
    assert "whoever answers there is not that node of this chain" in reason


def test_where_no_node_answers_each_is_named_with_why(node: NodeProcess) -> None:
    settings = own_node_at(node, free_address())
    gone = NodeAddress(party="OEM-A", node="n1", address=free_address())

    with pytest.raises(ConnectionError) as raised:
        LedgerSession(replace(settings, other_nodes=(gone,)))
    assert re.fullmatch(
        rf"none of 2 nodes can be called: T1-STATOR/n1 at {settings.node_address} cannot be .*; "
        rf"OEM-A/n1 at {gone.address} cannot be reached: .*",
        str(raised.value),
    )


def test_commands_call_the_next_node_and_the_status_of_a_node_is_its_own(
    node: NodeProcess,
) -> None:
    path = node.client("T1-STATOR", "mes").with_name("two-nodes.toml")
    first = f"127.0.0.1:{free_address().rpartition(':')[2]}"
    text = node.client("T1-STATOR", "mes").read_text()
    text = text.replace('node_party = "OEM-A"', 'node_party = "T1-STATOR"')
    text = text.replace(f'node_address = "{node.address}"', f'node_address = "{first}"')
    path.write_text(f'{text}\n[other_nodes]\n"OEM-A/n1" = "{node.address}"\n')

    head = lotmark("log", "head", "--json", "--as", str(path))
    status = lotmark("node", "status", "--as", str(path))

    assert (head.returncode, head.stderr) == (0, "")
    assert json.loads(head.stdout)["size"] >= 2
    assert (status.returncode, status.stdout) == (3, "")
    assert status.stderr.startswith(f"T1-STATOR/n1 at {first} cannot be reached: ")
