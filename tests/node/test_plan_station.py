"""A station on a GPU's engine: from a plan on trial to the results that name it.

Real processes and a real node; the CUDA driver and TensorRT-RTX are in memory, and compute what the
ONNX file of these tests says: how bright an image is, and how dark.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from lotmark.merkle import leaf_hash
from lotmark_inference.manifest_file import dump_manifest
from lotmark_inference.model_manifest import ModelManifest
from lotmark_inference.model_metadata import metadata_of
from tests.inference.engines_in_memory import HEIGHT, INPUT, WIDTH, images
from tests.inference.gpu_in_memory import ENGINE, gpu_environment
from tests.inference.sample_models import sample_manifest
from tests.node.edge.test_station_in_site import results
from tests.node.running_node import lotmark, node_process
from tests.node.test_commands_inference import CLIENTS, PARTIES, Site, station_settings

PLAN = json.dumps({}).encode()
ANOTHER_PLAN = json.dumps({"images_max": 8}).encode()
NO_GPU = {"CUDA_VISIBLE_DEVICES": "", "LD_LIBRARY_PATH": ""}


def mean_grey() -> tuple[bytes, ModelManifest]:
    """Return the model that TensorRT in memory computes, with labels of the shipped catalogue."""
    nodes = [
        helper.make_node("Cast", ["image"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["grey", "white"], ["share"]),
        helper.make_node("ReduceMean", ["share"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axis"], ["bright"]),
        helper.make_node("Sub", ["one", "bright"], ["dark"]),
        helper.make_node("Concat", ["bright", "dark"], ["scores"], axis=1),
        helper.make_node("Slice", ["share", "start", "end", "axes", "steps"], ["heat"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(value, kind), name)
        for name, value, kind in (
            ("white", 255, np.float32),
            ("one", 1, np.float32),
            ("axis", [1], np.int64),
            ("start", [0, 0], np.int64),
            ("end", [HEIGHT, WIDTH], np.int64),
            ("axes", [1, 2], np.int64),
            ("steps", [8, 8], np.int64),
        )
    ]
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "mean-grey",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info("scores", floats, ["n", 2]),
            helper.make_tensor_value_info("heat", floats, ["n", HEIGHT // 8, WIDTH // 8]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    manifest = replace(
        sample_manifest(b""),
        input=INPUT,
        scores_output="scores",
        labels=sample_manifest(b"").labels[:2],
        vectors={},
    )
    helper.set_model_props(model, metadata_of(manifest))
    raw = bytes(model.SerializeToString(deterministic=True))
    return raw, replace(manifest, onnx_sha256=hashlib.sha256(raw).digest())


class GpuSite(Site):
    """A site whose model runs on this machine's GPU, which is there for those that are told."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.__dict__.update(site.__dict__)
        self.onnx, manifest = mean_grey()
        (self.model / "model.onnx").write_bytes(self.onnx)
        (self.model / "manifest.json").write_bytes(dump_manifest(manifest))
        self.gpu = gpu_environment(folder)
        self.samples = folder / "samples"
        self.samples.mkdir()
        for number, pixels in enumerate(images(1, 6)):
            Image.fromarray(pixels).save(self.samples / f"{number}.png")

    def try_engine(self, *options: str, registry: Path, **environment: str) -> None:
        """Have an engine of the model tried here."""
        client = str(self.node.client("T1-STATOR", "mes"))
        done = lotmark(
            *("engine", "admit", str(self.model), "--images", str(self.samples)),
            *("--registry", str(registry), *options),
            LOTMARK_CLIENT=client,
            **environment,
        )
        assert done.returncode == 0, done.stderr

    def admit_plan(self, plan: bytes, *options: str, registry: Path) -> None:
        """Have a plan tried on the GPU."""
        file = self.samples / "engine.plan"
        file.write_bytes(plan)
        rtx = ("--kind", "tensorrt-rtx", "--file", str(file), *options)
        self.try_engine(*rtx, registry=registry, **self.gpu)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuSite]:
    folder = tmp_path_factory.mktemp("plans")
    with node_process(folder / "consortium", parties=PARTIES, clients=CLIENTS) as running:
        found = GpuSite(Site(running, folder), folder)
        found.register()
        found.approve_catalogue()
        found.try_engine(registry=found.registry)
        found.admit_plan(PLAN, registry=found.registry)
        # Another machine's, whose file is not here, and which is tried last.
        found.admit_plan(ANOTHER_PLAN, registry=folder / "elsewhere")
        assert found.decide("promote").exit_code == 0
        yield found


def station(site: Site, folder: Path, engine: str = "tensorrt-rtx") -> Path:
    settings = station_settings(site, folder)
    settings.write_text(f'{settings.read_text()}engine = "{engine}"\n')
    return settings


def watch(settings: Path, unit: str = "A1", **environment: str) -> CompletedProcess[str]:
    """Let a station judge an image of a bright part, which is sound."""
    pixels = (images(1, 1)[0] // 4) + 180
    Image.fromarray(pixels).save(settings.parent / "images" / f"{unit}_weld_1.png")
    return lotmark("inference", "watch", str(settings), "--once", "--json", **environment)


def judged(done: CompletedProcess[str]) -> dict[str, Any]:
    """Return what a station tells of its image."""
    assert done.returncode == 0, done.stderr
    (told,) = map(json.loads, done.stdout.splitlines())
    assert told["verdict"] == "CONFORMING"
    return told  # type: ignore[no-any-return]  # JSON


def engine_of(site: Site, unit: str) -> str:
    """Return the digest of the engine that the result about a unit names on the ledger."""
    (found,) = results(site, unit)
    return found.inference_result.engine_digest.hex()


def test_a_stations_result_names_the_plan_that_was_admitted_here(
    site: GpuSite, tmp_path: Path
) -> None:
    told = judged(watch(station(site, tmp_path), "B1", **site.gpu))
    (event,) = results(site, "B1")
    event_id = leaf_hash(event.SerializeToString(deterministic=True)).hex()
    again = site.document("rerun", event_id, "--image", told["kept"], "--model", site.model)
    shown = site.lotmark("model", "status", party="T1-STATOR", holder="mes").stdout

    assert engine_of(site, "B1") == hashlib.sha256(PLAN).hexdigest()
    assert again["finding"] in ("EXACT", "WITHIN_TOLERANCE")
    for plan in (PLAN, ANOTHER_PLAN):
        digest = hashlib.sha256(plan).hexdigest()
        assert f"admitted on {ENGINE}, sm_89, engine file {digest[:16]}…, entry" in shown


def test_the_same_model_runs_on_onnx_runtime_where_nothing_is_said(
    site: GpuSite, tmp_path: Path
) -> None:
    judged(watch(station_settings(site, tmp_path), "B2", **NO_GPU))

    assert engine_of(site, "B2") == hashlib.sha256(site.onnx).hexdigest()


def test_a_portable_plan_runs_and_one_that_was_changed_does_not(
    site: GpuSite, tmp_path: Path
) -> None:
    plan = json.dumps({"images_max": 3}).encode()
    settings = station(site, tmp_path)
    site.admit_plan(plan, "--target", "portable", registry=site.registry)
    judged(watch(settings, "B3", **site.gpu))
    digest = hashlib.sha256(plan).hexdigest()
    file = site.registry / digest[:2] / digest
    file.write_bytes(ANOTHER_PLAN)
    changed = watch(settings, **site.gpu)
    file.unlink()

    assert engine_of(site, "B3") == digest
    assert changed.returncode == 2
    assert f"not {digest}: it was changed" in changed.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("version", "was never tried on tensorrt-rtx-1.8 for sm_89 or tensorrt-rtx-1.8 for port"),
        ("gpu", "no engine tensorrt-rtx: no usable GPU"),
        ("edition", "no engine tensorrt: engine kind tensorrt needs tensorrt_bindings"),
        ("kind", "engine 'openvino' is none of onnxruntime, tensorrt, tensorrt-rtx"),
    ],
)
def test_a_machine_that_cannot_run_the_plan_is_told_what_is_missing(
    site: GpuSite, tmp_path: Path, change: str, said: str
) -> None:
    settings = station(site, tmp_path)
    done = watch(settings, **changed_machine(site, settings, change))

    assert done.returncode == 2
    assert said in done.stderr


def changed_machine(site: GpuSite, settings: Path, change: str) -> dict[str, str]:
    """Change a station's settings or its machine, and return by what it is seen."""
    text = settings.read_text()
    match change:
        case "version":
            (settings.parent / "tensorrt_rtx_bindings.py").write_text(
                'from tests.inference.tensorrt_in_memory import *\n__version__ = "1.8"\n'
            )
            path = f"{settings.parent}:{site.gpu['PYTHONPATH']}"
            return site.gpu | {"PYTHONPATH": path}
        case "gpu":
            return NO_GPU
        case "edition":
            settings.write_text(text.replace("tensorrt-rtx", "tensorrt"))
        case "kind":
            settings.write_text(text.replace("tensorrt-rtx", "openvino"))
        case _:
            settings.write_text(text.replace("tensorrt-rtx", "onnxruntime"))
    return site.gpu


def test_without_a_node_the_plan_runs_by_a_licence_that_is_for_this_engine_alone(
    site: GpuSite, tmp_path: Path
) -> None:
    settings = station(site, tmp_path)
    judged(watch(settings, **site.gpu))
    site.node.stop()
    try:
        alone = watch(settings, **site.gpu)
        other = watch(settings, **changed_machine(site, settings, "to ONNX Runtime"))
    finally:
        site.node.start()

    judged(alone)
    assert "station starts by its last licence" in alone.stderr
    assert other.returncode == 2
    assert f"is for engine {ENGINE} sm_89, not onnxruntime-1.32.0 cpu" in other.stderr
