"""An inference run again from its kept image: does the result on the ledger hold?

Floats differ between machines by less than a ten-thousandth, so scores that differ by 1 are the
same model on the same image. What cannot be had is no refutation: without the image, or with
another model than the one that was registered, nobody can tell. But what can be had is looked at
all the same: whoever leaves something out is not spared by it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from lotmark.v1 import event_pb2, quality_pb2
from lotmark.v1.quality_pb2 import (
    AUDIT_FINDING_CANNOT_TELL,
    AUDIT_FINDING_EXACT,
    AUDIT_FINDING_REFUTED,
    AUDIT_FINDING_WITHIN_TOLERANCE,
    VERDICT_CONFORMING,
    VERDICT_NONCONFORMING,
    VERDICT_UNDETERMINED,
    VERDICT_UNSPECIFIED,
)
from lotmark_inference.audit_lottery import Draw
from lotmark_inference.context import SCORE_MAX, THRESHOLD, THRESHOLD_SHIFT, ContextShift
from lotmark_inference.decision import decide
from lotmark_inference.errors import EngineError, InputRefused
from lotmark_inference.image_reading import CameraImage, read_image
from lotmark_inference.inspection import (
    PPM_OF_SCORE,
    JudgingModel,
    doubts_of,
    integer_scores,
    joined_verdict,
)
from lotmark_inference.model_manifest import LabelScore, ModelManifest
from lotmark_inference.policy import InspectionPolicy, Judges, Mode
from lotmark_inference.scores import calibrated

TOLERANCE = 1  # ten-thousandths by which two machines may differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """What came of it."""

    finding: quality_pb2.AuditFinding.ValueType
    reasons: tuple[str, ...]  # why it is refuted, or why nobody can tell
    engine: str = ""  # "": nothing was run
    difference_max: int = 0  # of a score, ten-thousandths
    scores: tuple[int, ...] = field(default=())  # of this run
    policy_digest: bytes = b""  # by which label and verdict were followed; b"": by none

    def body(self, event_id: bytes, draw: Draw | None) -> quality_pb2.InferenceAudit:
        """Return the event body that puts it on record.

        Args:
            event_id: The event of the inference.
            draw: What drew it; None: it was not drawn.
        """
        return quality_pb2.InferenceAudit(
            event_id=event_id,
            finding=self.finding,
            engine=self.engine,
            difference_max=self.difference_max,
            checkpoint_size=draw.size if draw else 0,
            checkpoint_root=draw.root if draw else b"",
            rate_ppm=draw.rate_ppm if draw else 0,
            policy_digest=self.policy_digest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorRecord:
    """What the ledger held before a result, of what the result relies on."""

    is_engine_admitted: bool  # whether its engine had passed its last trial for its model
    policy: event_pb2.FileDigest | None  # the document that its station came to use; None: none is


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a station has on record of the same image near a result, in the same run.

    What is not shown is no proof of anything: a node may leave something out, and a station that
    is killed judges an image once more.
    """

    before: quality_pb2.InferenceResult | None = None  # that this one comes behind, as the last
    after: quality_pb2.InferenceResult | None = None  # the last, which comes behind this one
    has_gap: bool = False  # whether one behind it says that a model failed on the image


def cannot_tell(reason: str, *, engine: str = "") -> Rerun:
    """Return what there is to say where image or model are not to be had."""
    return Rerun(finding=AUDIT_FINDING_CANNOT_TELL, reasons=(reason,), engine=engine)


def run_again(
    event: event_pb2.Event,
    image_file: bytes,
    model: JudgingModel,
    prior: PriorRecord,
    beside: Beside,
    policy: InspectionPolicy | None = None,
) -> Rerun:
    """Run an inference again and compare.

    Args:
        event: An event with an inference result.
        image_file: The original image that the site has kept.
        model: The model that the result names, as it was registered: its caller has checked that.
        prior: What the ledger held before it.
        beside: What it holds of the image beside it.
        policy: The policy that it names, to follow threshold, label and verdict as well; None:
            they are only compared with the manifest and with what the event itself says.
    """
    result = event.inference_result
    if not any(_is_of(each, image_file) for each in event.files):
        return cannot_tell("the image is none of the event's files: another one, or changed")
    if model.manifest.model != result.model:
        return cannot_tell(f"the model is {model.manifest.model}; the result is of {result.model}")
    try:
        image = read_image(image_file, model.manifest.input)
    except InputRefused as error:
        return cannot_tell(f"the model takes no such image: {error}")
    engine = model.engine.identity.name
    try:
        scores = integer_scores(model, image)
    except EngineError as error:
        return cannot_tell(str(error), engine=engine)
    missing = _missing(result, prior)
    if policy is not None and (why := _why_not_by(policy, result, prior)):
        missing.append(why)
        policy = None
    stated, difference_max = _stated(result, scores, model.manifest)
    reasons = _contradictions(result, stated, image, model.manifest)
    if policy is not None and not reasons:
        reasons += _policy_contradictions(result, stated, model.manifest, policy)
    if not reasons:
        contradictions, unshown = _beside_findings(result, beside, policy)
        reasons += contradictions
        missing += unshown
    if difference_max > TOLERANCE:
        reasons.append(
            f"the scores are {list(scores)}, not {list(stated)}: {difference_max}"
            f" ten-thousandths apart, where {TOLERANCE} may be"
        )
    if reasons:
        finding = AUDIT_FINDING_REFUTED
    elif missing:
        finding = AUDIT_FINDING_CANNOT_TELL
    else:
        finding = AUDIT_FINDING_WITHIN_TOLERANCE if difference_max else AUDIT_FINDING_EXACT
    return Rerun(
        finding=finding,
        reasons=(*reasons, *missing),
        engine=engine,
        difference_max=difference_max,
        scores=scores,
        policy_digest=b"" if policy is None else policy.digest,
    )


def _missing(result: quality_pb2.InferenceResult, prior: PriorRecord) -> list[str]:
    """Return what would have to be on record for the result to hold, and is not."""
    missing = []
    if not result.scores:
        missing.append("the result states no scores")
    if not prior.is_engine_admitted:
        # No refutation: which admissions there are is the node's word.
        missing.append(
            f"no engine {' '.join(filter(None, (result.engine, result.engine_digest.hex())))} was"
            f" admitted for {result.model} by its last trial before the result"
        )
    return missing


def _why_not_by(
    policy: InspectionPolicy, result: quality_pb2.InferenceResult, prior: PriorRecord
) -> str:
    """Return why a policy is not the one that the result names; "": it is."""
    if policy.full_name != result.policy:
        return f"the policy is {policy.full_name}; the result is by {result.policy}"
    if prior.policy is None:
        return (
            f"its station put no document of {result.policy} on record before the result, so nobody"
            " knows whether this is the one"
        )
    if not _is_of(prior.policy, policy.document):
        return (
            f"this document of {policy.full_name} has SHA-256 {policy.digest.hex()}, that of the"
            f" station {prior.policy.sha256.hex()}"
        )
    return ""


def _is_of(file: event_pb2.FileDigest, content: bytes) -> bool:
    return file.size == len(content) and file.sha256 == hashlib.sha256(file.salt + content).digest()


def _stated(
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


def _contradictions(
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


def _policy_contradictions(
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


def _beside_findings(
    result: quality_pb2.InferenceResult, beside: Beside, policy: InspectionPolicy | None
) -> tuple[list[str], list[str]]:
    """Return what the image's other result contradicts, and what is not shown that has to be there.

    Which model is the light one is nowhere on record: of two it is the first.
    """
    if not result.joint_verdict:
        if beside.after is None:
            return [], ["it states no joint verdict, and no last result of its image is near it"]
        first, last = result, beside.after
    elif beside.before is not None:
        first, last = beside.before, result
    else:
        return [], _unshown(result, beside, policy)
    found = []
    name = quality_pb2.Verdict.Name
    joint = joined_verdict([first.verdict, last.verdict])
    if last is result and result.joint_verdict != joint:
        found.append(
            f"the joint verdict is {name(result.joint_verdict)}, but {name(joint)} follows from"
            f" {name(first.verdict)} of {first.model} and {name(last.verdict)} of {last.model}"
        )
    if policy is not None and not _asks_both(policy, first):
        found.append(
            f"policy {policy.full_name} asks for one model in mode {first.mode} where the first"
            f" says {name(first.verdict)}, but {last.model} judged the image after {first.model}"
        )
    return found, []


def _unshown(
    result: quality_pb2.InferenceResult, beside: Beside, policy: InspectionPolicy | None
) -> list[str]:
    """Return what is not shown that a last result needs which stands alone: nothing refutes it."""
    name = quality_pb2.Verdict.Name
    is_for_both = policy is not None and _asks_both(policy, result)
    if beside.has_gap:
        if is_for_both and result.joint_verdict == VERDICT_CONFORMING:
            return ["a gap says that a model failed on the image: nothing conforms then"]
        return []
    if result.joint_verdict != result.verdict:
        return [
            f"the joint verdict is {name(result.joint_verdict)}, its own {name(result.verdict)};"
            " no other result of its image, and no gap, is near it"
        ]
    if is_for_both:
        return [
            f"the policy has a second model judge what is {name(result.verdict)} in mode"
            f" {result.mode}; no other result of its image, and no gap, is near it"
        ]
    return []


def _asks_both(policy: InspectionPolicy, first: quality_pb2.InferenceResult) -> bool:
    """Return whether a policy has a second model judge what a first one has judged."""
    judges = policy.judges[Mode(first.mode)]
    doubts = doubts_of([first.verdict])
    return judges is Judges.BOTH or (judges is Judges.LIGHT and bool(doubts & policy.escalate))


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
