"""`lotmark engine`: what runs here is told, and an engine's trial goes on a real node's ledger."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lotmark_inference.manifest_file import dump_manifest
from lotmark_node.main import app
from tests.inference.sample_models import sample_manifest, tiny_onnx, tiny_weights
from tests.node.running_node import NodeProcess, node_process


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("engine") / "consortium"
    parties, clients = ("OEM-A:oem", "T1-STATOR:supplier"), ("T1-STATOR/mes",)
    with node_process(folder, parties=parties, clients=clients) as running:
        yield running


def model(folder: Path, *, has_vectors: bool = False) -> Path:
    """Write the tiny model; the scores that its manifest may name are none of its own."""
    folder.mkdir()
    onnx = tiny_onnx()
    manifest = sample_manifest(onnx)
    if not has_vectors:
        manifest = replace(manifest, vectors={})
    (folder / "model.onnx").write_bytes(onnx)
    (folder / "manifest.json").write_bytes(dump_manifest(manifest))
    return folder


def lotmark(*arguments: str | Path, node: NodeProcess | None = None) -> Result:
    environment = {"LOTMARK_CLIENT": str(node.client("T1-STATOR", "mes"))} if node else {}
    return CliRunner().invoke(app, [*map(str, arguments)], env=environment)


def test_an_admitted_engine_is_on_record_and_its_model_may_be_used(
    node: NodeProcess, tmp_path: Path
) -> None:
    tiny, registry = model(tmp_path / "tiny"), tmp_path / "registry"
    registered = lotmark("model", "register", tiny, "--registry", registry, node=node)
    done = lotmark("engine", "admit", tiny, "--registry", registry, "--count", "4", node=node)
    status = json.loads(lotmark("model", "status", "--json", node=node).stdout)
    used = lotmark("model", "promote", tiny, "--station", "cam-1", node=node)

    assert (registered.exit_code, done.exit_code, used.exit_code) == (0, 0, 0), done.output
    assert "weld-light/1 is admitted on onnxruntime-1.32.0 for cpu: 4 images" in done.output
    admitted = status["admitted"][0]
    files = [each.read_bytes() for each in registry.rglob("*") if each.is_file()]
    (report,) = [json.loads(each) for each in files if b'"findings"' in each]
    assert report["candidate"]["artefact_sha256"] == admitted["engine_digest"]
    assert admitted["engine_digest"] == hashlib.sha256(tiny_onnx()).hexdigest()


def test_a_model_whose_own_scores_do_not_come_out_is_put_on_no_record(
    node: NodeProcess, tmp_path: Path
) -> None:
    tiny = model(tmp_path / "tiny", has_vectors=True)
    registry = tmp_path / "registry"
    done = lotmark("engine", "admit", tiny, "--registry", registry, "--count", "4", node=node)

    assert done.exit_code == 2
    assert "scores the image of seed 1 as" in done.output
    assert not registry.exists()


def test_an_engine_file_that_is_another_model_is_refused(node: NodeProcess, tmp_path: Path) -> None:
    tiny, other = model(tmp_path / "tiny"), tmp_path / "other.onnx"
    other.write_bytes(tiny_onnx(weights=-tiny_weights()))
    done = lotmark(
        *("engine", "admit", tiny, "--registry", tmp_path / "registry"),
        *("--file", other, "--count", "4"),
        node=node,
    )

    assert done.exit_code == 2
    assert "the manifest names" in done.output


def test_what_runs_here_is_told_with_its_version_and_what_does_not_with_its_lack() -> None:
    told = json.loads(lotmark("engine", "status", "--json").stdout)
    shown = lotmark("engine", "status").stdout

    assert told["runs"]["onnxruntime"] == "1.32.0 for cpu"
    assert told["runs"].keys() | told["lacks"].keys() == {
        "onnxruntime",
        "tensorrt",
        "tensorrt-rtx",
    }
    assert "onnxruntime   1.32.0 for cpu" in shown


def test_a_kind_that_is_not_built_is_refused_with_those_that_are(tmp_path: Path) -> None:
    done = lotmark(
        *("engine", "build", model(tmp_path / "tiny"), "--kind", "onnxruntime"),
        *("--target", "cpu", "--output", tmp_path / "plan"),
    )

    assert done.exit_code == 2
    assert "'onnxruntime' is not built. Use one of tensorrt, tensorrt-rtx." in done.stderr


def test_a_build_that_this_machine_cannot_do_says_what_it_lacks(tmp_path: Path) -> None:
    done = lotmark(
        *("engine", "build", model(tmp_path / "tiny"), "--kind", "tensorrt"),
        *("--target", "sm_61", "--output", tmp_path / "plan"),
    )

    assert done.exit_code == 2
    assert "no usable GPU" in done.stderr or "builds for the GPU that it runs on" in done.stderr
    assert not (tmp_path / "plan").exists()


def test_an_engine_is_built_into_a_file_where_the_extra_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="the extra tensorrt-rtx is not installed")
    plan = tmp_path / "plan"
    done = lotmark(
        *("engine", "build", model(tmp_path / "tiny"), "--target", "sm_89", "--output", plan),
        "--json",
    )

    assert json.loads(done.stdout) == {
        "model": "weld-light/1",
        "engine_digest": hashlib.sha256(plan.read_bytes()).hexdigest(),
        "size": plan.stat().st_size,
    }
