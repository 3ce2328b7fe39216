"""What runs here is asked in another process, and goes by the names of the ledger."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lotmark_inference.engines_here import engines_here
from lotmark_inference.errors import EngineError
from tests.inference.gpu_in_memory import gpu_environment

CODE = """
import sys
from lotmark_inference.engines_here import engines_here
from lotmark_inference.errors import EngineError
for kind in sys.argv[1:]:
    try: print(kind, *map(" ".join, engines_here(kind)), sep=", ")
    except EngineError as error: print(error)
print([name for name in sys.modules if name.startswith("tensorrt")])
"""


def asked(*kinds: str, **environment: str) -> list[str]:
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", CODE, *kinds],
        env=os.environ | environment,
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.splitlines()


def test_onnx_runtime_runs_everywhere() -> None:
    assert engines_here("onnxruntime") == (("onnxruntime-1.32.0", "cpu"),)


def test_the_libraries_are_loaded_by_a_child_alone(tmp_path: Path) -> None:
    told = asked("tensorrt-rtx", "tensorrt", **gpu_environment(tmp_path))

    assert told[0] == "tensorrt-rtx, tensorrt-rtx-1.7.1.116 sm_89, tensorrt-rtx-1.7.1.116 portable"
    assert told[1].startswith("no engine tensorrt: engine kind tensorrt needs tensorrt_bindings")
    assert told[2] == "[]"


@pytest.mark.parametrize("fault", ["import os; os.abort()", "raise RuntimeError('odd')"])
def test_a_library_that_ends_its_process_or_fails_is_an_answer(fault: str, tmp_path: Path) -> None:
    environment = gpu_environment(tmp_path)
    (tmp_path / "tensorrt_bindings.py").write_text(f"{fault}\n")
    told = asked("tensorrt", **environment)

    assert told[0].startswith("no engine tensorrt: ")
    assert "signal 6" in told[0] or "odd" in told[0]


def test_without_a_gpu_there_is_no_engine_for_one() -> None:
    told = asked("tensorrt-rtx", CUDA_VISIBLE_DEVICES="")

    assert told[0].startswith("no engine tensorrt-rtx: no usable GPU: ")


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(EngineError, match="'openvino' is none of onnxruntime"):
        engines_here("openvino")
