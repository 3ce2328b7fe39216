"""As much of TensorRT's Python module as `PlanEngine` uses, computing in the host's memory.

With the CUDA driver of `driver_in_memory.c` a device address is an address, so an engine reads and
writes where it was told. A plan is JSON that says what the engine is like.
"""

import ctypes
import json
from enum import Enum, IntEnum
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tests.inference.engines_in_memory import HEIGHT, WIDTH, SoundEngine

__version__ = "1.7.1.116"


class ILogger:
    class Severity(Enum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def log(self, severity: Severity, message: str) -> None:
        raise NotImplementedError


class TensorIOMode(Enum):
    NONE, INPUT, OUTPUT = range(3)


class DataType(Enum):
    FLOAT, UINT8 = range(2)


class EngineValidity(Enum):
    VALID, SUBOPTIMAL, INVALID = range(3)


class EngineInvalidityDiagnostics(IntEnum):
    VERSION_MISMATCH, UNSUPPORTED_CC, OLD_CUDA_DRIVER = 1, 2, 4


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def get_engine_validity(self, plan: bytes) -> tuple[EngineValidity, int]:
        bits = json.loads(plan).get("invalid", 0)
        return EngineValidity.INVALID if bits else EngineValidity.VALID, bits

    def deserialize_cuda_engine(self, plan: bytes) -> "Engine | None":
        said = json.loads(plan)
        if said.get("corrupt"):
            self._logger.log(ILogger.Severity.INFO, "Loaded engine size: 0 MiB")
            self._logger.log(ILogger.Severity.ERROR, "Error Code 1: magic tag does not match")
            return None
        return Engine(self._logger, said)


class Engine:
    _KINDS: ClassVar = {"scores": (2,), "heat": (2, 3)}

    def __init__(self, logger: ILogger, said: dict[str, Any]) -> None:
        self.logger, self.said = logger, said
        self.images_max: int = said.get("images_max", 4)
        self._names: list[str] = ["image", *said.get("outputs", ["scores", "heat"])]
        self.num_io_tensors = len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "image" else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.UINT8 if name == "image" else DataType.FLOAT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, HEIGHT, WIDTH) if name == "image" else (-1, *self._KINDS[name])

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        assert (name, profile) == ("image", 0)
        return [(count, HEIGHT, WIDTH) for count in (1, 2, self.images_max)]

    def create_execution_context(self) -> "Context | None":
        return None if self.said.get("no_memory") else Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shape: tuple[int, ...] = (-1, HEIGHT, WIDTH)
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shape = shape
        return name == "image" and 1 <= shape[0] <= self._engine.images_max

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self._shape[0], *self._engine.get_tensor_shape(name)[1:])

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream
        fails = self._engine.said.get("fails")
        if fails:
            self._engine.logger.log(ILogger.Severity.ERROR, "Error Code 1: Cuda Runtime")
            return False
        outputs = SoundEngine().infer(self._at("image", ctypes.c_uint8))
        for name in self._addresses.keys() - {"image"}:
            self._at(name, ctypes.c_float)[...] = outputs[name]
            if self._engine.said.get("nan") == name:
                self._at(name, ctypes.c_float).flat[-1] = np.nan
        return True

    def _at(self, name: str, kind: Any) -> NDArray[Any]:
        shape = self.get_tensor_shape(name)
        room = (kind * prod(shape)).from_address(self._addresses[name])
        return np.ctypeslib.as_array(room).reshape(shape)
