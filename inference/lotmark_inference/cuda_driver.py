"""What engines need of the CUDA driver: a device, a stream, memory, copies. By ctypes on libcuda.

The driver comes with the GPU; so nothing needs to be installed for it, and no other library has a
say in where buffers lie. TensorRT works in the device's primary context, and so does this.
"""

import ctypes
from collections.abc import Callable
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.errors import EngineError

LIBRARY: Final = "libcuda.so.1"

_MAJOR_ATTRIBUTE = 75  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
_MINOR_ATTRIBUTE = 76
_NON_BLOCKING_STREAM = 1  # CU_STREAM_NON_BLOCKING: it does not wait for the default stream
_NAME_SIZE_MAX = 256

# The pointer-sized types are declared, or ctypes would cut an address down to 32 bits.
_ARGUMENTS: Final[dict[str, tuple[Any, ...]]] = {
    "cuInit": (ctypes.c_uint,),
    "cuDriverGetVersion": (ctypes.POINTER(ctypes.c_int),),
    "cuDeviceGetCount": (ctypes.POINTER(ctypes.c_int),),
    "cuDeviceGet": (ctypes.POINTER(ctypes.c_int), ctypes.c_int),
    "cuDeviceGetName": (ctypes.c_char_p, ctypes.c_int, ctypes.c_int),
    "cuDeviceGetAttribute": (ctypes.POINTER(ctypes.c_int), ctypes.c_int, ctypes.c_int),
    "cuDevicePrimaryCtxRetain": (ctypes.POINTER(ctypes.c_void_p), ctypes.c_int),
    "cuDevicePrimaryCtxRelease_v2": (ctypes.c_int,),
    "cuCtxSetCurrent": (ctypes.c_void_p,),
    "cuStreamCreate": (ctypes.POINTER(ctypes.c_void_p), ctypes.c_uint),
    "cuStreamSynchronize": (ctypes.c_void_p,),
    "cuStreamDestroy_v2": (ctypes.c_void_p,),
    "cuMemAlloc_v2": (ctypes.POINTER(ctypes.c_uint64), ctypes.c_size_t),
    "cuMemFree_v2": (ctypes.c_uint64,),
    "cuMemHostAlloc": (ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_uint),
    "cuMemFreeHost": (ctypes.c_void_p,),
    "cuMemcpyHtoDAsync_v2": (ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p),
    "cuMemcpyDtoHAsync_v2": (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p),
    "cuGetErrorName": (ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)),
}


class CudaDriver:
    """The driver's functions; each raises where the driver says no."""

    def __init__(self, library: str = LIBRARY) -> None:
        """Load and start the driver.

        Raises:
            EngineError: There is no such library, it lacks a function, or finds no GPU.
        """
        try:
            loaded = ctypes.CDLL(library)
            for name, arguments in _ARGUMENTS.items():
                getattr(loaded, name).argtypes = arguments
        except (OSError, AttributeError) as error:
            raise EngineError(f"no CUDA driver: {error}; install NVIDIA's driver") from error
        self._library = loaded
        self._call("cuInit", 0)

    @property
    def version(self) -> int:
        """CUDA version that the driver goes up to: 13000 is 13.0."""
        return self._number("cuDriverGetVersion")

    @property
    def device_count(self) -> int:
        """How many GPUs this process sees."""
        return self._number("cuDeviceGetCount")

    def device_name(self, device: int) -> str:
        """Return what its maker calls a device, the first being 0."""
        name = ctypes.create_string_buffer(_NAME_SIZE_MAX)
        self._call("cuDeviceGetName", name, _NAME_SIZE_MAX, self._handle(device))
        return name.value.decode(errors="replace")

    def compute_capability(self, device: int) -> tuple[int, int]:
        """Return what kind of machine code a device runs: (8, 9)."""
        handle = self._handle(device)
        return (
            self._number("cuDeviceGetAttribute", _MAJOR_ATTRIBUTE, handle),
            self._number("cuDeviceGetAttribute", _MINOR_ATTRIBUTE, handle),
        )

    def opened(self, device: int) -> "CudaDevice":
        """Return a device to work on."""
        return CudaDevice(self._call, self._handle(device))

    def _handle(self, device: int) -> int:
        handle = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(handle), device)
        return handle.value

    def _number(self, function: str, *arguments: object) -> int:
        """Return what a function writes to its first argument."""
        number = ctypes.c_int()
        self._call(function, ctypes.byref(number), *arguments)
        return number.value

    def _call(self, function: str, *arguments: object) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            name = ctypes.c_char_p()
            self._library.cuGetErrorName(status, ctypes.byref(name))
            shown = (name.value or b"unknown").decode(errors="replace")
            raise EngineError(f"the CUDA driver answered {function} with {status}, {shown}")


class CudaDevice:
    """A device's primary context, one stream in it, and what was allocated there.

    All that it copies is put in a row on the stream, as are the engine's own kernels; `wait` until
    they are done before buffers are read or written again.
    """

    def __init__(self, call: Callable[..., None], handle: int) -> None:
        self._call = call
        self._device = handle
        self._frees: list[tuple[str, int]] = []
        context, stream = ctypes.c_void_p(), ctypes.c_void_p()
        call("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
        self._context = context.value
        try:
            self.make_current()
            call("cuStreamCreate", ctypes.byref(stream), _NON_BLOCKING_STREAM)
        except EngineError:
            call("cuDevicePrimaryCtxRelease_v2", handle)
            raise
        self.stream = stream.value or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def make_current(self) -> None:
        """Let this thread's calls, TensorRT's among them, go to this device."""
        self._call("cuCtxSetCurrent", self._context)

    def device_memory(self, size: int) -> int:
        """Return the address of so many bytes on the device; it is freed by `close`."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), size)
        self._frees.append(("cuMemFree_v2", address.value))
        return address.value

    def pinned_memory(self, size: int) -> NDArray[np.uint8]:
        """Return so many bytes of the host that the device copies without help of the processor.

        They are freed by `close`: a view of them must not be touched after that.
        """
        address = ctypes.c_void_p()
        self._call("cuMemHostAlloc", ctypes.byref(address), size, 0)
        assert address.value is not None
        self._frees.append(("cuMemFreeHost", address.value))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address.value))

    def copy_in(self, device_address: int, host_address: int, size: int) -> None:
        """Put a copy to the device on the stream."""
        self._call("cuMemcpyHtoDAsync_v2", device_address, host_address, size, self.stream)

    def copy_out(self, host_address: int, device_address: int, size: int) -> None:
        """Put a copy from the device on the stream."""
        self._call("cuMemcpyDtoHAsync_v2", host_address, device_address, size, self.stream)

    def wait(self) -> None:
        """Return when all that was put on the stream is done."""
        self._call("cuStreamSynchronize", self.stream)

    def close(self) -> None:
        """Give back memory, stream and context; a second time does nothing."""
        if self._context is None:
            return
        self.make_current()
        while self._frees:
            function, address = self._frees.pop()
            self._call(function, address)
        self._call("cuStreamDestroy_v2", self.stream)
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)
        self._context = None
