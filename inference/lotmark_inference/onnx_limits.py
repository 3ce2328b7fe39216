"""What ONNX Runtime is called, and what it takes: for those who do not load it."""

from typing import Final

KIND: Final = "onnxruntime"
TARGET: Final = "cpu"
ONNX_SIZE_MAX: Final = 64 * 2**20
