"""`lotmark node`: it runs until it is told to stop, says why it cannot, and how it is."""

import io
import json
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lotmark_node.log_lines import JsonLines, PlainLines
from lotmark_node.main import app
from tests.node.running_node import PROGRAM, NodeProcess, lotmark, node_process

STOP_S = 20


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with node_process(tmp_path_factory.mktemp("node") / "consortium") as running:
        yield running


def ask(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["node", *arguments], env={"LOTMARK_CLIENT": "", **environment})


def test_a_node_says_one_line_when_it_is_ready_and_ends_well_at_ctrl_c(tmp_path: Path) -> None:
    founded = NodeProcess(tmp_path / "consortium")
    process = subprocess.Popen(  # noqa: S603  # our own program
        [*PROGRAM, "node", "run", str(founded.settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, logged = process.communicate(timeout=STOP_S)

    assert ready.startswith("OEM-A/n1 ready at 127.0.0.1:")
    assert ready.endswith(f", chain {founded.chain_id.hex()[:16]}…, height 0, 2 entries\n")
    assert (process.returncode, rest) == (0, "")
    assert [json.loads(line)["event"] for line in logged.splitlines()][-1] == "ledger stopped"


def test_a_program_gets_the_address_of_a_node_that_took_a_free_port(node: NodeProcess) -> None:
    assert node.ready["node"] == "OEM-A/n1"
    assert node.ready["chain_id"] == node.chain_id.hex()
    host, _, port = node.ready["address"].rpartition(":")
    assert (host, int(port) > 0) == ("127.0.0.1", True)


def asked(address: str, path: str) -> tuple[int, str]:
    connection = HTTPConnection(address, timeout=STOP_S)
    with closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_node_answers_monitoring_where_it_says(node: NodeProcess) -> None:
    address = node.ready["metrics"]

    assert asked(address, "/readyz") == (200, "ready\n")
    assert asked(address, "/healthz") == (200, "alive\n")
    status, text = asked(address, "/metrics")
    assert (status, 'lotmark_role{role="leader"} 1.0' in text) == (200, True)


def test_a_node_without_that_line_answers_no_monitoring(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "consortium", parties=["OEM-A:oem"])
    lines = node.settings.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("metrics_listen")]
    assert len(kept) == len(lines) - 1
    node.settings.write_text("".join(kept))
    node.start()
    node.stop()

    assert node.ready["metrics"] is None


def refusal(node: NodeProcess, **environment: str) -> str:
    """Start the node a second time, and return the one line that it ends with."""
    done = lotmark("node", "run", str(node.settings), **environment)

    assert done.returncode == 2, done
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_folder_that_another_node_holds_is_named_with_that_process(node: NodeProcess) -> None:
    assert node.process is not None
    assert refusal(node, LOTMARK_LISTEN="127.0.0.1:0") == (
        f"{node.data}/journal is held by process {node.process.pid}; stop that process, or give"
        " this one a folder of its own"
    )


def test_a_port_that_is_taken_is_named(node: NodeProcess, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        said = refusal(node, LOTMARK_LISTEN=address, LOTMARK_DATA=str(tmp_path / "data"))

    assert said.startswith(f"cannot listen at {address}: ")
    assert "is another node running there?" in said


def test_the_ledger_of_another_chain_is_refused(node: NodeProcess, tmp_path: Path) -> None:
    other = NodeProcess(tmp_path / "other")
    other.start()
    other.stop()
    said = refusal(node, LOTMARK_LISTEN="127.0.0.1:0", LOTMARK_DATA=str(other.data))

    assert f"belongs to chain {other.chain_id.hex()}, this node to {node.chain_id.hex()}" in said
    assert said.endswith("name the right folder")


def test_a_key_of_another_purpose_is_refused_and_its_file_named(
    node: NodeProcess, tmp_path: Path
) -> None:
    admit_key = node.settings.parent / "keys" / "admit.key"
    said = refusal(
        node,
        LOTMARK_LISTEN="127.0.0.1:0",
        LOTMARK_DATA=str(tmp_path / "data"),
        LOTMARK_LOG_KEY=str(admit_key),
    )

    assert said == (
        f"{admit_key}: the genesis gives OEM-A/n1 another key for log; name the right file"
    )


def test_a_node_tells_a_person_how_it_is(node: NodeProcess) -> None:
    done = ask("status", "--as", str(node.client()))
    first, ledger, checkpoint = done.stdout.splitlines()

    assert (done.exit_code, done.stderr) == (0, "")
    assert first == f"OEM-A/n1 at {node.address}  takes events"
    assert ledger.startswith("ledger      height 0, 2 entries, newest block ")
    assert checkpoint == "checkpoint  2 entries, on the word of one party (OEM-A)"


def test_a_node_tells_a_program_how_it_is(node: NodeProcess) -> None:
    done = ask("status", "--json", LOTMARK_CLIENT=str(node.client()))
    told = json.loads(done.stdout)

    assert (told["node"], told["takes_events"], told["size"]) == ("OEM-A/n1", True, 2)
    assert told["cosigned_by"] == ["OEM-A"]


def test_without_a_client_it_is_said_how_to_name_one() -> None:
    done = ask("status")

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "No client is named. Name its settings: --as CLIENT.toml, or set LOTMARK_CLIENT.\n"
    )


def test_a_node_that_does_not_run_is_not_reachable(tmp_path: Path) -> None:
    stopped = NodeProcess(tmp_path / "consortium")
    stopped.start()
    stopped.stop()
    done = lotmark("node", "status", "--as", str(stopped.client()))

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"OEM-A/n1 at {stopped.address} cannot be reached: Connection refused; is it running, and"
        " is its address in the client's settings right?\n"
    )


def logged(formatter: logging.Formatter) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("lotmark_node.engine")
    logger.addHandler(handler)
    logger.warning("follower fell behind", extra={"peer": "T1/n1", "path": Path("/data")})
    try:
        os.stat("/nowhere")  # noqa: PTH116
    except OSError:
        logger.exception("it failed")
    return stream.getvalue()


def test_a_log_for_programs_is_one_json_object_a_line_with_fields_and_traceback() -> None:
    warning, failure = (json.loads(line) for line in logged(JsonLines()).splitlines())

    assert warning.pop("time").endswith("+00:00")
    assert warning == {
        "level": "warning",
        "logger": "lotmark_node.engine",
        "event": "follower fell behind",
        "peer": "T1/n1",
        "path": "/data",
    }
    assert failure["traceback"].endswith("No such file or directory: '/nowhere'")


def test_a_log_for_people_says_phrase_and_fields() -> None:
    warning, failure, *traceback = logged(PlainLines()).splitlines()

    assert warning[8:] == " WARNING follower fell behind  peer=T1/n1  path=/data"
    assert failure[8:] == " ERROR it failed"
    assert traceback[-1].endswith("No such file or directory: '/nowhere'")
