"""A batch of any size for an engine that takes so many images at a time."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Outputs = Mapping[str, NDArray[np.float32]]


def infer_in_parts(
    infer: Callable[[NDArray[np.uint8]], Outputs], batch: NDArray[np.uint8], images_max: int
) -> Outputs:
    """Return the outputs for a batch, of which `infer` sees at most `images_max` at once."""
    if len(batch) <= images_max:
        return infer(batch)
    parts = [infer(batch[start : start + images_max]) for start in range(0, len(batch), images_max)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
