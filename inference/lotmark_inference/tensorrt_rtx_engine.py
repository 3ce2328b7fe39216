"""TensorRT-RTX: for GPUs of work stations; it builds engines for them on a machine without one."""

from typing import Final

from lotmark_inference.errors import EngineError
from lotmark_inference.tensorrt_api import Edition, build_plan, load_edition

TENSORRT_RTX: Final = Edition(
    kind="tensorrt-rtx",
    module="tensorrt_rtx_bindings",
    remedy="install the extra lotmark[tensorrt-rtx], about 100 MB",
)
PORTABLE: Final = "portable"  # the library's own choice of targets, for GPUs from Ampere on

_PREFIX = "sm_"


def build_engine(onnx: bytes, target: str) -> bytes:
    """Return the engine of a model for a kind of GPU, which need not be at hand.

    Args:
        onnx: The model.
        target: "sm_89", or `PORTABLE`.

    Raises:
        ModelRefused: TensorRT-RTX cannot read the model.
        EngineError: It builds for no such target, or no engine can be built.
    """
    bindings = load_edition(TENSORRT_RTX)
    named = {
        f"{_PREFIX}{name.removeprefix('SM')}": name
        for name in bindings.ComputeCapability.__members__
        if name.startswith("SM")
    }
    if target != PORTABLE and target not in named:
        raise EngineError(
            f"TensorRT-RTX {bindings.__version__} builds nothing for {target!a}; it does for"
            f" {', '.join([*named, PORTABLE])}"
        )
    return build_plan(bindings, onnx, compute_capability=named.get(target))
