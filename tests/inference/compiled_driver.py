"""The CUDA driver of `driver_in_memory.c`, compiled as a test wants it."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("driver_in_memory.c")


def compiled_driver(folder: Path, kind: str = "SOUND") -> str:
    """Return the library's path; a machine without a C compiler skips the test."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler `cc` to make a CUDA driver in memory with")
    library = folder / f"libcuda_{kind.lower()}.so"
    command = [compiler, "-shared", "-fPIC", "-O0", f"-D{kind}", "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own source
    return str(library)
