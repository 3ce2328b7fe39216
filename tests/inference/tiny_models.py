"""The tiny model of `sample_models`, in two sets of weights, for engines to be compared on."""

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.model_manifest import ModelManifest
from lotmark_inference.weld_surface import SIZE
from tests.inference.sample_models import sample_manifest, tiny_onnx, tiny_weights


@cache
def tiny_model(*, is_other: bool = False) -> tuple[bytes, ModelManifest]:
    """Return an ONNX file and its manifest, which names no scores: nothing was trained."""
    onnx = tiny_onnx(weights=-tiny_weights() if is_other else None)
    return onnx, replace(sample_manifest(onnx), vectors={})


def noise(seed: int, count: int) -> NDArray[np.uint8]:
    """Return images of noise, each of another brightness."""
    draw = np.random.default_rng(seed)
    bright = draw.integers(20, 256, (count, 1, 1))
    return (draw.random((count, SIZE, SIZE)) * bright).astype(np.uint8)
