"""What a result on the ledger says that its image, scores, manifest or policy do not bear out."""

from collections.abc import Sequence

from lotmark.v1 import quality_pb2
from lotmark.v1.quality_pb2 import (
    VERDICT_CONFORMING,
    VERDICT_NONCONFORMING,
    VERDICT_UNDETERMINED,
    VERDICT_UNSPECIFIED,
)
from lotmark_inference.context import SCORE_MAX, THRESHOLD, THRESHOLD_SHIFT, ContextShift
from lotmark_inference.decision import decide
from lotmark_inference.image_reading import CameraImage
from lotmark_inference.inspection import PPM_OF_SCORE
from lotmark_inference.model_manifest import LabelScore, ModelManifest
from lotmark_inference.policy import InspectionPolicy, Mode
from lotmark_inference.scores import calibrated

TOLERANCE = 1  # ten-thousandths by which two machines may differ


def stated_scores(
    result: quality_pb2.InferenceResult, found: Sequence[int], manifest: ModelManifest
) -> tuple[Sequence[int], int]:
    """Return the scores on record, and how far they are from those found, at most.

    Where the result states its label's score alone, the others count as low as they may have been:
    what contradicts it then, contradicts it with any scores.
    """
    if result.scores:
        return result.scores, _difference_max(result.scores, found)
    at = _place(result.label, manifest)
    if at is None:
        return found, 0
    stated = [max(0, score - TOLERANCE) for score in found]
    stated[at] = result.score_ppm // PPM_OF_SCORE
    return stated, abs(stated[at] - found[at])


def _place(label: str, manifest: ModelManifest) -> int | None:
    return next((at for at, each in enumerate(manifest.labels) if each.label == label), None)


def _difference_max(stated: Sequence[int], found: Sequence[int]) -> int:
    """Return the largest difference of a score; of one that one side lacks, the whole of it."""
    missing = [*stated[len(found) :], *found[len(stated) :]]
    pairs = zip(stated, found, strict=False)
    return max([abs(first - second) for first, second in pairs] + missing)


def contradictions(
    result: quality_pb2.InferenceResult,
    scores: Sequence[int],
    image: CameraImage,
    manifest: ModelManifest,
) -> list[str]:
    """Return what the event says that image, manifest and its own scores do not bear out."""
    found = []
    for what, says, wanted in (
        ("preprocessing", result.preprocessing, manifest.preprocessing),
        ("catalogue", result.catalogue, manifest.catalogue),
    ):
        if says != wanted:
            found.append(f"the result names {what} {says!a}, the model's manifest {wanted!a}")
    # Another model may have found a defect that this one does not see, or have failed.
    joint = {VERDICT_UNSPECIFIED, result.verdict}
    if result.verdict == VERDICT_CONFORMING:
        joint.add(VERDICT_UNDETERMINED)
    if result.joint_verdict not in joint:
        found.append(
            f"the joint verdict {quality_pb2.Verdict.Name(result.joint_verdict)} does not follow"
            f" from {quality_pb2.Verdict.Name(result.verdict)}"
        )
    if result.mode not in list(Mode):
        found.append(f"mode {result.mode!a} is none of {', '.join(Mode)}")
    names = [each.name for each in result.context]
    found += [f"it states {name!a} twice" for name in {*names} if names.count(name) > 1]
    if result.input_digest != image.input_digest:
        found.append(
            f"the image's pixels have SHA-256 {image.input_digest.hex()}, the result says"
            f" {result.input_digest.hex()}"
        )
    if len(scores) != len(manifest.labels):
        found.append(f"{len(scores)} scores are not those of {len(manifest.labels)} labels")
        return found
    at = _place(result.label, manifest)
    if at is None:
        found.append(f"the model has no label {result.label!a}")
        return found
    score = scores[at]
    wanted_ppm = score * PPM_OF_SCORE, calibrated(score, manifest) * PPM_OF_SCORE
    if (result.score_ppm, result.calibrated_ppm) != wanted_ppm:
        found.append(
            f"score_ppm {result.score_ppm} and calibrated_ppm {result.calibrated_ppm} are not"
            f" {wanted_ppm[0]} and {wanted_ppm[1]}, which follow from score {score}"
        )
    return found + _threshold_contradictions(result, score, manifest.labels[at])


def _threshold_contradictions(
    result: quality_pb2.InferenceResult, score: int, label: LabelScore
) -> list[str]:
    """Return where threshold and verdict do not follow from a label's score."""
    threshold = _attribute(result, THRESHOLD)
    if threshold is None:
        return [f"the result states no {THRESHOLD}"]
    if not label.is_defect and threshold != label.threshold:
        return [
            f"the threshold of {label.label} is {label.threshold} in any context, the result says"
            f" {threshold}"
        ]
    if label.is_defect and not 1 <= threshold <= SCORE_MAX:
        return [f"threshold {threshold} is not 1 to {SCORE_MAX}"]
    verdict = _verdict(label, score, threshold)
    return _other_verdict(result.verdict, verdict, f"score {score}, threshold {threshold}")


def policy_contradictions(
    result: quality_pb2.InferenceResult,
    scores: Sequence[int],
    manifest: ModelManifest,
    policy: InspectionPolicy,
) -> list[str]:
    """Return where the policy decides otherwise on the scores and the context of the event."""
    inputs = [each.input for each in policy.thresholds.maps]
    context = {name: _attribute(result, name) for name in inputs}
    there = {name: value for name, value in context.items() if value is not None}
    shift: ContextShift = policy.thresholds.shift(there)
    decision = decide(manifest.labels, scores, policy=policy, shift=shift)
    found = []
    if list(result.missing_context) != list(shift.missing):
        found.append(
            f"context {list(result.missing_context)} is said to be missing, but it is"
            f" {list(shift.missing)}"
        )
    if result.label != decision.label.label:
        found.append(f"the policy gives label {decision.label.label}, not {result.label}")
    else:
        for name, wanted in ((THRESHOLD, decision.threshold), (THRESHOLD_SHIFT, shift.by)):
            if (says := _attribute(result, name)) != wanted:
                found.append(f"the policy's {name} is {wanted}, not {says}")
    return found + _other_verdict(result.verdict, decision.verdict, f"policy {policy.full_name}")


def _verdict(label: LabelScore, score: int, threshold: int) -> quality_pb2.Verdict.ValueType:
    if score < threshold:
        return VERDICT_UNDETERMINED
    return VERDICT_NONCONFORMING if label.is_defect else VERDICT_CONFORMING


def _other_verdict(
    stated: quality_pb2.Verdict.ValueType, found: quality_pb2.Verdict.ValueType, by: str
) -> list[str]:
    if stated == found:
        return []
    names = quality_pb2.Verdict.Name(found), quality_pb2.Verdict.Name(stated)
    return [f"by {by} the verdict is {names[0]}, not {names[1]}"]


def _attribute(result: quality_pb2.InferenceResult, name: str) -> int | None:
    """Return a whole number of the context; None: it is not there, or none."""
    for each in result.context:
        if each.name == name and each.value.removeprefix("-").isdecimal():
            return int(each.value)
    return None
