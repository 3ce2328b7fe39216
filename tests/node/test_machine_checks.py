"""`lotmark doctor` looks at the machine, at who listens where, and at others' certificates."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lotmark.client.clock import KernelClock
from lotmark_node import machine_checks
from lotmark_node.consortium.found import found_consortium
from lotmark_node.consortium.plan import make_plan
from lotmark_node.findings import Health
from lotmark_node.machine_checks import clock_finding
from lotmark_node.main import app
from lotmark_node.trial.network import TrialNetwork, free_address
from tests.node.ledger_in_memory import measurement
from tests.node.running_node import NodeProcess
from tests.node.submitting import submit_events

DAY_MS = 86_400_000


def doctor(settings_file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", "--node", str(settings_file), "--json", *arguments])


def found(done: Result, check: str) -> list[dict[str, Any]]:
    return [each for each in json.loads(done.stdout)["checks"] if each["check"] == check]


def clock(*, is_synchronised: bool = True, error_max_us: int = 900) -> KernelClock:
    return KernelClock(is_synchronised, error_max_us)


@pytest.mark.parametrize(
    ("asked", "health", "words"),
    [
        (clock(), Health.GOOD, "kept within 0.9 ms"),
        (clock(error_max_us=10_001), Health.NOTICE, "a nearer time server"),
        (clock(is_synchronised=False), Health.WARNING, "run chrony or another NTP daemon"),
        (None, Health.UNCHECKED, "the kernel tells nothing"),
    ],
)
def test_the_kernels_word_on_the_clock_decides(
    asked: KernelClock | None, health: Health, words: str
) -> None:
    finding = clock_finding(asked)

    assert (finding.health, words in finding.text) == (health, True)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> NodeProcess:
    return NodeProcess(tmp_path_factory.mktemp("machine") / "consortium", parties=["OEM-A:oem"])


def test_a_slow_disk_is_told(stopped: NodeProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {}
    for p99_ms in (1.0, 51.0, 501.0):
        monkeypatch.setattr(machine_checks, "fdatasync_p99_ms", lambda _data, it=p99_ms: it)
        (finding,) = found(doctor(stopped.settings), "disk")
        told[p99_ms] = finding["health"]

    assert told == {1.0: "good", 51.0: "notice", 501.0: "warning"}
    assert [path.name for path in stopped.data.iterdir()] == [], "the probe is taken away"


def test_a_library_that_decides_bytes_must_be_the_pinned_one(
    stopped: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_checks, "requires", lambda _name: ["blake3==0.0.1", "rich>=15"])
    done = doctor(stopped.settings)
    bad, _ = found(done, "versions")

    assert (done.exit_code, bad["health"]) == (1, "bad")
    assert bad["text"].endswith("but bytes depend on 0.0.1: pip install 'blake3==0.0.1'")


def set_line(settings: Path, key: str, value: str) -> None:
    lines = settings.read_text().splitlines()
    changed = [f'{key} = "{value}"' if line.startswith(f"{key} ") else line for line in lines]
    assert changed != lines
    settings.write_text("\n".join(changed) + "\n")


def test_a_port_that_another_process_holds_is_bad(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "consortium", parties=["OEM-A:oem"])
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        set_line(node.settings, "listen", address)
        done = doctor(node.settings)

    (port,) = found(done, "port")
    assert (done.exit_code, port["health"]) == (1, "bad")
    assert port["text"] == f"another process listens at {address}: stop it, or change listen"


def test_an_address_of_another_machine_is_bad(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "consortium", parties=["OEM-A:oem"])
    set_line(node.settings, "listen", "192.0.2.7:7401")
    (port,) = found(doctor(node.settings), "port")

    assert port["health"] == "bad"
    assert port["text"].endswith("name an address of this machine in listen")


def test_a_running_node_is_found_at_its_port_and_its_metrics(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "consortium", parties=["OEM-A:oem"])
    set_line(node.settings, "listen", free_address())
    set_line(node.settings, "metrics_listen", free_address())
    node.start()
    try:
        done = doctor(node.settings, "--client", str(node.client("OEM-A", "erp")))
    finally:
        node.stop()

    assert done.exit_code == 0, done.stdout
    assert found(done, "port")[0]["text"] == f"OEM-A/n1 takes calls at {node.address}"
    assert found(done, "metrics")[0]["text"].endswith(": ready")
    assert found(done, "client")[0]["text"].startswith("certificate of OEM-A/erp, valid until ")


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialNetwork]:
    voters = [f"{party}/n1@{free_address()}" for party in ("OEM-A", "T1-STATOR", "T2-CU-JX")]
    plan = make_plan("asked", [], voters, ["OEM-A/erp"], [f"LAB-17025/w1@{free_address()}"])
    network = TrialNetwork(tmp_path / "consortium", plan)
    try:
        network.start()
        yield network
    finally:
        network.stop()


def test_certificates_of_peers_and_witnesses_are_asked_for_and_a_voter_is_scrubbed(
    trial: TrialNetwork,
) -> None:
    client = trial.client_settings("OEM-A/erp")
    trial.leader(client)
    asked = trial.voters["OEM-A/n1"]
    submit_events(client, [measurement(1)])
    final = trial.node_settings("OEM-A/n1").parent / "data/final-checkpoint"
    until(final.exists)
    asked.stop()
    ended = CliRunner().invoke(
        app,
        ["key", "renew-cert", str(trial.node_settings("T1-STATOR/n1")), "--days", "5"],
    )
    assert ended.exit_code == 0, ended.output
    until(lambda: trial.voters["T1-STATOR/n1"].logged("certificate renewed") is not None)

    done = doctor(trial.node_settings("OEM-A/n1"), "--scrub")

    assert done.exit_code == 0, done.stdout
    peers = found(done, "peer certificate")
    assert [peer["health"] for peer in peers] == ["warning", "good"]
    assert peers[0]["text"].startswith("of T1-STATOR/n1, ends in 4 days (")
    assert peers[0]["text"].endswith("its party renews it: lotmark key renew-cert now")
    (witness,) = found(done, "witness certificate")
    assert (witness["health"], witness["text"][:18]) == ("good", "of LAB-17025/w1, v")
    (scrub,) = found(done, "scrub")
    assert (scrub["health"], scrub["text"][:10]) == ("good", "as written")
    (checkpoint,) = found(done, "checkpoint")
    assert checkpoint["health"] == "good"


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end_s, "it never came about"
        time.sleep(0.05)  # another process's state, which nothing announces


@pytest.mark.parametrize(
    ("days_on", "health"),
    [(0, "good"), (660, "notice"), (710, "warning"), (727, "warning"), (740, "bad")],
)
def test_a_clients_certificate_is_told_the_louder_the_nearer_its_end_is(
    tmp_path: Path, days_on: int, health: str
) -> None:
    now_ms = time.time_ns() // 1_000_000 - days_on * DAY_MS
    plan = make_plan("clients", ["OEM-A:oem"], ["OEM-A/n1@127.0.0.1:7401"], ["OEM-A/erp"])
    found_consortium(tmp_path / "consortium", plan, now_ms=now_ms)
    folder = tmp_path / "consortium/OEM-A"
    done = doctor(
        folder / "nodes/n1/node.toml", "--client", str(folder / "clients/erp/client.toml")
    )

    (client,) = found(done, "client")
    assert client["health"] == health
