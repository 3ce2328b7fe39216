"""An inference run again: exact, within tolerance, refuted, or nobody can tell."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from lotmark.v1 import event_pb2, quality_pb2
from lotmark.v1.quality_pb2 import (
    AUDIT_FINDING_CANNOT_TELL,
    AUDIT_FINDING_EXACT,
    AUDIT_FINDING_REFUTED,
    AUDIT_FINDING_WITHIN_TOLERANCE,
    VERDICT_CONFORMING,
    VERDICT_NONCONFORMING,
    VERDICT_UNDETERMINED,
)
from lotmark_inference.audit_lottery import Draw
from lotmark_inference.errors import EngineError
from lotmark_inference.image_reading import read_image
from lotmark_inference.inspection import InspectedImage, Inspector, Judgement, JudgingModel
from lotmark_inference.joint_verdicts import Beside, beside_findings
from lotmark_inference.policy import Judges, Mode
from lotmark_inference.rerun import PriorRecord, Rerun, run_again
from tests.inference.judging_models import (
    COLD,
    INPUT,
    POROSITY,
    SOUND,
    EngineInMemory,
    image_file,
    model,
)
from tests.inference.test_label_catalogue import weld_labels
from tests.inference.weld_policy import changed, weld_policy

IMAGE = image_file(5)
SCORES = (0.03, 0.95, 0.02)
SALT = bytes(range(16))
DOCUMENT_SIZE = len(weld_policy().document)


def inspected_event(judging: JudgingModel | None = None, *, salt: bytes = b"") -> event_pb2.Event:
    """Return the event of a cold weld, as its station made it."""
    judgement = judged_by(judging or light(), model(SCORES, "weld-heavy"))
    file = read_image(IMAGE, INPUT).file_digest("weld.png")
    if salt:
        file.salt, file.sha256 = salt, hashlib.sha256(salt + IMAGE).digest()
    return event_pb2.Event(files=[file], inference_result=judgement.results[0])


def judged_by(first: JudgingModel, second: JudgingModel, *, mode: Mode = Mode.NORMAL) -> Judgement:
    return Inspector(weld_policy(), weld_labels(), light=first, heavy=second).judge(
        InspectedImage(
            image=read_image(IMAGE, INPUT),
            mode=mode,
            context={"takt_ms": 1_100},
            feature="weld_137",
            triggered_ns=0,
        )
    )


def light(*scores: float) -> JudgingModel:
    return model(scores or SCORES)


def prior(**changes: object) -> PriorRecord:
    """Return what the ledger holds where all is in order."""
    fields: dict[str, object] = {
        "is_engine_admitted": True,
        "policy": event_pb2.FileDigest(sha256=weld_policy().digest, size=DOCUMENT_SIZE),
    }
    return PriorRecord(**(fields | changes))  # type: ignore[arg-type]  # a test names what it changes


def beside() -> Beside:
    """Return what the ledger holds beside a result of the light model: that of the heavy one."""
    (_, after) = judged_by(light(), model(SCORES, "weld-heavy")).results
    return Beside(after=after, is_next_after=True)


def again(
    event: event_pb2.Event, judging: JudgingModel | None = None, image: bytes = IMAGE
) -> Rerun:
    return run_again(event, image, judging or light(), prior(), beside(), weld_policy())


@pytest.mark.parametrize("salt", [b"", SALT])
def test_the_same_scores_are_exact(salt: bytes) -> None:
    found = again(inspected_event(salt=salt))

    assert (found.finding, found.reasons, found.difference_max) == (AUDIT_FINDING_EXACT, (), 0)
    assert (found.engine, found.scores) == ("memory-1", (300, 9_500, 200))


def test_scores_one_apart_are_within_tolerance_and_two_apart_refute() -> None:
    near, far = (again(inspected_event(), light(0.03, 0.95 + by, 0.02)) for by in (1e-4, -2e-4))

    assert (near.finding, near.difference_max) == (AUDIT_FINDING_WITHIN_TOLERANCE, 1)
    assert (far.finding, far.difference_max) == (AUDIT_FINDING_REFUTED, 2)
    assert far.reasons == (
        "the scores are [300, 9498, 200], not [300, 9500, 200]: 2 ten-thousandths apart, where 1"
        " may be",
    )


Lie = Callable[[quality_pb2.InferenceResult], None]


def lie(**fields: object) -> Lie:
    def tell(result: quality_pb2.InferenceResult) -> None:
        for name, value in fields.items():
            if isinstance(value, list):
                del getattr(result, name)[:]
                getattr(result, name).extend(value)
            else:
                setattr(result, name, value)

    return tell


def another(name: str, value: str) -> Lie:
    def tell(result: quality_pb2.InferenceResult) -> None:
        (found,) = (each for each in result.context if each.name == name)
        found.value = value

    return tell


def without(name: str) -> Lie:
    def tell(result: quality_pb2.InferenceResult) -> None:
        kept = [each for each in result.context if each.name != name]
        del result.context[:]
        result.context.extend(kept)

    return tell


def twice(name: str, value: str) -> Lie:
    def tell(result: quality_pb2.InferenceResult) -> None:
        result.context.add(name=name, value=value)

    return tell


LIES = {
    "input": (lie(input_digest=bytes(32)), "pixels have SHA-256"),
    "preprocessing": (lie(preprocessing="brighter"), "'brighter'"),
    "an unknown label": (lie(label="BENT/end/std"), "no label 'BENT/end/std'"),
    "the catalogue": (lie(catalogue="weld-labels/2"), "catalogue 'weld-labels/2', the model's"),
    "no catalogue": (lie(catalogue=""), "catalogue '', the model's manifest"),
    "the mode": (lie(mode="CAREFUL"), "mode 'CAREFUL' is none of NORMAL"),
    "no mode": (lie(mode=""), "mode '' is none of NORMAL"),
    "another label": (lie(label=POROSITY), "score_ppm 950000"),
    "a label that the policy does not give": (
        lie(label=POROSITY, score_ppm=20_000, calibrated_ppm=16_000, verdict=VERDICT_UNDETERMINED),
        f"gives label {COLD}",
    ),
    "a score": (lie(score_ppm=1), "which follow from score 9500"),
    "a calibrated score": (lie(calibrated_ppm=950_000), "calibrated_ppm 950000"),
    "all scores": (lie(scores=[9_500, 300, 200]), "which follow from score 300"),
    "too few scores": (lie(scores=[300, 9_500]), "2 scores are not those of 3 labels"),
    "too many scores": (lie(scores=[300, 9_500, 200, 0]), "4 scores are not those of 3"),
    "the verdict": (lie(verdict=VERDICT_CONFORMING), "VERDICT_NONCONFORMING, not VERDICT_CONF"),
    "the joint verdict": (
        lie(joint_verdict=VERDICT_UNDETERMINED),
        "joint verdict VERDICT_UNDETERMINED does not",
    ),
    "no threshold": (without("threshold"), "states no threshold"),
    "an impossible threshold": (another("threshold", "0"), "threshold 0 is not 1 to 10000"),
    "two thresholds": (twice("threshold", "1"), "states 'threshold' twice"),
    "the shift": (another("threshold_shift", "0"), "the policy's threshold_shift is"),
    "the threshold": (another("threshold", "9400"), "the policy's threshold is"),
    "the context": (another("takt_ms", "1200"), "the policy's threshold is"),
    "context that is there": (lie(missing_context=[]), "is said to be missing"),
}


@pytest.mark.parametrize("what", LIES)
def test_an_event_that_lies_about_one_thing_is_refuted_for_it(what: str) -> None:
    tell, said = LIES[what]
    event = inspected_event()
    tell(event.inference_result)

    found = again(event)

    assert found.finding == AUDIT_FINDING_REFUTED
    assert any(said in reason for reason in found.reasons), found.reasons


@pytest.mark.parametrize("change", [another("threshold", "0"), without("threshold")])
def test_a_doubtful_part_that_is_called_sound_is_refuted_without_its_policy(change: Lie) -> None:
    doubtful = light(0.2, 0.01, 0.01)  # sound at most, and below what sound has to reach
    event = inspected_event(doubtful)
    honest = run_again(event, IMAGE, doubtful, prior(), beside())
    change(event.inference_result)
    event.inference_result.verdict = VERDICT_CONFORMING

    found = run_again(event, IMAGE, doubtful, prior(), beside())

    assert (event.inference_result.label, honest.finding) == (SOUND, AUDIT_FINDING_EXACT)
    assert found.finding == AUDIT_FINDING_REFUTED


@pytest.mark.parametrize("what", LIES)
def test_what_an_event_leaves_out_spares_none_of_its_lies(what: str) -> None:
    tell, _ = LIES[what]
    event = inspected_event()
    tell(event.inference_result)
    if "scores" not in what:
        del event.inference_result.scores[:]

    unadmitted = prior(is_engine_admitted=False)

    found = run_again(event, IMAGE, light(), unadmitted, beside(), weld_policy())

    assert found.finding == AUDIT_FINDING_REFUTED
    assert "no engine" in found.reasons[-1]


def test_scores_that_are_left_out_refute_nothing_that_some_scores_would_bear_out() -> None:
    for score in (0.9498, 0.9499, 0.95, 0.9501, 0.9502):
        event = inspected_event(light(0.03, score, 0.02))
        del event.inference_result.scores[:]

        found = again(event)

        is_near = 0.9499 <= score <= 0.9501
        wanted = AUDIT_FINDING_CANNOT_TELL if is_near else AUDIT_FINDING_REFUTED
        assert (score, found.finding) == (score, wanted)


def test_an_audit_says_by_which_policy_label_and_verdict_were_followed() -> None:
    event = inspected_event()

    with_it, without_it = (
        run_again(event, IMAGE, light(), prior(), beside(), policy)
        for policy in (weld_policy(), None)
    )

    assert with_it.finding == without_it.finding == AUDIT_FINDING_EXACT
    assert with_it.body(bytes(32), None).policy_digest == weld_policy().digest
    assert without_it.body(bytes(32), None).policy_digest == b""


def test_another_document_of_the_policy_accuses_nobody() -> None:
    event, other = inspected_event(), weld_policy(changed("by = -1_000", "by = -500"))
    own = prior().policy
    assert own is not None
    salted = event_pb2.FileDigest(
        sha256=hashlib.sha256(SALT + weld_policy().document).digest(), size=own.size, salt=SALT
    )

    wrong, unknown, salt = (
        run_again(event, IMAGE, light(), prior(policy=document), beside(), policy)
        for document, policy in ((own, other), (None, weld_policy()), (salted, weld_policy()))
    )

    assert other.full_name == weld_policy().full_name
    assert (wrong.finding, unknown.finding) == (AUDIT_FINDING_CANNOT_TELL,) * 2
    assert "has SHA-256" in wrong.reasons[0]
    assert "no document of weld/12" in unknown.reasons[0]
    assert (wrong.policy_digest, unknown.policy_digest) == (b"", b"")
    assert salt.finding == AUDIT_FINDING_EXACT


def test_what_is_not_to_be_had_refutes_nothing() -> None:
    event, old = inspected_event(), inspected_event()
    del old.inference_result.scores[:]
    salted = inspected_event(salt=SALT)
    salted.files[0].salt = bytes(16)
    nan = light(float("nan"), 0.5, 0.5)
    other_model, other_policy = model(SCORES, version=4), weld_policy(changed("= 12", "= 13"))
    unadmitted = prior(is_engine_admitted=False)
    small = model(SCORES, input=type(INPUT)(name="image", height=8, width=8, um_per_pixel=50))

    for said, found in {
        "none of the event's files": again(event, image=IMAGE[:-1] + b"\0"),
        "another one, or changed": again(salted),
        "the model is weld-light/4": again(event, other_model),
        "the policy is weld/13": run_again(event, IMAGE, light(), prior(), beside(), other_policy),
        "no engine": run_again(event, IMAGE, light(), unadmitted, beside(), weld_policy()),
        "states no scores": again(old),
        "takes 8 x 8": again(event, small),
        "not probabilities": again(event, nan),
    }.items():
        assert found.finding == AUDIT_FINDING_CANNOT_TELL
        assert said in found.reasons[0]


def test_the_audit_names_the_root_that_drew_it() -> None:
    draw = Draw(size=512, root=bytes(range(32)), rate_ppm=20_000)

    drawn, free = (again(inspected_event()).body(bytes(32), each) for each in (draw, None))

    assert (drawn.checkpoint_size, drawn.checkpoint_root) == (512, draw.root)
    assert (free.checkpoint_size, free.checkpoint_root) == (0, b"")
    assert (drawn.rate_ppm, free.rate_ppm) == (20_000, 0)
    assert drawn.finding == AUDIT_FINDING_EXACT


FINE, GREY = (0.98, 0.01, 0.01), (0.60, 0.15, 0.02)
OF_VERDICT = {  # what a model gives the image
    VERDICT_CONFORMING: FINE,
    VERDICT_UNDETERMINED: GREY,
    VERDICT_NONCONFORMING: SCORES,
}
VERDICTS = [*OF_VERDICT]


class HeavyFails(EngineInMemory):
    """As a runtime that lost its worker."""

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        raise EngineError("the worker died")


def heavy(scores: Sequence[float]) -> JudgingModel:
    return model(scores, "weld-heavy")


def rerun_of(
    judgement: Judgement, place: int, judging: JudgingModel, beside: Beside, *, by_policy: bool
) -> Rerun:
    file = read_image(IMAGE, INPUT).file_digest("weld.png")
    event = event_pb2.Event(files=[file], inference_result=judgement.results[place])
    policy = weld_policy() if by_policy else None
    return run_again(event, IMAGE, judging, prior(), beside, policy)


@pytest.mark.parametrize("by_policy", [True, False])
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("fails", [False, True])
def test_no_honest_judgement_is_refuted_and_what_is_shown_whole_is_exact(
    mode: Mode, fails: bool, by_policy: bool
) -> None:
    for of_first, of_second in product(VERDICTS, VERDICTS):
        first, second = light(*OF_VERDICT[of_first]), heavy(OF_VERDICT[of_second])
        failing = JudgingModel(second.manifest, HeavyFails("weld-heavy", lambda _: FINE))
        if fails and weld_policy().judges[mode] is Judges.HEAVY:
            continue  # nothing is on record then
        judgement = judged_by(first, failing if fails else second, mode=mode)
        results = judgement.results
        models = [first, second] if results[0].model == "weld-light/3" else [second]
        has_gap = judgement.failure is not None
        for place, judging in enumerate(models[: len(results)]):
            shown = Beside(
                before=results[0] if place else None,
                after=results[1] if place < len(results) - 1 else None,
                is_next_before=True,
                is_next_after=True,
                has_gap=has_gap,
            )

            whole, alone = (
                rerun_of(judgement, place, judging, each, by_policy=by_policy)
                for each in (shown, Beside())
            )

            told = mode, of_first, of_second, place
            of_model = of_first if judging is first else of_second
            assert (told, results[place].verdict) == (told, of_model)
            assert (told, whole.finding, whole.reasons) == (told, AUDIT_FINDING_EXACT, ())
            assert alone.finding != AUDIT_FINDING_REFUTED
            if by_policy and len(results) == 2 and not place:
                assert alone.finding == AUDIT_FINDING_CANNOT_TELL
            if by_policy and has_gap:
                assert alone.finding == AUDIT_FINDING_CANNOT_TELL


@pytest.mark.parametrize("by_policy", [True, False])
def test_a_joint_verdict_that_does_not_follow_from_both_results_is_refuted(by_policy: bool) -> None:
    for of_first, of_second in product(VERDICTS, VERDICTS):
        second = heavy(OF_VERDICT[of_second])
        judgement = judged_by(light(*OF_VERDICT[of_first]), second, mode=Mode.FIRST_ARTICLE)
        first, last = judgement.results
        honest = last.joint_verdict
        for joint in VERDICTS:
            last.joint_verdict = joint

            found = rerun_of(
                judgement, 1, second, Beside(before=first, is_next_before=True), by_policy=by_policy
            )

            told = of_first, of_second, joint
            wanted = AUDIT_FINDING_EXACT if joint == honest else AUDIT_FINDING_REFUTED
            assert (told, found.finding) == (told, wanted), found.reasons


def test_a_defect_that_the_heavy_model_alone_acquits_is_refuted() -> None:
    second = heavy(FINE)
    judgement = judged_by(light(), second)
    first, last = judgement.results
    last.joint_verdict = VERDICT_CONFORMING

    found = rerun_of(
        judgement, 1, second, Beside(before=first, is_next_before=True), by_policy=True
    )

    assert found.finding == AUDIT_FINDING_REFUTED
    assert found.reasons == (
        "the joint verdict is VERDICT_CONFORMING, but VERDICT_UNDETERMINED follows from"
        " VERDICT_NONCONFORMING of weld-light/3 and VERDICT_CONFORMING of weld-heavy/3",
    )


def test_nothing_is_held_against_a_result_by_one_that_others_lie_between() -> None:
    second = heavy(FINE)
    judgement = judged_by(light(), second)
    first, last = judgement.results
    last.joint_verdict = VERDICT_CONFORMING  # as of a judgement of its own
    of_one, of_two = judged_by(light(*FINE), heavy(GREY), mode=Mode.FIRST_ARTICLE).results
    of_one.mode = of_two.mode = Mode.NORMAL

    found = rerun_of(judgement, 1, second, Beside(before=first), by_policy=True)
    _, unasked = beside_findings(of_one, Beside(after=of_two), weld_policy())

    assert found.finding == AUDIT_FINDING_CANNOT_TELL
    assert "may be of two judgements" in found.reasons[0]
    assert "may be of two judgements" in unasked[0]


def test_what_is_left_out_leaves_a_result_of_which_nobody_can_tell() -> None:
    second = heavy(FINE)
    no_joint, no_escalation, no_first = (judged_by(light(), second) for _ in range(3))
    no_joint.results[1].ClearField("joint_verdict")
    no_escalation.results[0].joint_verdict = VERDICT_NONCONFORMING

    for said, judgement, place, judging in (
        ("states no joint verdict", no_joint, 1, second),
        ("has a second model judge what is", no_escalation, 0, light()),
        ("and no gap, is near it", no_first, 1, second),
    ):
        found = rerun_of(judgement, place, judging, Beside(), by_policy=True)

        assert (said, found.finding) == (said, AUDIT_FINDING_CANNOT_TELL)
        assert said in found.reasons[0]


def test_nothing_conforms_where_the_second_model_failed() -> None:
    second = heavy(FINE)
    judgement = judged_by(light(*FINE), second, mode=Mode.FIRST_ARTICLE)
    first = judgement.results[0]
    first.joint_verdict = VERDICT_CONFORMING

    found = rerun_of(judgement, 0, light(*FINE), Beside(has_gap=True), by_policy=True)

    assert found.finding == AUDIT_FINDING_CANNOT_TELL
    assert "nothing conforms then" in found.reasons[0]


def test_a_second_model_that_the_policy_does_not_ask_for_is_refuted() -> None:
    second = heavy(GREY)  # which would make an honest light defect, or a sound part, a doubt
    judgement = judged_by(light(*FINE), second, mode=Mode.FIRST_ARTICLE)
    for each in judgement.results:
        each.mode = Mode.NORMAL
    first, last = judgement.results

    of_last = rerun_of(
        judgement, 1, second, Beside(before=first, is_next_before=True), by_policy=True
    )
    of_first = rerun_of(
        judgement, 0, light(*FINE), Beside(after=last, is_next_after=True), by_policy=True
    )

    for found in (of_first, of_last):
        assert found.finding == AUDIT_FINDING_REFUTED
        assert "asks for one model in mode NORMAL" in found.reasons[0]
