"""`lotmark model`: evaluated here, registered on a real node, promoted and taken back."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lotmark.client import Client, LedgerSession, new_event
from lotmark.client.new_event import EventBody
from lotmark.client.settings import read_client_settings
from lotmark.ed25519 import PrivateKey
from lotmark.key_file import read_key_file
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_inference.manifest_file import dump_manifest, manifest_digest
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.model_metadata import metadata_of
from lotmark_inference.weld_images import TRAINING_SEEDS
from lotmark_node import terminal
from lotmark_node.main import app
from tests.inference.sample_models import sample_manifest, tiny_onnx
from tests.node.running_node import NodeProcess, node_process
from tests.node.test_commands_operator import Console

PARTIES = ("OEM-A:oem", "T1-STATOR:supplier")
CLIENTS = ("OEM-A/erp", "T1-STATOR/mes")
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


def written(
    folder: Path,
    *,
    onnx: bytes | None = None,
    name: str = "weld-light",
    key: PrivateKey | None = None,
) -> Path:
    folder.mkdir()
    raw = tiny_onnx() if onnx is None else onnx
    (folder / "model.onnx").write_bytes(raw)
    (folder / "manifest.json").write_bytes(dump_manifest(sample_manifest(raw, name=name), key))
    return folder


def lotmark(*arguments: str | Path, node: NodeProcess | None = None) -> Result:
    environment = {"LOTMARK_CLIENT": str(node.client("T1-STATOR", "mes"))} if node else {}
    return CliRunner().invoke(app, ["model", *map(str, arguments)], env=environment)


def document(*arguments: str | Path, node: NodeProcess | None = None) -> dict[str, Any]:
    done = lotmark(*arguments, "--json", node=node)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def admit(node: NodeProcess, onnx: bytes, *, is_admitted: bool = True, target: str = "cpu") -> None:
    """Put on record that the gate let the tiny model pass, or not."""
    digest = hashlib.sha256(onnx).digest()
    body = quality_pb2.ModelAdmitted(
        model="weld-light/1",
        engine_digest=digest,
        engine="onnxruntime-1.32.0",
        target=target,
        weights_digest=digest,
        report_digest=bytes(32),
        admitted=is_admitted,
    )
    put_on_record(node, body)


def put_on_record(node: NodeProcess, body: EventBody) -> None:
    """Put an event on the ledger past the command line."""
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
    registered = document("register", model, "--registry", folder.path, node=node)
    again = lotmark("register", model, "--registry", folder.path, node=node)
    early = lotmark("promote", model, "--station", STATION, node=node)
    admit(node, onnx)
    document("promote", model, "--station", "bare", node=node)
    console = Console(node, tmp_path, "approver", role="quality-manager")
    console.register("approve", "review")
    approval = console.sign(registered["event_id"], "approve")
    promotion = ("promote", model, "--station", STATION, "--bias-audit", "QA-2026-118")
    document(*promotion, "--approval", approval, node=node)
    used = document("status", node=node)
    said = lotmark("status", node=node)
    document("rollback", "weld-light/1", "--station", STATION, "--reason", "scratches", node=node)
    late = lotmark("rollback", "weld-light/1", "--station", STATION, "--reason", "x", node=node)

    assert "No models of T1-STATOR are registered yet" in nothing.output
    digest = manifest_digest(sample_manifest(onnx))
    kept = folder.manifest(digest, what="manifest")
    key = read_key_file(read_client_settings(node.client("T1-STATOR", "mes")).batch_key)
    assert (kept.manifest, kept.signed_by) == (sample_manifest(onnx), key.public)
    assert folder.get(hashlib.sha256(onnx).digest(), what="model") == onnx
    assert (again.exit_code, early.exit_code, late.exit_code) == (1, 1, 1)
    assert "weld-light/1 is registered already" in again.output
    assert "weld-light/1 is admitted on no engine" in early.output
    assert "not in use at aoi-cam07" in late.output
    assert used["registered"][0]["manifest_digest"] == digest.hex()
    bare, approved = used["in_use"]
    assert (bare["station"], approved["station"]) == ("bare", STATION)
    assert (bare["approvals"], bare["bias_audit"]) == ([], None)
    assert approved["approvals"] == [{"event_id": approval, "why_not": ""}]
    assert approved["bias_audit"] == "QA-2026-118"
    assert f"in use at {STATION} since entry {approved['index']}, approved by 1 operator," in (
        " ".join(said.output.split())
    )
    assert "approved by no operators, no bias audit" in said.output
    assert "bias audit QA-2026-118" in said.output
    (only,) = document("status", node=node)["in_use"]
    assert only["station"] == "bare"


def test_counts_of_another_manifest_than_the_registered_one_are_not_promoted(
    node: NodeProcess, model: Path, tmp_path: Path
) -> None:
    ready(node, model, tmp_path)
    onnx = (model / "model.onnx").read_bytes()
    manifest = sample_manifest(onnx)
    better = replace(manifest.evaluation, true_positives=999_999, true_negatives=999_999)
    made_up = tmp_path / "made-up"
    made_up.mkdir()
    (made_up / "model.onnx").write_bytes(onnx)
    (made_up / "manifest.json").write_bytes(dump_manifest(replace(manifest, evaluation=better)))

    done = lotmark("promote", made_up, "--station", "made-up", node=node)

    assert done.exit_code == 1
    assert f"registered with manifest {manifest_digest(manifest).hex()}" in done.output
    assert "made-up" not in lotmark("status", node=node).output


def test_what_is_no_approval_of_the_model_does_not_count(
    node: NodeProcess, model: Path, tmp_path: Path
) -> None:
    registered = ready(node, model, tmp_path)
    console = Console(node, tmp_path, "second", role="quality-manager")
    console.register("approve", "review")
    first = console.sign(registered, "approve")
    for approvals, said in (
        (["00" * 32], f"event {'00' * 32} is not on the ledger"),
        ([registered], "is model_registered, no operator's signature"),
        ([console.sign(registered, "review")], "another meaning than approve"),
        ([console.sign(first, "approve")], f"is about event {first}, not about entry"),
        ([first, console.sign(registered, "approve")], "is of one who approved it"),
        (["12"], "12 is an index"),
    ):
        named = [part for each in approvals for part in ("--approval", each)]
        done = lotmark("promote", model, "--station", "unapproved", *named, node=node)

        assert done.exit_code in (1, 2)
        assert said in done.output
    assert "unapproved" not in lotmark("status", node=node).output


def test_an_approval_that_a_promotion_only_claims_is_shown_as_none(
    node: NodeProcess, model: Path, tmp_path: Path
) -> None:
    registered = ready(node, model, tmp_path)
    console = Console(node, tmp_path, "third", role="quality-manager")
    console.register("approve")
    first, second = (console.sign(registered, "approve") for _ in range(2))
    body = quality_pb2.ModelPromoted(
        model="weld-light/1",
        station="claimed",
        evaluation_digest=bytes(32),
        approvals=[bytes.fromhex(each) for each in ("00" * 32, first, second, first, second)],
    )
    put_on_record(node, body)

    said = " ".join(lotmark("status", node=node).output.split())
    (claimed,) = (
        each for each in document("status", node=node)["in_use"] if each["station"] == "claimed"
    )

    assert {each["event_id"]: each["why_not"] for each in claimed["approvals"]} == {
        "00" * 32: f"event {'00' * 32} is not on the ledger",
        first: "",
        second: f"event {second} is of one who approved it",
    }
    assert "approved by 1 operator, no bias audit" in said
    assert f"no approval: event {'00' * 32} is not on the ledger" in said


def ready(node: NodeProcess, model: Path, tmp_path: Path) -> str:
    """Register and admit the tiny model, unless it is; return the event that registered it."""
    if not document("status", node=node)["registered"]:
        document("register", model, "--registry", tmp_path / "registry", node=node)
    if not document("status", node=node)["admitted"]:
        admit(node, (model / "model.onnx").read_bytes())
    index = document("status", node=node)["registered"][0]["index"]
    with LedgerSession(read_client_settings(node.client("T1-STATOR", "mes"))) as session:
        event_id = session.entry(index).event_id
    assert event_id is not None
    return event_id.hex()


def test_events_of_another_party_are_not_taken_for_ours(node: NodeProcess) -> None:
    assert document("status", "--party", "OEM-A", node=node) == {
        "registered": [],
        "admitted": [],
        "in_use": [],
    }
    said = lotmark("status", "--party", "OEM-A", node=node)
    assert "No models of OEM-A are registered yet" in said.output


def test_a_manifest_that_came_signed_keeps_its_signature(node: NodeProcess, tmp_path: Path) -> None:
    onnx = tiny_onnx(metadata=metadata_of(sample_manifest(b"", name="weld-signed")))
    key = PrivateKey(bytes(range(32)))
    folder = written(tmp_path / "signed", onnx=onnx, name="weld-signed", key=key)
    raw = (folder / "manifest.json").read_bytes()
    kept = ModelFolder(tmp_path / "registry")
    done = lotmark("register", folder, "--registry", kept.path, node=node)
    told = document("evaluate", folder, "--count", "1")
    said = lotmark("evaluate", folder, "--count", "1")

    assert f"signed by key {key.public.hex()}" in " ".join(done.output.split())
    digest = manifest_digest(sample_manifest(onnx, name="weld-signed"))
    assert kept.manifest(digest, what="manifest").raw == raw
    assert told["signed_by"] == key.public.hex()
    assert f"manifest signed by key {key.public.hex()}" in said.output


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


def test_what_counts_for_nothing_is_noted_once_by_each_command(
    node: NodeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []
    monkeypatch.setattr(terminal, "note", noted.append)  # told to people at a terminal alone
    lost = quality_pb2.ModelRolledBack(model="never-used/1", station=STATION, reason="a test")
    put_on_record(node, lost)
    model = written(tmp_path / "noted", name="weld-noted")
    for asked in (
        ("promote", model, "--station", "noted"),
        ("rollback", "weld-noted/1", "--station", "noted", "--reason", "a test"),
        ("status",),
    ):
        noted.clear()

        lotmark(*asked, node=node)

        told = [each for each in noted if "never-used/1 is not in use" in each]
        assert (asked[0], len(told)) == (asked[0], 1)
