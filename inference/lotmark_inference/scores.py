"""Scores as they are committed: whole ten-thousandths, and which label they give."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.errors import EngineError
from lotmark_inference.model_manifest import LabelScore, ModelManifest

SCORE_ONE: Final = 10_000  # what a probability of 1 is


def quantised(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return probabilities in ten-thousandths, halves rounded to even.

    The product is taken in float64, so that only the model's own floats decide. Machines that run
    it differ by less than 1e-6, which moves a score by at most 1.

    Raises:
        EngineError: One is not a number of 0 to 1.
    """
    if not np.all((scores >= 0) & (scores <= 1 + 1e-6)):  # false for NaN
        raise EngineError(f"scores {scores.tolist()} are not probabilities; the engine failed")
    whole = np.rint(scores.astype(np.float64) * SCORE_ONE).astype(np.int64)
    return np.minimum(whole, SCORE_ONE)


def judged_label(scores: Sequence[int], manifest: ModelManifest) -> LabelScore:
    """Return the label that quantised scores give, by the manifest's own thresholds.

    It is the defect with the largest score of those that reach their threshold; where none does,
    the largest of the other labels. Of equal ones it is the first.
    """
    rated = list(zip(scores, manifest.labels, strict=True))
    reached = [each for each in rated if each[1].is_defect and each[0] >= each[1].threshold]
    rest = [each for each in rated if not each[1].is_defect]
    return max(reached or rest, key=lambda each: each[0])[1]


def calibrated(score: int, manifest: ModelManifest) -> int:
    """Return what a score means as a frequency: on the manifest's line through its knots.

    Whole numbers only, rounded down, so that every machine computes the same. Beyond the outer
    knots it stays as it is there; without knots a score means itself.
    """
    knots = manifest.calibration
    if not knots:
        return score
    if score <= knots[0][0]:
        return knots[0][1]
    for (raw, value), (next_raw, next_value) in pairwise(knots):
        if score <= next_raw:
            return value + (next_value - value) * (score - raw) // (next_raw - raw)
    return knots[-1][1]
