"""Models that run in memory: their scores are what the test says for the pixels they get."""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lotmark_inference.engine import EngineIdentity
from lotmark_inference.inspection import JudgingModel
from lotmark_inference.model_manifest import (
    EvaluationCounts,
    LabelScore,
    ModelInput,
    ModelManifest,
)

SOUND, COLD, POROSITY = (
    f"{phenomenon}/winding_end/OEM-A-std-3" for phenomenon in ("SOUND", "COLD_SOLDER", "POROSITY")
)
SIZE = 16
INPUT = ModelInput(name="image", height=SIZE, width=SIZE, um_per_pixel=50)

Scores = Callable[[NDArray[np.uint8]], Sequence[float]]


class EngineInMemory:
    """Keeps the port's promises: one row of scores an image, and the batch is not changed."""

    def __init__(self, name: str, scores: Scores) -> None:
        self._name = name
        self._scores = scores
        self.asked_count = 0

    @property
    def identity(self) -> EngineIdentity:
        return EngineIdentity(
            kind="memory",
            version="1",
            target="cpu",
            artefact_sha256=hashlib.sha256(self._name.encode()).digest(),
        )

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        assert batch.dtype == np.uint8
        self.asked_count += len(batch)
        return {"prob": np.array([self._scores(image) for image in batch], dtype=np.float32)}

    def close(self) -> None:
        """It holds nothing."""


def manifest(name: str = "weld-light", **changes: object) -> ModelManifest:
    fields: dict[str, object] = {
        "name": name,
        "version": 3,
        "onnx_sha256": hashlib.sha256(name.encode()).digest(),
        "input": INPUT,
        "scores_output": "prob",
        "heat_output": "",
        "labels": (
            LabelScore(label=SOUND, is_defect=False, threshold=3_000),
            LabelScore(label=COLD, is_defect=True, threshold=5_000),
            LabelScore(label=POROSITY, is_defect=True, threshold=5_000),
        ),
        "catalogue": "weld-labels/1",
        "preprocessing": "none",
        "training_digest": bytes(32),
        "evaluation": EvaluationCounts(
            dataset_digest=bytes(32),
            true_positives=480,
            false_positives=5,
            false_negatives=10,
            true_negatives=505,
        ),
        "calibration": ((0, 0), (5_000, 4_000), (10_000, 9_900)),
        "vectors": {},
    }
    return ModelManifest(**(fields | changes))  # type: ignore[arg-type]  # a test names what it changes


def model(
    scores: Sequence[float] | Scores, name: str = "weld-light", **changes: object
) -> JudgingModel:
    """Return a model that gives these scores to every image, or what a function says."""
    given: Scores = scores if callable(scores) else lambda _pixels: scores
    return JudgingModel(manifest(name, **changes), EngineInMemory(name, given))


def asked_count(judging: JudgingModel) -> int:
    assert isinstance(judging.engine, EngineInMemory)
    return judging.engine.asked_count


def image_file(seed: int = 1, *, kind: str = "PNG", size: tuple[int, int] = (SIZE, SIZE)) -> bytes:
    """Return a camera's file: noise, so that no two are alike."""
    pixels = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    return encoded(pixels, kind=kind)


def encoded(pixels: NDArray[np.generic], *, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()
