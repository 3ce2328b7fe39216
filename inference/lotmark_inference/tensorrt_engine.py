"""TensorRT: for GPUs of data centres, and for Jetson and IGX, whose system brings it along.

PyPI has its Python module (extra `tensorrt`), not the library behind it: that comes from NVIDIA, as
a package of the system or from NVIDIA's own index.
"""

from typing import Final

from lotmark_inference.errors import EngineError
from lotmark_inference.gpu_probe import present_gpu
from lotmark_inference.tensorrt_api import Edition, build_plan, load_edition

TENSORRT: Final = Edition(
    kind="tensorrt",
    module="tensorrt_bindings",
    remedy=(
        "install the extra lotmark[tensorrt] and NVIDIA's TensorRT 11 library, which PyPI does not"
        " have: see docs/inference.md, Engines"
    ),
)


def build_engine(onnx: bytes, target: str) -> bytes:
    """Return the engine of a model for the GPU of this machine, and no other.

    Args:
        onnx: The model.
        target: This machine's: "sm_90".

    Raises:
        ModelRefused: TensorRT cannot read the model.
        EngineError: This machine has no GPU, or another one; or no engine can be built.
    """
    gpu = present_gpu()
    if gpu.target != target:
        raise EngineError(
            f"TensorRT builds for the GPU that it runs on, {gpu.name}, {gpu.target}; build the"
            f" engine for {target} on such a machine"
        )
    return build_plan(load_edition(TENSORRT), onnx, compute_capability=None)
