"""One image judged as the policy has it: which models are asked, and what their results say."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lotmark.v1 import quality_pb2
from lotmark.v1.quality_pb2 import (
    VERDICT_CONFORMING,
    VERDICT_NONCONFORMING,
    VERDICT_UNDETERMINED,
)
from lotmark_inference.context import THRESHOLD, THRESHOLD_SHIFT, ContextShift
from lotmark_inference.decision import Decision, decide
from lotmark_inference.engine import Engine
from lotmark_inference.errors import CatalogueRefused, EngineError, ModelRefused, PolicyRefused
from lotmark_inference.image_checks import check_batch
from lotmark_inference.image_reading import CameraImage
from lotmark_inference.label_catalogue import LabelCatalogue
from lotmark_inference.model_manifest import ModelManifest
from lotmark_inference.policy import Doubt, InspectionPolicy, Judges, Mode
from lotmark_inference.scores import calibrated, quantised

PPM_OF_SCORE = 100  # a ten-thousandth in parts per million
LATENCY_MAX_US = 2**32 - 1


@dataclass(frozen=True, slots=True)
class JudgingModel:
    """A model and the open engine that runs it."""

    manifest: ModelManifest
    engine: Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of one image."""

    results: tuple[quality_pb2.InferenceResult, ...]  # one a model, in the order they were asked
    verdict: quality_pb2.Verdict.ValueType  # of all of them together
    doubts: frozenset[Doubt]
    needs_person: bool
    failure: Exception | None = None  # why the heavy model, which was asked too, gave no result


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedImage:
    """An image and what is known of where it is from."""

    image: CameraImage
    mode: Mode
    context: Mapping[str, int]
    feature: str  # where on the unit, such as "weld_137"; "": not stated
    triggered_ns: int  # of the inspector's clock: when the camera was triggered


class Inspector:
    """Judges images by a policy, with its models; for one thread."""

    def __init__(
        self,
        policy: InspectionPolicy,
        catalogue: LabelCatalogue,
        *,
        light: JudgingModel | None = None,
        heavy: JudgingModel | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Check that models, policy and catalogue belong together.

        Args:
            policy: Which model judges when.
            catalogue: In force; the one that the policy names.
            light: The model for every unit.
            heavy: The one for first articles and doubts.
            now_ns: The clock that `InspectedImage.triggered_ns` is of.

        Raises:
            CatalogueRefused: A label is not in the catalogue, or the policy names another one.
            ModelRefused: A model that the policy asks for is missing.
            PolicyRefused: Its grey zone reaches down to a score of 0, so that nothing conforms.
        """
        if policy.catalogue != catalogue.full_name:
            raise CatalogueRefused(
                f"policy {policy.full_name} is for {policy.catalogue}, not {catalogue.full_name}"
            )
        _check_all_there(policy, light=light, heavy=heavy)
        for model in (light, heavy):
            if model is not None:
                _check_labels(model, policy, catalogue)
                _check_grey_zone(model, policy)
        self._policy = policy
        self._light, self._heavy = light, heavy
        self._now_ns = now_ns

    @property
    def policy(self) -> InspectionPolicy:
        """The policy that it judges by."""
        return self._policy

    def judge(self, inspected: InspectedImage) -> Judgement:
        """Judge one image.

        Where the heavy model fails behind the light one, what the light one found stands: a defect
        is one, as where no heavy model is set, and anything else is undetermined. Either is for a
        person.

        Raises:
            EngineError: The first model gave no sound scores; nothing was judged.
            InputRefused: The image is not of the size that a model takes.
        """
        shift = self._policy.thresholds.shift(inspected.context)
        verdicts: list[quality_pb2.Verdict.ValueType] = []
        results: list[quality_pb2.InferenceResult] = []

        def ask(model: JudgingModel) -> None:
            scores = integer_scores(model, inspected.image)
            decision = decide(model.manifest.labels, scores, policy=self._policy, shift=shift)
            results.append(self._result(model, scores, decision, shift, inspected))
            verdicts.append(decision.verdict)

        judges = self._policy.judges[inspected.mode]
        if judges is not Judges.HEAVY:
            assert self._light is not None, "checked when it was made"
            ask(self._light)
        doubts = doubts_of(verdicts)
        failure: Exception | None = None
        if judges is not Judges.LIGHT or doubts & self._policy.escalate:
            assert self._heavy is not None, "checked when it was made"
            try:
                ask(self._heavy)
            except Exception as error:  # whatever it is: what was found before is not lost by it
                if not verdicts:
                    raise
                failure = error
        verdict, doubts = joined_verdict(verdicts), doubts_of(verdicts)
        if failure is not None and verdict == VERDICT_CONFORMING:
            verdict = VERDICT_UNDETERMINED
        results[-1].joint_verdict = verdict
        if shift.missing:
            doubts |= {Doubt.MISSING_CONTEXT}
        if inspected.mode is Mode.FIRST_ARTICLE:
            doubts |= {Doubt.FIRST_ARTICLE}
        return Judgement(
            results=tuple(results),
            verdict=verdict,
            doubts=doubts,
            needs_person=failure is not None or bool(doubts & self._policy.review),
            failure=failure,
        )

    def _result(
        self,
        model: JudgingModel,
        scores: Sequence[int],
        decision: Decision,
        shift: ContextShift,
        inspected: InspectedImage,
    ) -> quality_pb2.InferenceResult:
        manifest = model.manifest
        attributes = [
            *shift.used,
            (THRESHOLD, decision.threshold),
            (THRESHOLD_SHIFT, shift.by),
        ]
        latency_us = max(0, self._now_ns() - inspected.triggered_ns) // 1_000
        return quality_pb2.InferenceResult(
            model=manifest.model,
            engine_digest=model.engine.identity.artefact_sha256,
            input_digest=inspected.image.input_digest,
            policy=self._policy.full_name,
            mode=inspected.mode,
            label=decision.label.label,
            score_ppm=decision.score * PPM_OF_SCORE,
            calibrated_ppm=calibrated(decision.score, manifest) * PPM_OF_SCORE,
            feature=inspected.feature,
            verdict=decision.verdict,
            latency_us=min(latency_us, LATENCY_MAX_US),
            context=[
                quality_pb2.Attribute(name=name, value=str(value)) for name, value in attributes
            ],
            preprocessing=manifest.preprocessing,
            scores=scores,
            catalogue=manifest.catalogue,
            missing_context=shift.missing,
            engine=model.engine.identity.name,
        )


def _check_all_there(
    policy: InspectionPolicy, *, light: JudgingModel | None, heavy: JudgingModel | None
) -> None:
    asked = set(policy.judges.values())
    if light is None and asked - {Judges.HEAVY}:
        raise ModelRefused(f"policy {policy.full_name} asks for a light model; none is given")
    if heavy is None and (asked - {Judges.LIGHT} or policy.escalate):
        raise ModelRefused(
            f"policy {policy.full_name} asks for a heavy model, to judge or to escalate to; none"
            " is given"
        )


def _check_labels(model: JudgingModel, policy: InspectionPolicy, catalogue: LabelCatalogue) -> None:
    manifest = model.manifest
    if manifest.catalogue != catalogue.full_name:
        raise CatalogueRefused(
            f"model {model.manifest.model} gives labels of {manifest.catalogue}, not of"
            f" {catalogue.full_name}"
        )
    for each in manifest.labels:
        known = catalogue.label(each.label, modality=policy.modality)
        if known.is_defect is not each.is_defect:
            raise CatalogueRefused(
                f"{each.label} is {_defect(each.is_defect)} to model {model.manifest.model} and"
                f" {_defect(known.is_defect)} in {catalogue.full_name}"
            )


def _check_grey_zone(model: JudgingModel, policy: InspectionPolicy) -> None:
    strictest = policy.thresholds.shift({})
    for each in model.manifest.labels:
        threshold = policy.thresholds.threshold(each.threshold, strictest)
        if each.is_defect and policy.grey_zone >= threshold:
            raise PolicyRefused(
                f"policy {policy.full_name} has a grey zone of {policy.grey_zone}, but the"
                f" threshold of {each.label} in {model.manifest.model} may come down to"
                f" {threshold}: no image would conform then; make it smaller, or threshold.low"
                " larger"
            )


def _defect(is_defect: bool) -> str:
    return "a defect" if is_defect else "no defect"


def integer_scores(model: JudgingModel, image: CameraImage) -> tuple[int, ...]:
    """Return the scores that a model gives an image, in its manifest's order, ten-thousandths.

    Raises:
        EngineError: The engine failed, or gave what are no scores of the manifest's labels.
        InputRefused: The image is not of the size that the model takes.
    """
    manifest = model.manifest
    batch = image.pixels[None]
    check_batch(batch, manifest.input)
    outputs = model.engine.infer(batch)
    scores = outputs.get(manifest.scores_output)
    if scores is None:
        raise EngineError(
            f"{manifest.model} gave no output {manifest.scores_output!a}; it gave {[*outputs]}"
        )
    wanted = (1, len(manifest.labels))
    if scores.shape != wanted:
        raise EngineError(
            f"{manifest.model} gave scores of shape {scores.shape}; its manifest says {wanted}"
        )
    return tuple(int(score) for score in quantised(scores)[0])


def doubts_of(verdicts: Sequence[quality_pb2.Verdict.ValueType]) -> frozenset[Doubt]:
    """Return what is doubtful about an image, by the verdicts of the models that judged it."""
    doubts = set()
    if VERDICT_NONCONFORMING in verdicts:
        doubts.add(Doubt.DEFECT)
    if VERDICT_UNDETERMINED in verdicts:
        doubts.add(Doubt.GREY_ZONE)
    if {VERDICT_CONFORMING, VERDICT_NONCONFORMING} <= {*verdicts}:
        doubts.add(Doubt.DISAGREEMENT)
    return frozenset(doubts)


def joined_verdict(
    verdicts: Sequence[quality_pb2.Verdict.ValueType],
) -> quality_pb2.Verdict.ValueType:
    """Return the last model's verdict, unless one before found a defect that it does not see."""
    last = verdicts[-1]
    found_before = VERDICT_NONCONFORMING in verdicts[:-1]
    return VERDICT_UNDETERMINED if found_before and last == VERDICT_CONFORMING else last
