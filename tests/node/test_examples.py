"""The example programs of the documents, run as they stand against a real node."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lotmark.client import read_client_settings
from lotmark.v1 import quality_pb2
from tests.node.ledger_in_memory import event, transformation
from tests.node.running_node import NodeProcess, node_process
from tests.node.submitting import submit_events

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
EXAMPLE_S = 60


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("examples") / "consortium"
    with node_process(folder, parties=["OEM-A:oem"], clients=["OEM-A/erp"]) as running:
        yield running


def run(
    node: NodeProcess, folder: Path, name: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # our own programs
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=EXAMPLE_S,
        check=False,
        env={**os.environ, "LOTMARK_CLIENT": str(node.client("OEM-A", "erp"))},
    )


def test_a_measurement_is_submitted_and_its_receipt_holds(
    node: NodeProcess, tmp_path: Path
) -> None:
    done = run(node, tmp_path, "submit_measurement.py", "7.998")
    (receipt,) = tmp_path.glob("entry-*.receipt")
    index = receipt.stem.removeprefix("entry-")
    checked = run(node, tmp_path, "check_receipt.py", index)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"entry {index} at height ")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.splitlines() == [
        f"entry {index}: measurement by OEM-A/erp",
        "under a checkpoint cosigned by OEM-A",
    ]


def test_a_value_that_the_ledger_would_refuse_is_not_submitted(
    node: NodeProcess, tmp_path: Path
) -> None:
    done = run(node, tmp_path, "submit_measurement.py", "8e0")

    assert done.returncode == 1
    assert done.stderr.startswith("not submitted: FIELD_INVALID: measurement.value '8e0'")
    assert not list(tmp_path.iterdir())


def test_many_stations_submit_at_the_same_time(node: NodeProcess, tmp_path: Path) -> None:
    done = run(node, tmp_path, "many_events.py", "6", "5")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("30 events are on the ledger, up to entry ")


def test_a_lot_is_followed_into_what_was_made_of_it(node: NodeProcess, tmp_path: Path) -> None:
    pack = event(
        aggregation=quality_pb2.Aggregation(action=quality_pb2.RELATION_ACTION_ADD),
        nonce="pack",
        items=[("BOX-1", 4), ("ST-1", 5), ("ST-2", 5)],
    )
    submit_events(
        read_client_settings(node.client("OEM-A", "erp")),
        [
            transformation("draw", ["LOT-1"], ["WIRE-1"]),
            transformation("wind", ["WIRE-1"], ["ST-1", "ST-2"]),
            transformation("wind", ["OTHER-1"], ["ST-9"]),
            pack,
        ],
    )
    done = run(node, tmp_path, "trace_lot.py", "LOT-1")
    lines = [line.partition("  (")[0] for line in done.stdout.splitlines()]

    assert (done.returncode, done.stderr) == (0, "")
    assert lines == ["LOT-1", "  WIRE-1", "    ST-1", "      BOX-1", "    ST-2"]


def test_every_example_is_run_here_and_named_in_the_document() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    here = Path(__file__).read_text()
    document = (EXAMPLES.parent / "client.md").read_text()

    assert len(names) >= 4
    for name in names:
        assert f'"{name}"' in here
        assert f"(examples/{name})" in document
