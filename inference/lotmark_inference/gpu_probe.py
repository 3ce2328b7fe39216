"""Whether this machine has a GPU that can be used: asked in a process of its own.

TensorRT's libraries may end the process with a segmentation fault where the driver is missing, and
a driver may hang on a broken device. Both happen to a child here, and are answers.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cache

from lotmark_inference.cuda_driver import LIBRARY, CudaDriver
from lotmark_inference.errors import EngineError

PROBE_S = 20.0  # the first use of a GPU after the machine started takes some seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """The first GPU of a machine."""

    name: str
    compute_capability: tuple[int, int]  # (8, 9)
    cuda_version: int  # that its driver goes up to: 13000 is 13.0

    @property
    def target(self) -> str:
        """What engines for it are built for, as in `EngineIdentity.target`."""
        major, minor = self.compute_capability
        return f"sm_{major}{minor}"


@cache
def present_gpu() -> Gpu:
    """Return this machine's first GPU; asked once in the life of a process.

    Raises:
        EngineError: There is none that can be used, and why.
    """
    return probe_gpu()


def probe_gpu(*, library: str = LIBRARY, timeout_s: float = PROBE_S) -> Gpu:
    """Ask a driver in a process of its own.

    Raises:
        EngineError: There is no driver or no GPU, or the driver crashed, hung or talked nonsense.
    """
    command = [sys.executable, "-m", "lotmark_inference.gpu_probe", library]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)  # noqa: S603 - our own module
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"no usable GPU: {library} gave no answer within {timeout_s:g} s; restart the machine"
        ) from error
    if done.returncode < 0:
        raise EngineError(
            f"no usable GPU: {library} crashed with signal {-done.returncode}; reinstall the driver"
        )
    try:
        answer = json.loads(done.stdout)
        if "refused" in answer:
            raise EngineError(f"no usable GPU: {answer['refused']}")
        major, minor = answer["compute_capability"]
        return Gpu(
            name=str(answer["name"]),
            compute_capability=(int(major), int(minor)),
            cuda_version=int(answer["cuda_version"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        shown = (done.stdout + done.stderr)[-200:].decode(errors="replace")
        raise EngineError(
            f"no usable GPU: the probe ended with {done.returncode} and {shown!a}"
        ) from error


def _answer(library: str) -> dict[str, object]:
    """Return what the child prints."""
    try:
        driver = CudaDriver(library)
        if driver.device_count == 0:
            return {"refused": "the CUDA driver finds none; is one plugged in, and visible to us?"}
        found = Gpu(
            name=driver.device_name(0),
            compute_capability=driver.compute_capability(0),
            cuda_version=driver.version,
        )
    except EngineError as error:
        return {"refused": str(error)}
    return asdict(found)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_answer(sys.argv[1])))
