"""The probe: whatever a driver does, the answer is a GPU or why there is none."""

from pathlib import Path

import pytest

from lotmark_inference.errors import EngineError
from lotmark_inference.gpu_probe import Gpu, probe_gpu
from tests.inference.compiled_driver import compiled_driver


def test_a_gpu_is_told_with_what_engines_for_it_are_built_for(tmp_path: Path) -> None:
    found = probe_gpu(library=compiled_driver(tmp_path))

    assert found == Gpu(name="in memory 7", compute_capability=(8, 9), cuda_version=13_000)
    assert found.target == "sm_89"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("NO_DEVICE", "the CUDA driver finds none"),
        ("REFUSES", "the CUDA driver answered cuInit with 999, OTHER"),
        ("CRASHES", r"crashed with signal 11; reinstall the driver"),
    ],
)
def test_a_driver_without_a_gpu_or_sense_is_an_answer(
    kind: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=f"^no usable GPU: .*{reason}"):
        probe_gpu(library=compiled_driver(tmp_path, kind))


def test_a_driver_that_hangs_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"^no usable GPU: .* gave no answer within 0\.5 s"):
        probe_gpu(library=compiled_driver(tmp_path, "HANGS"), timeout_s=0.5)


def test_a_machine_without_driver_is_told_what_to_install() -> None:
    with pytest.raises(EngineError, match=r"^no usable GPU: no CUDA driver: .*install NVIDIA's"):
        probe_gpu(library="libcuda_of_no_machine.so.1")
