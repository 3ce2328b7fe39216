"""`lotmark doctor` in a network: peers, witnesses, and the journal that voters keep."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lotmark.genesis import chain_id as chain_id_of
from lotmark_consensus.raft.log_store import StoredEntry, Writes
from lotmark_consensus.raft.rocks_log import RocksLogStore
from lotmark_node.consortium.found import found_consortium
from lotmark_node.consortium.plan import make_plan
from lotmark_node.findings import Finding, Health
from lotmark_node.main import app
from lotmark_node.node_settings import read_node_settings
from lotmark_node.peer_checks import check_addresses

NOW_MS = 1_766_448_000_000  # 2025-12-23


def address_of(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    """Four sockets that take calls, and speak no TLS: of three voters and a witness."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(4)
        ]


@pytest.fixture
def settings_file(tmp_path: Path, listeners: list[socket.socket]) -> Path:
    """The first voter's settings in a network at the listeners' addresses."""
    nodes = [
        f"{party}/n1@{address_of(listener)}"
        for party, listener in zip(("OEM-A", "T1-STATOR", "T2-CU-JX"), listeners, strict=False)
    ]
    witness = f"LAB-17025/w1@{address_of(listeners[3])}"
    plan = make_plan("stator-line", (), nodes, (), [witness])
    found_consortium(tmp_path / "consortium", plan, now_ms=NOW_MS)
    listeners[0].close()  # the first voter's own: it does not run
    return tmp_path / "consortium/OEM-A/nodes/n1/node.toml"


def findings(settings_file: Path) -> list[Finding]:
    return list(check_addresses(read_node_settings(settings_file)))


def test_peers_and_witnesses_that_take_calls_are_good(
    settings_file: Path, listeners: list[socket.socket]
) -> None:
    addresses = ["", *(address_of(listener) for listener in listeners[1:])]

    assert findings(settings_file) == [
        Finding("peer", Health.GOOD, f"T1-STATOR/n1 takes calls at {addresses[1]}"),
        Finding("peer", Health.GOOD, f"T2-CU-JX/n1 takes calls at {addresses[2]}"),
        Finding("witness", Health.GOOD, f"LAB-17025/w1 takes calls at {addresses[3]}"),
    ]


def test_a_peer_that_does_not_answer_is_named_with_what_to_do(
    settings_file: Path, listeners: list[socket.socket]
) -> None:
    addresses = ["", *(address_of(listener) for listener in listeners[1:])]
    listeners[2].close()
    listeners[3].close()

    assert findings(settings_file)[1:] == [
        Finding(
            "peer",
            Health.WARNING,
            f"T2-CU-JX/n1 at {addresses[2]}: Connection refused; start it, let it through the"
            " firewall, or correct its line under [peers]",
        ),
        Finding(
            "witness",
            Health.WARNING,
            f"LAB-17025/w1 at {addresses[3]}: Connection refused; start it, let it through the"
            " firewall, or correct its line under [witnesses]",
        ),
    ]


def doctor(settings_file: Path, *arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Return the exit status, and health and text of each check; of several, the last."""
    command = ["doctor", "--node", str(settings_file), "--json", *arguments]
    done = CliRunner().invoke(app, command)
    document: dict[str, Any] = json.loads(done.stdout)
    checks = {each["check"]: (each["health"], each["text"]) for each in document["checks"]}
    return done.exit_code, checks


def test_a_node_of_a_network_is_healthy_while_a_peer_is_down(
    settings_file: Path, listeners: list[socket.socket]
) -> None:
    listeners[2].close()
    exit_code, checks = doctor(settings_file)

    assert exit_code == 0
    assert checks["voters"] == ("good", "3, each with its address")
    assert checks["peer"][0] == "warning"
    assert checks["witness"][0] == "good"
    assert checks["peer certificate"][0] == "warning", "who takes calls shows none"


def test_a_voter_without_an_address_is_bad(settings_file: Path) -> None:
    lines = settings_file.read_text().splitlines(keepends=True)
    settings_file.write_text("".join(line for line in lines if not line.startswith('"T2-CU-JX')))
    exit_code, checks = doctor(settings_file)

    assert exit_code == 1
    assert checks["voters"] == (
        "bad",
        "voter T2-CU-JX/n1 has no address in the settings of OEM-A/n1; add a line"
        ' "T2-CU-JX/n1" = "HOST:PORT" under [peers]',
    )


def log_of(settings_file: Path, *, entry_count: int) -> RocksLogStore:
    """Open a voter's journal, as it is when it has written entries and applied none."""
    settings = read_node_settings(settings_file)
    chain_id = chain_id_of(settings.genesis.read_bytes())
    log = RocksLogStore(settings.data / "journal", chain_id)
    entries = [StoredEntry(index, 1, bytes([1])) for index in range(1, entry_count + 1)]
    log.write(
        Writes(entries=entries, first_index=1, last_index=entry_count, term=1, vote=None, marks={})
    )
    return log


def test_the_journal_of_one_of_several_voters_is_read_as_what_it_is(settings_file: Path) -> None:
    log_of(settings_file, entry_count=3).close()
    exit_code, checks = doctor(settings_file)

    assert exit_code == 0
    assert checks["ledger"] == (
        "good",
        "height 0, 0 entries, and 3 entries of the order that it has not applied yet",
    )
    assert not list((settings_file.parent / "data" / "journal").glob("*.segment"))


def test_the_journal_of_a_running_voter_is_left_alone(settings_file: Path) -> None:
    log = log_of(settings_file, entry_count=1)
    try:
        exit_code, checks = doctor(settings_file)
    finally:
        log.close()

    assert exit_code == 0
    assert checks["ledger"] == (
        "unchecked",
        "in use by the running node; stop it to look into it",
    )


def test_a_voters_log_without_its_ledger_is_what_a_scrub_finds(settings_file: Path) -> None:
    log_of(settings_file, entry_count=1).close()
    exit_code, checks = doctor(settings_file, "--scrub")

    assert exit_code == 1
    assert checks["scrub"][0] == "bad"
    assert "the store is empty; move " in checks["scrub"][1]
    assert not list((settings_file.parent / "data" / "journal").glob("*.segment"))


def test_a_node_without_peers_calls_nobody(settings_file: Path) -> None:
    settings = read_node_settings(settings_file).model_copy(update={"peers": {}, "witnesses": {}})

    assert list(check_addresses(settings)) == []
