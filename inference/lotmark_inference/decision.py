"""From a model's integer scores to a label and a verdict: pure, so anybody can decide it again."""

from collections.abc import Sequence
from dataclasses import dataclass

from lotmark.v1 import quality_pb2
from lotmark.v1.quality_pb2 import (
    VERDICT_CONFORMING,
    VERDICT_NONCONFORMING,
    VERDICT_UNDETERMINED,
)
from lotmark_inference.context import ContextShift
from lotmark_inference.model_manifest import LabelScore
from lotmark_inference.policy import InspectionPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The label that is given, and the verdict."""

    label: LabelScore
    score: int  # of that label, ten-thousandths
    threshold: int  # of that label in this context
    verdict: quality_pb2.Verdict.ValueType


def decide(
    labels: Sequence[LabelScore],
    scores: Sequence[int],
    *,
    policy: InspectionPolicy,
    shift: ContextShift,
) -> Decision:
    """Return what a policy makes of the scores of a model's labels.

    The defect whose score is farthest above its threshold is given; where none is above, one that
    lies in the grey zone beneath it is, and nothing is certain. Else it is the sound label with
    the best score, which must reach its own threshold, too: what looks like nothing that the model
    knows does not conform by that.

    Args:
        labels: Of the manifest; one of them at least is no defect.
        scores: In the same order, ten-thousandths.
        policy: Its thresholds and its grey zone.
        shift: What the context does to the thresholds of defects.
    """
    defects, sound = [], []
    for label, score in zip(labels, scores, strict=True):
        if label.is_defect:
            threshold = policy.thresholds.threshold(label.threshold, shift)
            defects.append((score - threshold, score, label))
        else:
            sound.append((score - label.threshold, score, label))
    above, score, label = max(defects, key=_margin, default=(-1, 0, labels[0]))
    if not defects or above < -policy.grey_zone:
        above, score, label = max(sound, key=_margin)
        verdict = VERDICT_CONFORMING if above >= 0 else VERDICT_UNDETERMINED
    else:
        verdict = VERDICT_NONCONFORMING if above >= 0 else VERDICT_UNDETERMINED
    return Decision(label=label, score=score, threshold=score - above, verdict=verdict)


def _margin(each: tuple[int, int, LabelScore]) -> int:
    return each[0]
