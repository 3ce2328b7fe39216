"""The port that every engine keeps: images in, named arrays of scores out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineIdentity:
    """Which engine it is, as results name it on the ledger."""

    kind: str  # "onnxruntime", "tensorrt", "tensorrt-rtx"
    version: str
    target: str  # "cpu", "sm_89"
    artefact_sha256: bytes  # of the bytes that were opened

    @property
    def name(self) -> str:
        """Kind and version, as in `ModelAdmitted.engine`."""
        return f"{self.kind}-{self.version}"


class Engine(Protocol):
    """An open engine; for one thread."""

    @property
    def identity(self) -> EngineIdentity:
        """Which engine it is."""

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Return the model's outputs by name for a batch.

        Args:
            batch: Images as the manifest's input has them, shape (n, height, width), contiguous; it
                may be read where it lies, and is not changed.

        Raises:
            EngineError: The engine failed; nothing was scored.
        """

    def close(self) -> None:
        """Give back memory and device."""
