"""How well a weld model does on generated images that it was not trained on."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from lotmark_inference.engine import Engine
from lotmark_inference.model_manifest import EvaluationCounts, ModelManifest
from lotmark_inference.scores import judged_label, quantised
from lotmark_inference.weld_images import WeldImage, dataset_digest, weld_image
from lotmark_inference.weld_surface import WeldKind

# How wide defects are that are counted together, in micrometres; the end is not included.
WIDTH_BINS_UM: Final = ((100, 130), (130, 170), (170, 220), (220, 300), (300, 451))

_PPM = 1_000_000


class Judged(NamedTuple):
    """One image as the model judged it."""

    seed: int
    kind: WeldKind
    defect_width_um: int
    is_rejected: bool
    is_right: bool  # the label is the right one
    defect_score: int  # ten-thousandths: what the model gives to all that is not sound


@dataclass(frozen=True, slots=True)
class Found:
    """How many there were, and how many of them were rejected."""

    count: int
    rejected_count: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of it; whole numbers, so that it can be hashed and compared."""

    counts: EvaluationCounts  # positive: a defect; predicted positive: rejected
    right_count: int  # images that got their own label
    auroc_ppm: int  # how probably a defect scores above a sound weld, in parts per million
    found: Mapping[tuple[WeldKind, tuple[int, int]], Found]  # by kind and bin of width

    @property
    def image_count(self) -> int:
        """How many images there were."""
        counts = self.counts
        return (
            counts.true_positives
            + counts.false_positives
            + counts.false_negatives
            + counts.true_negatives
        )


def evaluate(
    engine: Engine,
    manifest: ModelManifest,
    seeds: Iterable[int],
    advance: Callable[[int], None] = lambda _count: None,
) -> Evaluation:
    """Judge the images of these seeds by the manifest's own thresholds, and count.

    Args:
        engine: The model, open.
        manifest: Its manifest.
        seeds: Which images.
        advance: Called with 1 after each image.

    Raises:
        EngineError: The engine failed.
    """
    judged = []
    for seed in seeds:
        judged.append(judge(engine, manifest, weld_image(seed)))
        advance(1)
    return summary(judged)


def judge(engine: Engine, manifest: ModelManifest, image: WeldImage) -> Judged:
    """Return how the model judges an image of which the truth is known."""
    scores = quantised(engine.infer(image.pixels[None])[manifest.scores_output])[0].tolist()
    given = judged_label(scores, manifest)
    return Judged(
        seed=image.seed,
        kind=image.kind,
        defect_width_um=image.defect_width_um,
        is_rejected=given.is_defect,
        is_right=given.label == image.label,
        defect_score=sum(
            score for score, label in zip(scores, manifest.labels, strict=True) if label.is_defect
        ),
    )


def summary(judged: Iterable[Judged]) -> Evaluation:
    """Count what was judged."""
    rows = list(judged)
    defects = [row for row in rows if row.kind is not WeldKind.SOUND]
    sound = [row for row in rows if row.kind is WeldKind.SOUND]
    found_count = sum(row.is_rejected for row in defects)
    false_count = sum(row.is_rejected for row in sound)
    return Evaluation(
        counts=EvaluationCounts(
            dataset_digest=dataset_digest((row.seed, row.kind.value) for row in rows),
            true_positives=found_count,
            false_positives=false_count,
            false_negatives=len(defects) - found_count,
            true_negatives=len(sound) - false_count,
        ),
        right_count=sum(row.is_right for row in rows),
        auroc_ppm=_auroc_ppm(
            [row.defect_score for row in defects], [row.defect_score for row in sound]
        ),
        found={
            (kind, bin_um): _found(defects, kind, bin_um)
            for kind in WeldKind
            if kind is not WeldKind.SOUND
            for bin_um in WIDTH_BINS_UM
        },
    )


def _found(defects: Iterable[Judged], kind: WeldKind, bin_um: tuple[int, int]) -> Found:
    start_um, end_um = bin_um
    rejected = [
        row.is_rejected
        for row in defects
        if row.kind is kind and start_um <= row.defect_width_um < end_um
    ]
    return Found(len(rejected), sum(rejected))


def _auroc_ppm(defect_scores: list[int], sound_scores: list[int]) -> int:
    """Return the share of pairs in which the defect scores higher; equal ones count half.

    0 where there are no pairs. Source: Mann and Whitney, 1947.
    """
    if not (defect_scores and sound_scores):
        return 0
    ranked = np.sort(np.array(sound_scores))
    below = np.searchsorted(ranked, defect_scores, side="left").sum()
    not_above = np.searchsorted(ranked, defect_scores, side="right").sum()
    return int(below + not_above) * _PPM // (2 * len(defect_scores) * len(sound_scores))
