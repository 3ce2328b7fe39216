"""TensorRT on a real GPU: built here, admitted, exact, and gone when it is closed."""

import ctypes
import hashlib
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from lotmark_inference import tensorrt_engine
from lotmark_inference.admission_gate import try_engine
from lotmark_inference.cuda_driver import CudaDriver
from lotmark_inference.engine_worker import WorkerEngine, WorkerLimits
from lotmark_inference.engines_here import engines_here
from lotmark_inference.errors import EngineError, ModelRefused
from lotmark_inference.gpu_probe import Gpu, present_gpu
from lotmark_inference.model_files import shipped_model
from lotmark_inference.onnx_engine import OnnxEngine
from lotmark_inference.opened_engine import opened_engine
from lotmark_inference.registered_models import EngineTarget
from lotmark_inference.tensorrt_plan_engine import PlanEngine
from lotmark_inference.weld_images import FRESH_SEEDS, weld_image
from tests.inference.gpu.conftest import Built, build
from tests.inference.tiny_models import noise, tiny_model

pytestmark = pytest.mark.gpu
try:
    present_gpu()
except EngineError as error:
    pytest.skip(str(error), allow_module_level=True)

VECTORS = dict(enumerate(noise(3, 16)))


def free_memory() -> int:
    """Return how much of the first device's memory is free, in bytes."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    library = ctypes.CDLL("libcuda.so.1")
    with CudaDriver().opened(0):
        assert library.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
    return free.value


def test_the_engine_is_admitted_beside_onnx_runtime(engine: PlanEngine, built: Built) -> None:
    report = try_engine(engine, OnnxEngine(built.onnx, built.manifest), built.manifest, VECTORS)

    assert report.is_admitted, report.findings
    assert report.candidate == built.identity


def test_the_shipped_model_is_admitted_on_its_own_welds(gpu: Gpu, kind: str) -> None:
    files = shipped_model("weld-light")
    manifest = files.manifest
    seeds = {*manifest.vectors, *range(FRESH_SEEDS.start, FRESH_SEEDS.start + 64)}
    vectors = {seed: weld_image(seed).pixels for seed in seeds}
    engine = build(gpu, kind, files.onnx, manifest).opened()
    report = try_engine(engine, OnnxEngine(files.onnx, manifest), manifest, vectors)
    engine.close()

    assert report.is_admitted, report.findings


def test_an_engine_of_other_weights_is_not_admitted(engine: PlanEngine) -> None:
    onnx, manifest = tiny_model(is_other=True)
    report = try_engine(engine, OnnxEngine(onnx, manifest), manifest, VECTORS)

    assert not report.is_admitted


@pytest.mark.parametrize("count", [1, 16, 37])
def test_scores_are_those_of_onnx_runtime_for_any_size_of_batch(
    engine: PlanEngine, built: Built, count: int
) -> None:
    batch = noise(count, count)
    expected = OnnxEngine(built.onnx, built.manifest).infer(batch)
    found = engine.infer(batch)

    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=5e-5)


def test_a_pinned_batch_is_scored_as_any_other(engine: PlanEngine) -> None:
    batch = noise(5, 4)
    pinned = engine.pinned_batch(4)
    pinned[:] = batch

    assert np.array_equal(engine.infer(pinned)["prob"], engine.infer(batch)["prob"])


def test_a_closed_engine_leaves_the_gpus_memory_as_it_was(built: Built) -> None:
    built.opened().close()  # what libraries keep for good, they have now
    before = free_memory()
    for _ in range(5):
        engine = built.opened()
        engine.infer(noise(1, 1))
        engine.close()

    assert before - free_memory() < 32 * 2**20


def test_a_worker_is_replaced_with_its_engine_and_scores_on(built: Built) -> None:
    worker = WorkerEngine(
        partial(opened_engine, built.identity, built.plan, built.manifest),
        built.manifest.input,
        WorkerLimits(inferences_max=2),
    )
    try:
        batch = noise(9, 3)
        first, seen = worker.infer(batch)["prob"], {worker.process_id}
        for _ in range(4):
            assert np.array_equal(worker.infer(batch)["prob"], first)
            seen.add(worker.process_id)
        assert len(seen) == 3
        assert worker.identity == built.identity
    finally:
        worker.close()


def test_a_plan_whose_bytes_were_changed_is_refused_before_it_is_opened(built: Built) -> None:
    changed = bytearray(built.plan)
    changed[len(changed) // 2] ^= 1

    with pytest.raises(ModelRefused, match=hashlib.sha256(changed).hexdigest()):
        opened_engine(built.identity, bytes(changed), built.manifest)


def test_bytes_that_are_no_plan_are_refused_although_they_are_registered(built: Built) -> None:
    junk = b"no plan" * 100
    identity = replace(built.identity, artefact_sha256=hashlib.sha256(junk).digest())

    with pytest.raises(EngineError, match=built.identity.name):
        opened_engine(identity, junk, built.manifest)


def test_a_plan_for_another_gpu_is_refused_with_both(built: Built, gpu: Gpu) -> None:
    identity = replace(built.identity, target="sm_61")

    with pytest.raises(EngineError, match=rf"built for sm_61, this machine is {gpu.target}"):
        opened_engine(identity, built.plan, built.manifest)


def test_what_runs_here_is_what_was_built_here(built: Built) -> None:
    here = EngineTarget(built.identity.name, built.identity.target)

    assert here in engines_here(built.identity.kind)


def test_full_tensorrt_builds_for_no_gpu_but_its_own(gpu: Gpu) -> None:
    onnx, _ = tiny_model()

    with pytest.raises(EngineError, match=rf"builds for the GPU that it runs on, .*{gpu.target}"):
        tensorrt_engine.build_engine(onnx, "sm_61")
