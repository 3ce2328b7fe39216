"""TensorRT 11 as both its editions have it: loading the library, its messages, building a plan.

A plan is what TensorRT makes of a model for one kind of GPU: machine code. Written against the
strongly typed API: precision is the ONNX file's own, tensors go by name, and nothing of TensorRT 10
is used. Neither edition has type stubs, so what comes from the library is `Any`.
"""

import importlib
import logging
from collections import deque
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from lotmark_inference.errors import EngineError, ModelRefused

logger = logging.getLogger(__name__)

BATCH_IMAGES_MAX: Final = 16

_TYPICAL_BATCH_IMAGES = 4  # what the builder optimises for, between one image and the most
_WORKSPACE_SIZE_MAX = 512 * 2**20
_MESSAGES_KEPT = 3
_MESSAGE_LENGTH_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """One of the two libraries with this API."""

    kind: str  # as `EngineIdentity.kind` has it
    module: str
    remedy: str  # how it is installed


class MessageLog:
    """What the library says: at `warning` and above to the log, the last of it kept for errors."""

    def __init__(self, bindings: ModuleType) -> None:
        self._kept: deque[str] = deque(maxlen=_MESSAGES_KEPT)
        severities = bindings.ILogger.Severity
        levels = {
            severities.INTERNAL_ERROR: logging.ERROR,
            severities.ERROR: logging.ERROR,
            severities.WARNING: logging.WARNING,
        }

        def log(_: object, severity: Any, message: str) -> None:
            if severity in levels:
                shown = message[:_MESSAGE_LENGTH_MAX]
                logger.log(levels[severity], "tensorrt message", extra={"text": shown})
                self._kept.append(shown)

        def start(own: Any) -> None:
            bindings.ILogger.__init__(own)

        # A class of the library's, which is known only now; the library calls its `log`.
        self.sink: Any = type("_Sink", (bindings.ILogger,), {"__init__": start, "log": log})()

    def __str__(self) -> str:
        return "; ".join(self._kept) or "it gave no reason"


def load_edition(edition: Edition) -> ModuleType:
    """Return the library's Python module.

    Raises:
        EngineError: It is not installed, or lacks a library of its own.
    """
    try:
        return importlib.import_module(edition.module)
    except (ImportError, OSError) as error:
        raise EngineError(
            f"engine kind {edition.kind} needs {edition.module}: {error}; {edition.remedy}"
        ) from error


def build_plan(
    bindings: ModuleType,
    onnx: bytes,
    *,
    compute_capability: str | None,
    batch_images_max: int = BATCH_IMAGES_MAX,
) -> bytes:
    """Return the plan of a model, for batches of 1 to `batch_images_max` images.

    The same model does not give the same bytes again: a plan is known by its hash alone.

    Args:
        bindings: The library.
        onnx: A model with one input of images, of which the batch size is free.
        compute_capability: A name of the library's `ComputeCapability`. None: its own choice.
        batch_images_max: The largest batch that the engine will take at once.

    Raises:
        ModelRefused: The library cannot read the model.
        EngineError: It cannot build an engine of it.
    """
    messages = MessageLog(bindings)
    builder = bindings.Builder(messages.sink)
    network = builder.create_network(0)
    # The parser owns the weights, so it must be there until the engine is built.
    parser = bindings.OnnxParser(network, messages.sink)
    image = _parse(bindings, parser, network, onnx)
    pixels = tuple(image.shape)[1:]
    config = builder.create_builder_config()
    config.set_memory_pool_limit(bindings.MemoryPoolType.WORKSPACE, _WORKSPACE_SIZE_MAX)
    # TF32 keeps 10 bits of a factor, and scores are compared to four digits with those of a CPU.
    config.clear_flag(bindings.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    typical = min(_TYPICAL_BATCH_IMAGES, batch_images_max)
    profile.set_shape(image.name, (1, *pixels), (typical, *pixels), (batch_images_max, *pixels))
    config.add_optimization_profile(profile)
    if compute_capability is not None:
        wanted = getattr(bindings.ComputeCapability, compute_capability)
        config.num_compute_capabilities = 1
        config.set_compute_capability(wanted, 0)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT {bindings.__version__} built no engine: {messages}")
    return bytes(plan)


def _parse(bindings: ModuleType, parser: Any, network: Any, onnx: bytes) -> Any:
    """Read a model into a network, and return its only input."""
    if not parser.parse(onnx):
        reasons = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        shown = "; ".join(reasons[:_MESSAGES_KEPT])[:_MESSAGE_LENGTH_MAX]
        raise ModelRefused(f"TensorRT {bindings.__version__} cannot read the model: {shown}")
    if network.num_inputs != 1:
        raise ModelRefused(f"the model has {network.num_inputs} inputs; one of images is needed")
    image = network.get_input(0)
    free, *pixels = tuple(image.shape)
    if free != -1 or -1 in pixels:
        raise ModelRefused(
            f"the model's input {image.name!a} has the shape {tuple(image.shape)}; the number of"
            " images must be free (-1), and nothing else"
        )
    return image
