"""The driver by ctypes: addresses stay whole, memory is given back, a no is told with its name."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

from lotmark_inference.cuda_driver import CudaDriver
from lotmark_inference.errors import EngineError
from tests.inference.compiled_driver import compiled_driver


@pytest.fixture
def library(tmp_path: Path) -> str:
    return compiled_driver(tmp_path)


def test_bytes_come_back_from_the_device_as_they_went_there(library: str) -> None:
    sent = np.arange(1_000, dtype=np.uint8)
    with CudaDriver(library).opened(0) as device:
        pinned, back = device.pinned_memory(1_000), device.pinned_memory(1_000)
        pinned[:] = sent
        address = device.device_memory(1_000)
        device.copy_in(address, pinned.ctypes.data, 1_000)
        device.copy_out(back.ctypes.data, address, 1_000)
        device.wait()
        received = back.copy()

    assert np.array_equal(received, sent)


def test_a_closed_device_has_given_everything_back(library: str) -> None:
    device = CudaDriver(library).opened(0)
    device.pinned_memory(10)
    device.device_memory(10)
    live = ctypes.CDLL(library).live_count
    before = live()

    device.close()
    device.close()

    assert (before, live()) == (4, 0)


def test_memory_that_the_driver_refuses_is_named_with_its_status(library: str) -> None:
    with (
        CudaDriver(library).opened(0) as device,
        pytest.raises(EngineError, match="answered cuMemAlloc_v2 with 2, OUT_OF_MEMORY"),
    ):
        device.device_memory(1 << 40)


def test_a_device_that_is_not_there_is_refused(library: str) -> None:
    with pytest.raises(EngineError, match="answered cuDeviceGet with 101"):
        CudaDriver(library).opened(1)


def test_a_library_that_is_no_driver_is_refused_by_the_function_it_lacks() -> None:
    with pytest.raises(EngineError, match=r"no CUDA driver: .*cuInit.*; install NVIDIA's driver"):
        CudaDriver("libc.so.6")
