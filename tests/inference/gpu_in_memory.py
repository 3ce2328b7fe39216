"""A machine with a GPU, in memory: what a process sees of it comes by its environment."""

import os
from pathlib import Path

from tests.inference.compiled_driver import compiled_driver

ROOT = Path(__file__).parents[2]
ENGINE = "tensorrt-rtx-1.7.1.116"


def gpu_environment(folder: Path) -> dict[str, str]:
    """Return by which variables a process finds a driver, TensorRT-RTX and half of TensorRT."""
    Path(compiled_driver(folder)).rename(folder / "libcuda.so.1")
    (folder / "tensorrt_rtx_bindings.py").write_text(
        "from tests.inference.tensorrt_in_memory import *\n"
        "from tests.inference.tensorrt_in_memory import __version__\n"
    )
    (folder / "tensorrt_bindings.py").write_text("import ctypes\nctypes.CDLL('libnvinfer.so.11')\n")
    return {
        "LD_LIBRARY_PATH": str(folder),
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
    }
