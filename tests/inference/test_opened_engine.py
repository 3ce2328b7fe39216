"""The one way to an engine: what is opened is what was registered, or both are named."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lotmark_inference.admission_gate import try_engine
from lotmark_inference.engine import EngineIdentity
from lotmark_inference.engine_worker import WorkerEngine
from lotmark_inference.errors import EngineError, ModelRefused
from lotmark_inference.model_files import shipped_model
from lotmark_inference.opened_engine import identity_here, opened_engine, read_artefact
from lotmark_inference.scores import quantised
from lotmark_inference.weld_images import weld_image
from tests.inference.engines_in_memory import SoundEngine, images
from tests.inference.gpu_in_memory import gpu_environment
from tests.inference.tiny_models import noise, tiny_model


@pytest.mark.parametrize("field", ["artefact", "registered"])
def test_an_artefact_with_another_hash_is_refused_with_both(field: str) -> None:
    onnx, manifest = tiny_model()
    identity = identity_here("onnxruntime", onnx)
    if field == "artefact":
        onnx = onnx[:-1] + b"\0"
    else:
        identity = replace(identity, artefact_sha256=bytes(32))

    with pytest.raises(ModelRefused) as refused:
        opened_engine(identity, onnx, manifest)
    assert hashlib.sha256(onnx).hexdigest() in str(refused.value)
    assert identity.artefact_sha256.hex() in str(refused.value)


def test_an_engine_of_another_version_is_refused_with_both() -> None:
    onnx, manifest = tiny_model()
    identity = replace(identity_here("onnxruntime", onnx), version="1.31.1")

    with pytest.raises(EngineError, match=r"of onnxruntime-1\.31\.1, .* has onnxruntime-1\.32\.0"):
        opened_engine(identity, onnx, manifest)


def test_an_engine_for_another_target_is_refused_with_both() -> None:
    onnx, manifest = tiny_model()
    identity = replace(identity_here("onnxruntime", onnx), target="sm_89")

    with pytest.raises(EngineError, match="built for sm_89, this machine is cpu"):
        opened_engine(identity, onnx, manifest)


def test_a_kind_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        EngineError, match="'openvino' is none of onnxruntime, tensorrt, tensorrt-rtx"
    ):
        identity_here("openvino", b"")


def test_the_bytes_of_another_model_are_refused_although_they_are_registered() -> None:
    onnx, _ = tiny_model()
    _, manifest = tiny_model(is_other=True)

    with pytest.raises(ModelRefused, match=manifest.onnx_sha256.hex()):
        opened_engine(identity_here("onnxruntime", onnx), onnx, manifest)


def test_onnx_runtime_in_a_worker_is_admitted_beside_itself() -> None:
    onnx, manifest = tiny_model()
    identity = identity_here("onnxruntime", onnx)
    reference = opened_engine(identity, onnx, manifest)
    worker = WorkerEngine(partial(opened_engine, identity, onnx, manifest), manifest.input)
    try:
        report = try_engine(worker, reference, manifest, dict(enumerate(noise(1, 6))))
    finally:
        worker.close()

    assert report.is_admitted, report.findings
    assert report.difference_max == 0
    assert report.candidate == identity == reference.identity


def test_the_shipped_model_in_a_worker_scores_as_its_manifest_says() -> None:
    files = shipped_model("weld-light")
    identity = identity_here("onnxruntime", files.onnx)
    manifest = files.manifest
    worker = WorkerEngine(partial(opened_engine, identity, files.onnx, manifest), manifest.input)
    try:
        for seed, told in manifest.vectors.items():
            found = worker.infer(weld_image(seed).pixels[np.newaxis])[manifest.scores_output]
            assert np.abs(quantised(found)[0] - np.array(told)).max() <= 1, seed
    finally:
        worker.close()


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=r"gone cannot be read: .*No such file"):
        read_artefact(tmp_path / "gone")


def test_what_a_worker_may_not_open_is_refused_with_the_words_of_its_process() -> None:
    onnx, manifest = tiny_model()
    identity = replace(identity_here("onnxruntime", onnx), artefact_sha256=bytes(32))

    with pytest.raises(ModelRefused, match=f"registered is {bytes(32).hex()}"):
        WorkerEngine(partial(opened_engine, identity, onnx, manifest), manifest.input)


# Run where the driver and the library are those in memory: asks for engines, and tells what came.
ON_A_GPU = """
import json, sys
from dataclasses import replace
from lotmark_inference.errors import InferenceError
from lotmark_inference.opened_engine import identity_here, opened_engine
from tests.inference.engines_in_memory import MANIFEST, images
plan = json.dumps({}).encode()
here = identity_here("tensorrt-rtx", plan)
told = {"here": here.name + " " + here.target}
for change in ({}, {"target": "portable"}, {"target": "sm_120"}, {"version": "1.6"}):
    try:
        engine = opened_engine(replace(here, **change), plan, MANIFEST)
        told[str(change)] = engine.infer(images(1, 2))["scores"].tolist()
        engine.close()
    except InferenceError as error:
        told[str(change)] = str(error)
corrupt = json.dumps({"corrupt": True}).encode()
try:
    opened_engine(identity_here("tensorrt-rtx", corrupt), corrupt, MANIFEST)
except InferenceError as error:
    told["corrupt"] = str(error)
try:
    identity_here("tensorrt", plan)
except InferenceError as error:
    told["tensorrt"] = str(error)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told_on_a_gpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("gpu")
    environment = os.environ | gpu_environment(folder)
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", ON_A_GPU], env=environment, capture_output=True, check=True
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_on_a_gpu_its_own_and_portable_engines_are_opened(told_on_a_gpu: dict[str, Any]) -> None:
    expected = SoundEngine().infer(images(1, 2))["scores"]

    assert told_on_a_gpu["here"] == "tensorrt-rtx-1.7.1.116 sm_89"
    assert np.array_equal(np.array(told_on_a_gpu["{}"], np.float32), expected)
    assert told_on_a_gpu["{'target': 'portable'}"] == told_on_a_gpu["{}"]


def test_on_a_gpu_engines_of_another_target_version_or_content_are_refused(
    told_on_a_gpu: dict[str, Any],
) -> None:
    assert "was built for sm_120, this machine is sm_89" in (told_on_a_gpu["{'target': 'sm_120'}"])
    assert (
        "is of tensorrt-rtx-1.6, this machine has tensorrt-rtx-1.7.1.116"
        in told_on_a_gpu["{'version': '1.6'}"]
    )
    assert "magic tag does not match" in told_on_a_gpu["corrupt"]


def test_an_edition_without_its_library_says_what_to_install(told_on_a_gpu: dict[str, Any]) -> None:
    assert told_on_a_gpu["tensorrt"].startswith("engine kind tensorrt needs tensorrt_bindings: ")
    assert "libnvinfer.so.11" in told_on_a_gpu["tensorrt"]
    assert "NVIDIA's TensorRT 11 library, which PyPI does not have" in told_on_a_gpu["tensorrt"]


def test_without_a_gpu_an_engine_for_one_says_so_before_it_loads_anything() -> None:
    code = (
        "import sys\n"
        "from lotmark_inference.errors import EngineError\n"
        "from lotmark_inference.opened_engine import identity_here\n"
        "try: identity_here('tensorrt-rtx', b'')\n"
        "except EngineError as error: print(error)\n"
        "print('tensorrt_rtx_bindings' in sys.modules)\n"
    )
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", code], env=hidden, capture_output=True, check=True, text=True
    )

    assert done.stdout.startswith("no usable GPU: ")
    assert done.stdout.endswith("\nFalse\n")


def test_an_identity_names_kind_and_version_as_events_do() -> None:
    onnx, _ = tiny_model()

    assert identity_here("onnxruntime", onnx) == EngineIdentity(
        kind="onnxruntime",
        version="1.32.0",
        target="cpu",
        artefact_sha256=hashlib.sha256(onnx).digest(),
    )
