"""Whether this machine has a GPU that can be used: asked in a process of its own."""

import json
import sys
from dataclasses import asdict, dataclass
from functools import cache

from lotmark_inference.child_answer import child_answer
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
    answer = child_answer(
        "lotmark_inference.gpu_probe", library, lacks="no usable GPU", timeout_s=timeout_s
    )
    name, capability, cuda_version = map(answer.get, ("name", "compute_capability", "cuda_version"))
    assert isinstance(name, str), "our own module says so"
    assert isinstance(capability, list)
    assert isinstance(cuda_version, int)
    major, minor = capability
    return Gpu(name=name, compute_capability=(major, minor), cuda_version=cuda_version)


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
