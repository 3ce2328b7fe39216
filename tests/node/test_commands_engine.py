"""`lotmark engine`: what runs here is told, and an engine's trial goes on a real node's ledger."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from lotmark_inference.manifest_file import dump_manifest, manifest_digest, read_manifest
from lotmark_inference.model_metadata import metadata_of
from lotmark_inference.weld_surface import SIZE
from lotmark_node.main import app
from tests.inference.sample_models import sample_manifest, tiny_onnx, tiny_weights
from tests.inference.tiny_models import noise
from tests.node.running_node import NodeProcess, node_process


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("engine") / "consortium"
    parties, clients = ("OEM-A:oem", "T1-STATOR:supplier"), ("T1-STATOR/mes",)
    with node_process(folder, parties=parties, clients=clients) as running:
        yield running


def model(
    folder: Path, *, name: str = "weld-light", has_vectors: bool = False, size: int = SIZE
) -> Path:
    """Write the tiny model; the scores that its manifest may name are none of its own."""
    folder.mkdir()
    metadata = metadata_of(sample_manifest(b"", name=name))
    weights = np.resize(tiny_weights(), ((size // 8) ** 2, 3))
    onnx = tiny_onnx(weights=weights, metadata=metadata, size=size)
    manifest = sample_manifest(onnx, name=name)
    taken = replace(manifest.input, height=size, width=size)
    manifest = replace(manifest, input=taken)
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
    (admitted,) = [each for each in status["admitted"] if each["model"] == "weld-light/1"]
    files = [each.read_bytes() for each in registry.rglob("*") if each.is_file()]
    (report,) = [json.loads(each) for each in files if b'"findings"' in each]
    assert report["candidate"]["artefact_sha256"] == admitted["engine_digest"]
    assert admitted["engine_digest"] == hashlib.sha256(tiny_onnx()).hexdigest()


def register(node: NodeProcess, folder: Path) -> None:
    files = folder.parent / "registered"
    done = lotmark("model", "register", folder, "--registry", files, node=node)
    assert done.exit_code == 0, done.output


def event_count(node: NodeProcess) -> int:
    """Return how many trials are on record."""
    status = json.loads(lotmark("model", "status", "--json", node=node).stdout)
    return len(status["admitted"])


def test_a_trial_of_a_model_that_is_not_registered_is_not_made(
    node: NodeProcess, tmp_path: Path
) -> None:
    tiny, registry = model(tmp_path / "tiny", name="unknown"), tmp_path / "registry"
    done = lotmark("engine", "admit", tiny, "--registry", registry, "--count", "4", node=node)

    assert done.exit_code == 1
    assert "T1-STATOR has not registered unknown/1" in done.stderr
    assert "lotmark model register" in done.stderr
    assert "is admitted" not in done.output
    assert not registry.exists()


def test_a_trial_of_a_manifest_that_is_not_the_registered_one_is_not_made(
    node: NodeProcess, tmp_path: Path
) -> None:
    tiny, registry = model(tmp_path / "tiny", name="changed"), tmp_path / "registry"
    register(node, tiny)
    manifest = read_manifest((tiny / "manifest.json").read_bytes()).manifest
    labels = tuple(replace(each, threshold=9_999) for each in manifest.labels)
    lenient = replace(manifest, labels=labels)
    (tiny / "manifest.json").write_bytes(dump_manifest(lenient))
    before = event_count(node)
    done = lotmark("engine", "admit", tiny, "--registry", registry, "--count", "4", node=node)

    assert done.exit_code == 1
    assert manifest_digest(manifest).hex() in done.stderr
    assert manifest_digest(lenient).hex() in done.stderr
    assert event_count(node) == before


def photographs(folder: Path, size: int, count: int) -> Path:
    folder.mkdir()
    for number, pixels in enumerate(noise(count, count)):
        Image.fromarray(pixels[:size, :size]).save(folder / f"part_{number}.png")
    return folder


def test_a_model_of_another_size_is_tried_with_images_of_its_own(
    node: NodeProcess, tmp_path: Path
) -> None:
    small, registry = model(tmp_path / "small", name="small", size=64), tmp_path / "registry"
    register(node, small)
    images = photographs(tmp_path / "images", 64, 5)
    (images / "notes.txt").write_text("no image")
    asked = ("engine", "admit", small, "--registry", registry)
    welds = lotmark(*asked, node=node)
    done = lotmark(*asked, "--images", images, node=node)
    used = lotmark("model", "promote", small, "--station", "cam-2", node=node)

    assert welds.exit_code == 2
    assert "small/1 takes images of 64 x 64, generated welds have 128 x 128" in welds.stderr
    assert "--images DIR" in welds.stderr
    assert (done.exit_code, used.exit_code) == (0, 0), done.output
    assert "small/1 is admitted on onnxruntime-1.32.0 for cpu: 5 images" in done.output
    files = [each.read_bytes() for each in registry.rglob("*") if each.is_file()]
    (report,) = [json.loads(each) for each in files if b'"findings"' in each]
    expected = [noise(5, 5)[each, :64, :64].tobytes() for each in range(5)]
    assert report["seeds"] == []
    assert report["images"] == sorted(hashlib.sha256(each).hexdigest() for each in expected)


@pytest.mark.parametrize(
    ("size", "count", "said"),
    [
        (72, 4, "part_0.png: the image has 72 x 72 pixels; the model takes 64 x 64"),
        (64, 3, "3 images to try an engine with; at least 4 are needed"),
        (64, 0, "0 images to try an engine with; at least 4 are needed"),
    ],
)
def test_images_that_do_not_do_for_a_trial_are_refused(
    node: NodeProcess, tmp_path: Path, size: int, count: int, said: str
) -> None:
    name = f"odd-{size}-{count}"
    small = model(tmp_path / "small", name=name, size=64)
    register(node, small)
    images = photographs(tmp_path / "images", size, count)
    done = lotmark(
        *("engine", "admit", small, "--registry", tmp_path / "registry", "--images", images),
        node=node,
    )

    assert done.exit_code == 2
    assert said in done.stderr


@pytest.mark.parametrize(("size", "most"), [(2_048, 64), (1_024, 256), (64, 4_096)])
def test_more_images_than_memory_is_meant_for_are_refused_before_one_is_read(
    node: NodeProcess, tmp_path: Path, size: int, most: int
) -> None:
    large, images = model(tmp_path / "large", name=f"large-{size}", size=size), tmp_path / "images"
    register(node, large)
    images.mkdir()
    for number in range(most + 1):
        (images / f"part_{number:04}.png").touch()
    asked = ("engine", "admit", large, "--registry", tmp_path / "registry", "--images", images)
    refused = lotmark(*asked, node=node)
    (images / f"part_{most:04}.png").unlink()
    taken = lotmark(*asked, node=node)

    assert (refused.exit_code, taken.exit_code) == (2, 2)
    assert f"has {most + 1} images; of {size} x {size} pixels {most} are tried" in refused.stderr
    assert "Name a folder with fewer" in refused.stderr
    assert "part_0000.png: " in taken.stderr  # it was read, and is none


def test_a_model_of_another_size_cannot_name_scores_of_generated_welds(
    node: NodeProcess, tmp_path: Path
) -> None:
    small = model(tmp_path / "small", name="seeded", size=64, has_vectors=True)
    register(node, small)
    images = photographs(tmp_path / "images", 64, 4)
    done = lotmark(
        *("engine", "admit", small, "--registry", tmp_path / "registry", "--images", images),
        node=node,
    )

    assert done.exit_code == 2
    assert "a manifest without vectors" in done.stderr


def test_a_model_whose_own_scores_do_not_come_out_is_put_on_no_record(
    node: NodeProcess, tmp_path: Path
) -> None:
    tiny = model(tmp_path / "tiny", name="unsound", has_vectors=True)
    register(node, tiny)
    registry = tmp_path / "registry"
    done = lotmark("engine", "admit", tiny, "--registry", registry, "--count", "4", node=node)

    assert done.exit_code == 2
    assert "scores the image of seed 1 as" in done.output
    assert not registry.exists()


def test_an_engine_file_that_is_another_model_is_refused(node: NodeProcess, tmp_path: Path) -> None:
    tiny, other = model(tmp_path / "tiny", name="own"), tmp_path / "other.onnx"
    register(node, tiny)
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
