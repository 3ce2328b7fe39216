"""A client in another language, grpc-js, reads a trace over mTLS by the .proto files alone."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lotmark.certificates import tls_name
from lotmark_node.story.welds import STATOR
from tests.node.running_node import NodeProcess
from tests.node.story_on_a_node import WIRE, story_on_a_node
from tests.npm_packages import node_with_packages, run

FOLDER = Path(__file__).parent / "grpc_js"
PROTO_FOLDER = Path(__file__).parents[2] / "proto"
CALL_S = 20
PROGRAM_S = 60

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with story_on_a_node(tmp_path_factory.mktemp("grpc-js") / "consortium") as running:
        yield running


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Return Node.js and the folder of the program, its packages beside it."""
    folder = tmp_path_factory.mktemp("grpc-js-program")
    for file in FOLDER.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    return node_with_packages(folder), folder


@pytest.fixture
def ask(program: tuple[str, Path], ledger: NodeProcess, tmp_path: Path) -> Ask:
    node, folder = program

    def asked(method: str, *, client: str = "OEM-A/erp", **request: Any) -> Any:
        party, holder = client.split("/")
        own = ledger.folder / party / "clients" / holder
        question = tmp_path / "question.json"
        question.write_text(
            json.dumps(
                {
                    "proto_folder": str(PROTO_FOLDER),
                    "address": ledger.address,
                    "server_name": tls_name("OEM-A", "n1", ledger.chain_id),
                    "ca": str(ledger.folder / "OEM-A" / "ca" / "ca.pem"),
                    "certificate": str(own / "cert.pem"),
                    "key": str(own / "key.pem"),
                    "method": method,
                    "request": request,
                    "timeout_s": CALL_S,
                }
            )
        )
        done = run([node, "trace.mjs", str(question)], folder=folder, timeout_s=PROGRAM_S)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return asked


def test_grpc_js_reads_a_trace_back_to_the_wire_lot_and_its_report(ask: Ask) -> None:
    answer = ask(
        "TraceBack",
        item="ST2601120001234",
        kinds=["EDGE_KIND_CONSUMED", "EDGE_KIND_REPORTED", "EDGE_KIND_INFERRED"],
    )
    names = {each.get("number", 0): each["id"] for each in answer["nodes"]}
    links = {
        (names[each.get("from", 0)], each["kind"], names[each["to"]]): each
        for each in answer["edges"]
    }

    assert answer["error"] is None
    (head,) = answer["heads"]
    assert (head["item"], head["size"] > 200) == (STATOR, True)
    wire = links[STATOR, "EDGE_KIND_CONSUMED", WIRE]
    assert wire["quantity"] == {"value": "1.84", "unit": "KGM"}
    assert wire["party"] == "T1-STATOR"
    judged = links[STATOR, "EDGE_KIND_INFERRED", "model:weld-light/3"]
    assert (judged["event_count"], judged["nonconforming_count"]) == (192, 1)
    assert [far.partition(":")[0] for near, _, far in links if near == WIRE] == ["report"]


def test_grpc_js_is_told_what_is_wrong_as_every_client_is(ask: Ask) -> None:
    unknown = ask("TraceForward", item="NO-SUCH-LOT")["error"]
    malformed = ask("TraceForward", item="lot:1")["error"]

    assert unknown["status"] == "NOT_FOUND"
    assert "no event up to height" in unknown["details"]
    assert malformed["status"] == "INVALID_ARGUMENT"
