"""Running a plan: images get to the device from where they lie, and every fault has its reason.

TensorRT and CUDA are in memory here; `gpu/` asks the real ones.
"""

import ctypes
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lotmark_inference.cuda_driver import CudaDriver
from lotmark_inference.errors import EngineError, InputRefused, ModelRefused
from lotmark_inference.tensorrt_plan_engine import PlanEngine
from tests.inference import tensorrt_in_memory
from tests.inference.compiled_driver import compiled_driver
from tests.inference.engines_in_memory import IDENTITY, MANIFEST, SoundEngine, images

Opener = Callable[..., PlanEngine]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return compiled_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def opened(library: str) -> Opener:
    def open_plan(manifest: object = MANIFEST, **said: object) -> PlanEngine:
        device = CudaDriver(library).opened(0)
        plan = json.dumps(said).encode()
        return PlanEngine(tensorrt_in_memory, device, plan, IDENTITY, manifest)  # type: ignore[arg-type]

    return open_plan


@pytest.mark.parametrize("count", [1, 4, 11])
def test_scores_are_the_networks_for_any_size_of_batch(opened: Opener, count: int) -> None:
    engine = opened()
    batch = images(count, count)
    expected, found = SoundEngine().infer(batch), engine.infer(batch)
    engine.close()

    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_images_are_copied_to_the_device_from_the_callers_own_memory(
    opened: Opener, library: str
) -> None:
    last_source = ctypes.CDLL(library).last_source
    last_source.restype = ctypes.c_uint64
    engine, batch = opened(), images(1, 3)
    engine.infer(batch)

    assert last_source() == batch.ctypes.data
    engine.close()


def test_a_pinned_batch_is_filled_in_place_and_scored(opened: Opener, library: str) -> None:
    last_source = ctypes.CDLL(library).last_source
    last_source.restype = ctypes.c_uint64
    engine = opened()
    pinned = engine.pinned_batch(3)
    pinned[:] = images(2, 3)
    found = engine.infer(pinned)

    assert last_source() == pinned.ctypes.data == engine.pinned_batch(1).ctypes.data
    assert np.array_equal(found["scores"], SoundEngine().infer(images(2, 3))["scores"])
    engine.close()


def test_outputs_stay_as_they_are_when_the_next_batch_is_inferred(opened: Opener) -> None:
    engine = opened()
    first = engine.infer(images(1, 2))["scores"]
    kept = first.copy()
    engine.infer(images(2, 2))
    engine.close()

    assert np.array_equal(first, kept)


def test_a_closed_engine_has_given_back_the_devices_memory(opened: Opener, library: str) -> None:
    live = ctypes.CDLL(library).live_count
    before = live()
    engine = opened()
    held = live()
    engine.close()
    engine.close()

    assert held > before == live()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(images(1, 1))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"invalid": 2}, "UNSUPPORTED_CC; build one for this machine"),
        ({"invalid": 5}, "VERSION_MISMATCH, OLD_CUDA_DRIVER; build"),
        ({"invalid": 64}, "here: it gave no reason; build"),
        ({"corrupt": True}, "cannot open the engine: Error Code 1: magic tag does not match"),
        ({"no_memory": True}, "has no memory to run in: it gave no reason"),
    ],
)
def test_a_plan_that_the_library_refuses_is_refused_with_its_words_and_holds_nothing(
    opened: Opener, library: str, said: dict[str, object], reason: str
) -> None:
    live = ctypes.CDLL(library).live_count
    before = live()
    with pytest.raises(EngineError, match=reason):
        opened(**said)

    assert live() == before


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (MANIFEST, {"outputs": ["scores"]}),
        (replace(MANIFEST, heat_output=""), {}),
        (replace(MANIFEST, labels=MANIFEST.labels[:1]), {}),
        (replace(MANIFEST, scores_output="probabilities"), {}),
        (replace(MANIFEST, input=replace(MANIFEST.input, width=25)), {}),
        (replace(MANIFEST, input=replace(MANIFEST.input, name="picture")), {}),
    ],
    ids=["heat missing", "heat too much", "labels", "scores' name", "width", "input's name"],
)
def test_a_plan_of_another_model_is_refused_with_both_sides(
    opened: Opener, manifest: object, said: dict[str, object]
) -> None:
    with pytest.raises(ModelRefused, match=r"has the tensors \{.*\}, the manifest \{.*\}"):
        opened(manifest, **said)


def test_a_run_that_fails_is_an_engine_error_with_the_librarys_words(opened: Opener) -> None:
    engine = opened(fails=True)
    with pytest.raises(EngineError, match="failed: Error Code 1: Cuda Runtime"):
        engine.infer(images(1, 1))
    engine.close()


@pytest.mark.parametrize("name", ["scores", "heat"])
def test_an_output_that_is_no_number_is_an_engine_error(opened: Opener, name: str) -> None:
    engine = opened(nan=name)
    with pytest.raises(EngineError, match=f"gave output '{name}' with NaN"):
        engine.infer(images(1, 2))
    engine.close()


def test_a_batch_that_the_model_does_not_take_is_refused(opened: Opener) -> None:
    engine = opened()
    with pytest.raises(InputRefused, match="takes 16 x 24"):
        engine.infer(images(1, 2)[:, :-1])
    with pytest.raises(EngineError, match="not contiguous"):
        engine.infer(images(1, 4)[::2])
    engine.close()


def test_the_library_is_asked_to_log_through_a_class_of_its_own(
    opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(EngineError):
        opened(corrupt=True)

    assert [record.getMessage() for record in caplog.records] == ["tensorrt message"]
