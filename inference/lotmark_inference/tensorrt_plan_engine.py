"""Running a plan of TensorRT 11, of either edition, on the first GPU."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.batch_parts import infer_in_parts
from lotmark_inference.cuda_driver import CudaDevice
from lotmark_inference.engine import EngineIdentity
from lotmark_inference.errors import EngineError, ModelRefused
from lotmark_inference.image_checks import check_batch
from lotmark_inference.model_manifest import ModelManifest
from lotmark_inference.tensorrt_api import MessageLog


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """An output of the engine, with room for its largest batch."""

    name: str
    device_address: int
    pinned: NDArray[np.float32]  # shape (images, ...)


class PlanEngine:
    """An open plan; for one thread at a time.

    Images are copied to the GPU from where they lie. Those that were written into `pinned_batch`
    get there without the processor's help.
    """

    def __init__(
        self,
        bindings: ModuleType,
        device: CudaDevice,
        plan: bytes,
        identity: EngineIdentity,
        manifest: ModelManifest,
    ) -> None:
        """Open a plan, which is machine code: its bytes must be known to be those registered.

        Args:
            bindings: The edition that built it, in the same version.
            device: Where it runs; closed with the engine, and where it cannot be opened.
            plan: The bytes whose hash was compared.
            identity: What the engine calls itself.
            manifest: Of the model that the plan was made of.

        Raises:
            ModelRefused: The plan has other inputs or outputs than the manifest.
            EngineError: The library refuses it, or the GPU lacks memory.
        """
        self.identity = identity
        self._manifest = manifest
        self._device = device
        # The library keeps a pointer to it, so it must live as long.
        self._messages = MessageLog(bindings)
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._outputs: list[_Output] = []
        try:
            self._open(bindings, plan)
        except BaseException:
            # Now: the error holds on to this object, and the library's must go before the device.
            self.close()
            raise

    @property
    def images_max(self) -> int:
        """How many images the engine takes at once; larger batches go in parts."""
        return self._images_max

    def pinned_batch(self, count: int) -> NDArray[np.uint8]:
        """Return room for up to `images_max` images, to fill and give to `infer`.

        It is the same memory each time, and gone when the engine is closed.
        """
        return self._pinned_input[:count]

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Return the outputs for a batch, as `Engine.infer` does.

        Raises:
            InputRefused: It is not what the model takes.
            EngineError: The engine failed, or gave something that is no number.
        """
        check_batch(batch, self._manifest.input)
        if not batch.flags.c_contiguous:
            raise EngineError(
                "the batch is not contiguous in memory; give numpy's ascontiguousarray"
            )
        outputs = infer_in_parts(self._infer_part, batch, self._images_max)
        for name, output in outputs.items():
            if not np.isfinite(output).all():
                raise EngineError(
                    f"{self.identity.name} gave output {name!a} with NaN or infinity; run the"
                    " admission gate again, and build the engine anew"
                )
        return outputs

    def close(self) -> None:
        """Give back the GPU's memory; a second time does nothing."""
        if self._runtime is not None:
            # The library's objects first: they give back what they have in the device's context.
            self._device.make_current()
            self._context = None
            self._engine = None
            self._runtime = None
        self._outputs.clear()
        self._device.close()

    def _open(self, bindings: ModuleType, plan: bytes) -> None:
        device, manifest = self._device, self._manifest
        device.make_current()
        self._runtime = bindings.Runtime(self._messages.sink)
        self._demand_valid(bindings, plan)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(f"{self.identity.name} cannot open the engine: {self._messages}")
        _demand_tensors(bindings, self._engine, manifest)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"{self.identity.name} has no memory to run in: {self._messages}")
        shape = tuple(self._engine.get_tensor_profile_shape(manifest.input.name, 0)[2])
        self._images_max: int = shape[0]
        self._pinned_input = device.pinned_memory(math.prod(shape)).reshape(shape)
        self._input_address = device.device_memory(self._pinned_input.nbytes)
        self._set_input(shape)
        self._context.set_tensor_address(manifest.input.name, self._input_address)
        for name in _tensor_names(self._engine):
            if self._engine.get_tensor_mode(name) == bindings.TensorIOMode.OUTPUT:
                self._outputs.append(self._output(name))

    def _infer_part(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Return the outputs for what the engine takes at once."""
        if self._context is None:
            raise EngineError("the engine is closed; open it again")
        device = self._device
        device.make_current()
        self._set_input(batch.shape)
        device.copy_in(self._input_address, batch.ctypes.data, batch.nbytes)
        if not self._context.execute_async_v3(device.stream):
            raise EngineError(f"{self.identity.name} failed: {self._messages}")
        for output in self._outputs:
            size = output.pinned[: len(batch)].nbytes
            device.copy_out(output.pinned.ctypes.data, output.device_address, size)
        device.wait()
        return {output.name: output.pinned[: len(batch)].copy() for output in self._outputs}

    def _demand_valid(self, bindings: ModuleType, plan: bytes) -> None:
        """Have the library say what is wrong with a plan, where it can: the RTX edition alone."""
        if not hasattr(self._runtime, "get_engine_validity"):
            return
        validity, bits = self._runtime.get_engine_validity(plan)
        if validity == bindings.EngineValidity.INVALID:
            members = bindings.EngineInvalidityDiagnostics.__members__
            reasons = [name for name, bit in members.items() if int(bits) & int(bit)]
            raise EngineError(
                f"{self.identity.name} cannot run this engine here:"
                f" {', '.join(reasons) or self._messages}; build one for this machine"
            )

    def _set_input(self, shape: tuple[int, ...]) -> None:
        if not self._context.set_input_shape(self._manifest.input.name, shape):
            raise EngineError(f"{self.identity.name} takes no batch {shape}: {self._messages}")

    def _output(self, name: str) -> _Output:
        """Return an output, with memory for the input shape that is set now: the largest."""
        shape = tuple(self._context.get_tensor_shape(name))
        size = 4 * math.prod(shape)
        pinned = self._device.pinned_memory(size).view(np.float32).reshape(shape)
        address = self._device.device_memory(size)
        self._context.set_tensor_address(name, address)
        return _Output(name=name, device_address=address, pinned=pinned)


def _tensor_names(engine: Any) -> list[str]:
    return [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]


def _demand_tensors(bindings: ModuleType, engine: Any, manifest: ModelManifest) -> None:
    """Refuse a plan whose tensors are not those of the manifest."""
    kinds = {bindings.TensorIOMode.INPUT: "in", bindings.TensorIOMode.OUTPUT: "out"}
    found = {
        name: (
            kinds[engine.get_tensor_mode(name)],
            engine.get_tensor_dtype(name),
            tuple(engine.get_tensor_shape(name)),
        )
        for name in _tensor_names(engine)
    }
    image = manifest.input
    numbers = bindings.DataType.FLOAT
    wanted = {
        image.name: ("in", bindings.DataType.UINT8, (-1, image.height, image.width)),
        manifest.scores_output: ("out", numbers, (-1, len(manifest.labels))),
    }
    heat = found.get(manifest.heat_output)
    if manifest.heat_output:
        rows_columns = heat[2][1:] if heat and len(heat[2]) == 3 else ("rows", "columns")
        wanted[manifest.heat_output] = ("out", numbers, (-1, *rows_columns))
    if found != wanted:
        raise ModelRefused(
            f"{manifest.name}/{manifest.version}: the engine has the tensors {found}, the manifest"
            f" {wanted}; it was built of another model"
        )
