"""Building engines ahead of time for GPUs that are elsewhere: where the extra is installed."""

import pytest

from lotmark_inference.errors import EngineError, ModelRefused
from lotmark_inference.model_files import shipped_model
from lotmark_inference.tensorrt_rtx_engine import PORTABLE, build_engine
from tests.inference.tiny_models import tiny_model

pytest.importorskip(
    "tensorrt_rtx_bindings", reason="the extra tensorrt-rtx is not installed", exc_type=ImportError
)


@pytest.mark.parametrize("target", ["sm_80", "sm_89", "sm_120", PORTABLE])
def test_an_engine_is_built_for_a_gpu_that_is_elsewhere(target: str) -> None:
    onnx, _ = tiny_model()

    # No hash is compared: the same model gives other bytes each time, and that is known.
    assert len(build_engine(onnx, target)) > len(onnx)


@pytest.mark.parametrize("target", ["sm_86", "sm_89", PORTABLE])
def test_the_shipped_model_is_built(target: str) -> None:
    files = shipped_model("weld-light")

    assert len(build_engine(files.onnx, target)) > len(files.onnx)


def test_a_model_that_a_kind_of_gpu_cannot_run_is_refused_with_the_librarys_words() -> None:
    onnx, _ = tiny_model()

    # Turing has no matrix product of floats in this library, and the model has one.
    with pytest.raises(EngineError, match=r"built no engine: .*FP32 GEMM is not supported"):
        build_engine(onnx, "sm_75")


@pytest.mark.parametrize("target", ["sm_90", "sm_7", "SM89", "cpu", ""])
def test_a_target_that_the_library_does_not_know_is_refused_with_those_it_does(target: str) -> None:
    onnx, _ = tiny_model()

    with pytest.raises(EngineError, match=rf"builds nothing for '{target}'; .* sm_89, .*portable"):
        build_engine(onnx, target)


def test_a_model_that_is_cut_short_is_refused_with_the_parsers_words() -> None:
    onnx, _ = tiny_model()

    with pytest.raises(ModelRefused, match=r"TensorRT 1\..* cannot read the model: \w+"):
        build_engine(onnx[:-200], "sm_89")


def test_bytes_that_are_no_model_are_refused() -> None:
    with pytest.raises(ModelRefused):
        build_engine(b"no model", "sm_89")
