"""An inference run again from its kept image: does the result on the ledger hold?

Floats differ between machines by less than a ten-thousandth, so scores that differ by 1 are the
same model on the same image. What cannot be had is no refutation: without the image, or with
another model than the one that was registered, nobody can tell. But what can be had is looked at
all the same: whoever leaves something out is not spared by it.
"""

import hashlib
from dataclasses import dataclass, field

from lotmark.v1 import event_pb2, quality_pb2
from lotmark.v1.quality_pb2 import (
    AUDIT_FINDING_CANNOT_TELL,
    AUDIT_FINDING_EXACT,
    AUDIT_FINDING_REFUTED,
    AUDIT_FINDING_WITHIN_TOLERANCE,
)
from lotmark_inference.audit_lottery import Draw
from lotmark_inference.contradictions import (
    TOLERANCE,
    contradictions,
    policy_contradictions,
    stated_scores,
)
from lotmark_inference.errors import EngineError, InputRefused
from lotmark_inference.image_reading import read_image
from lotmark_inference.inspection import (
    JudgingModel,
    integer_scores,
)
from lotmark_inference.joint_verdicts import Beside, beside_findings
from lotmark_inference.policy import InspectionPolicy


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
    stated, difference_max = stated_scores(result, scores, model.manifest)
    reasons = contradictions(result, stated, image, model.manifest)
    if policy is not None and not reasons:
        reasons += policy_contradictions(result, stated, model.manifest, policy)
    if not reasons:
        contradicted, unshown = beside_findings(result, beside, policy)
        reasons += contradicted
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
