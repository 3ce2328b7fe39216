"""Write the manifest of a trained weld model: thresholds, calibration, held-out counts, vectors.

    uv run --extra train python -m tools.weld_training.write_manifest FOLDER

Thresholds and calibration are taken from the validation images, and the counts that the manifest
states from the test images, of which nothing was learnt.
"""

import argparse
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from lotmark_inference.evaluation import evaluate
from lotmark_inference.manifest_file import dump_manifest
from lotmark_inference.model_manifest import (
    EvaluationCounts,
    LabelScore,
    ModelInput,
    ModelManifest,
)
from lotmark_inference.onnx_engine import OnnxEngine
from lotmark_inference.scores import SCORE_ONE, quantised
from lotmark_inference.weld_images import (
    CATALOGUE,
    PREPROCESSING,
    TEST_SEEDS,
    VALIDATION_SEEDS,
    WeldImage,
    weld_image,
)
from lotmark_inference.weld_surface import SIZE, UM_PER_PIXEL, WeldKind

VALIDATION_COUNT = 4_000
TEST_COUNT = 4_000
FALSE_REJECTS_MAX = 0.005  # of the validation's sound welds; half of what is allowed
THRESHOLD_MIN, THRESHOLD_MAX = 1_000, 5_000  # ten-thousandths
VECTOR_SEEDS = range(1, 17)
CALIBRATION_EDGES = (0, 100, 500, 1_000, 2_500, 5_000, 7_500, 9_000, 9_500, 9_900, SCORE_ONE + 1)


def first_manifest(raw: bytes, training_digest: bytes) -> ModelManifest:
    """Return the manifest of an ONNX file before anything was measured."""
    metadata = {each.key: each.value for each in onnx.load_from_string(raw).metadata_props}
    return ModelManifest(
        name=metadata["lotmark.name"],
        version=int(metadata["lotmark.version"]),
        onnx_sha256=hashlib.sha256(raw).digest(),
        input=ModelInput(name="image", height=SIZE, width=SIZE, um_per_pixel=UM_PER_PIXEL),
        scores_output="prob",
        heat_output="heat",
        labels=_labels(THRESHOLD_MAX),
        catalogue=CATALOGUE,
        preprocessing=PREPROCESSING,
        training_digest=training_digest,
        evaluation=EvaluationCounts(
            dataset_digest=bytes(32),
            true_positives=0,
            false_positives=0,
            false_negatives=0,
            true_negatives=0,
        ),
        calibration=(),
        vectors={},
    )


def _labels(threshold: int) -> tuple[LabelScore, ...]:
    """Return the labels; a weld is sound where no defect reaches its threshold."""
    return tuple(
        LabelScore(
            label=kind.value,
            is_defect=kind is not WeldKind.SOUND,
            threshold=0 if kind is WeldKind.SOUND else threshold,
        )
        for kind in WeldKind
    )


def _scores(engine: OnnxEngine, images: Iterable[WeldImage]) -> NDArray[np.int64]:
    return np.concatenate([quantised(engine.infer(image.pixels[None])["prob"]) for image in images])


def _threshold(scores: NDArray[np.int64], kinds: Sequence[WeldKind]) -> int:
    """Return the lowest threshold at which few enough sound welds are rejected."""
    is_sound = np.array([kind is WeldKind.SOUND for kind in kinds])
    worst = np.sort(scores[is_sound, 1:].max(axis=1))[::-1]
    lowest = int(worst[int(FALSE_REJECTS_MAX * len(worst))]) + 1
    return min(max(lowest, THRESHOLD_MIN), THRESHOLD_MAX)


def _calibration(
    scores: NDArray[np.int64], kinds: Sequence[WeldKind]
) -> tuple[tuple[int, int], ...]:
    """Return how often a label of such a score was the right one, of all labels together.

    A knot lies at the mean score of a bin. Laplace's rule keeps a small bin from certainty, and a
    frequency that falls is raised to the one before it.
    """
    is_right = np.array([[kind is wanted for wanted in WeldKind] for kind in kinds])
    knots: list[tuple[int, int]] = []
    for start, end in pairwise(CALIBRATION_EDGES):
        inside = (scores >= start) & (scores < end)
        if inside.any():
            raw = round(float(scores[inside].mean()))
            right = round(SCORE_ONE * (is_right[inside].sum() + 1) / (inside.sum() + 2))
            knots.append((raw, max(right, knots[-1][1]) if knots else right))
    return tuple(knots)


def measured(raw: bytes, training_digest: bytes) -> ModelManifest:
    """Return the manifest with all that is measured."""
    manifest = first_manifest(raw, training_digest)
    engine = OnnxEngine(raw, manifest)
    images = [weld_image(seed) for seed in VALIDATION_SEEDS[:VALIDATION_COUNT]]
    kinds, scores = [image.kind for image in images], _scores(engine, images)
    manifest = replace(
        manifest,
        labels=_labels(_threshold(scores, kinds)),
        calibration=_calibration(scores, kinds),
        vectors={
            seed: tuple(_scores(engine, [weld_image(seed)])[0].tolist()) for seed in VECTOR_SEEDS
        },
    )
    found = evaluate(engine, manifest, TEST_SEEDS[:TEST_COUNT])
    return replace(manifest, evaluation=found.counts)


def main() -> None:
    """Write the manifest of the model in the folder that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where train.py left model.onnx")
    folder = parser.parse_args().folder
    training_digest = bytes.fromhex((folder / "training.digest").read_text())
    manifest = measured((folder / "model.onnx").read_bytes(), training_digest)
    (folder / "manifest.json").write_bytes(dump_manifest(manifest))


if __name__ == "__main__":
    main()
