"""`lotmark model`: evaluated here, registered on a real node, promoted and taken back."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lotmark.client import Client, new_event
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_inference.manifest_file import dump_manifest, manifest_digest
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.weld_images import TRAINING_SEEDS
from lotmark_node.main import app
from tests.inference.sample_models import sample_manifest, tiny_onnx
from tests.node.running_node import NodeProcess, node_process

PARTIES = ("OEM-A:oem", "T1-STATOR:supplier")
CLIENTS = ("T1-STATOR/mes",)
STATION = "aoi-cam07"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("model") / "consortium"
    with node_process(folder, parties=PARTIES, clients=CLIENTS) as running:
        yield running


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the folder of a tiny model."""
    return written(tmp_path / "model")


def written(folder: Path, *, onnx: bytes | None = None, name: str = "weld-light") -> Path:
    folder.mkdir()
    raw = tiny_onnx() if onnx is None else onnx
    (folder / "model.onnx").write_bytes(raw)
    (folder / "manifest.json").write_bytes(dump_manifest(sample_manifest(raw, name=name)))
    return folder


def lotmark(*arguments: str | Path, node: NodeProcess | None = None) -> Result:
    environment = {"LOTMARK_CLIENT": str(node.client("T1-STATOR", "mes"))} if node else {}
    return CliRunner().invoke(app, ["model", *map(str, arguments)], env=environment)


def document(*arguments: str | Path, node: NodeProcess | None = None) -> dict[str, Any]:
    done = lotmark(*arguments, "--json", node=node)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def admit(node: NodeProcess, onnx: bytes) -> None:
    """Put on record that the gate let the tiny model pass."""
    digest = hashlib.sha256(onnx).digest()
    body = quality_pb2.ModelAdmitted(
        model="weld-light/1",
        engine_digest=digest,
        engine="onnxruntime-1.32.0",
        target="cpu",
        weights_digest=digest,
        report_digest=bytes(32),
        admitted=True,
    )
    event = new_event(
        body,
        device="gate",
        capture=event_pb2.CAPTURE_MODE_MANUAL,
        time=datetime.now(UTC),
        uncertainty_us=1_000,
    )
    with Client.open(node.client("T1-STATOR", "mes")) as client:
        client.submit(event).result(30)


def test_a_model_goes_from_registration_to_use_and_is_taken_back(
    node: NodeProcess, model: Path, tmp_path: Path
) -> None:
    onnx, folder = (model / "model.onnx").read_bytes(), ModelFolder(tmp_path / "registry")
    nothing = lotmark("status", node=node)
    document("register", model, "--registry", folder.path, node=node)
    again = lotmark("register", model, "--registry", folder.path, node=node)
    early = lotmark("promote", model, "--station", STATION, node=node)
    admit(node, onnx)
    document("promote", model, "--station", STATION, "--approval", "ab" * 32, node=node)
    used = document("status", node=node)
    said = lotmark("status", node=node)
    document("rollback", "weld-light/1", "--station", STATION, "--reason", "scratches", node=node)
    late = lotmark("rollback", "weld-light/1", "--station", STATION, "--reason", "x", node=node)

    assert "No models are registered yet" in nothing.output
    digest = manifest_digest(sample_manifest(onnx))
    assert folder.get(digest, what="manifest") == (model / "manifest.json").read_bytes()
    assert folder.get(hashlib.sha256(onnx).digest(), what="model") == onnx
    assert (again.exit_code, early.exit_code, late.exit_code) == (1, 1, 1)
    assert "weld-light/1 is registered already" in again.output
    assert "weld-light/1 is admitted on no engine" in early.output
    assert "not in use at aoi-cam07" in late.output
    assert used["registered"][0]["manifest_digest"] == digest.hex()
    assert used["in_use"][0]["station"] == STATION
    assert used["in_use"][0]["approvals"] == ["ab" * 32]
    assert f"weld-light/1          in use at {STATION}" in said.output
    assert document("status", node=node)["in_use"] == []


def test_events_of_another_party_are_not_taken_for_ours(node: NodeProcess) -> None:
    assert document("status", "--party", "OEM-A", node=node) == {
        "registered": [],
        "admitted": [],
        "in_use": [],
    }


def test_a_model_that_cannot_be_opened_is_not_registered(node: NodeProcess, tmp_path: Path) -> None:
    bad = written(tmp_path / "bad", onnx=tiny_onnx()[:-100], name="bad")

    done = lotmark("register", bad, "--registry", tmp_path / "registry", node=node)

    assert done.exit_code == 2
    assert "bad/1: ONNX Runtime cannot open it" in done.output
    assert not (tmp_path / "registry").exists()


def test_an_evaluation_tells_whole_numbers_and_the_same_for_the_same_seed(model: Path) -> None:
    first = document("evaluate", model, "--seed", "5", "--count", "40")
    again = document("evaluate", model, "--seed", "5", "--count", "40")
    fresh = document("evaluate", model, "--count", "1")

    assert first == again
    assert first["image_count"] == 40
    kinds = ("true_positive", "false_positive", "false_negative", "true_negative")
    assert sum(first[f"{kind}_count"] for kind in kinds) == 40
    assert sum(each["count"] for each in first["found"]) == (
        first["true_positive_count"] + first["false_negative_count"]
    )
    assert not any(isinstance(value, float) for value in first.values())
    assert fresh["seed"] >= 2**40


def test_an_evaluation_says_that_its_welds_are_synthetic(model: Path) -> None:
    assert "synthetic" in lotmark("evaluate", model, "--count", "2").output


@pytest.mark.parametrize("seed", [TRAINING_SEEDS.start, TRAINING_SEEDS.start - 3])
def test_seeds_that_models_learn_from_are_not_evaluated_on(model: Path, seed: int) -> None:
    done = lotmark("evaluate", model, "--seed", str(seed), "--count", "10")

    assert done.exit_code == 2
    assert "Models learn from seeds 1000000000 to" in done.output


def test_a_folder_without_model_says_what_belongs_there(tmp_path: Path) -> None:
    done = lotmark("evaluate", tmp_path)

    assert done.exit_code == 2
    assert "a model's folder holds manifest.json and model.onnx" in done.output
