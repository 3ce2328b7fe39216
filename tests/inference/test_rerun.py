"""An inference run again: exact, within tolerance, refuted, or nobody can tell."""

import hashlib
from collections.abc import Callable

import pytest

from lotmark.v1 import event_pb2, quality_pb2
from lotmark.v1.quality_pb2 import (
    AUDIT_FINDING_CANNOT_TELL,
    AUDIT_FINDING_EXACT,
    AUDIT_FINDING_REFUTED,
    AUDIT_FINDING_WITHIN_TOLERANCE,
    VERDICT_CONFORMING,
    VERDICT_UNDETERMINED,
)
from lotmark_inference.audit_lottery import Draw
from lotmark_inference.image_reading import read_image
from lotmark_inference.inspection import InspectedImage, Inspector, JudgingModel
from lotmark_inference.policy import Mode
from lotmark_inference.rerun import Rerun, run_again
from tests.inference.judging_models import COLD, INPUT, POROSITY, image_file, model
from tests.inference.test_label_catalogue import weld_labels
from tests.inference.weld_policy import changed, weld_policy

IMAGE = image_file(5)
SCORES = (0.03, 0.95, 0.02)
SALT = bytes(range(16))


def inspected_event(*, salt: bytes = b"") -> event_pb2.Event:
    """Return the event of a cold weld, as its station made it."""
    image = read_image(IMAGE, INPUT)
    judgement = Inspector(
        weld_policy(), weld_labels(), light=light(), heavy=model(SCORES, "weld-heavy")
    ).judge(
        InspectedImage(
            image=image,
            mode=Mode.NORMAL,
            context={"takt_ms": 1_100},
            feature="weld_137",
            triggered_ns=0,
        )
    )
    file = image.file_digest("weld.png")
    if salt:
        file.salt, file.sha256 = salt, hashlib.sha256(salt + IMAGE).digest()
    return event_pb2.Event(files=[file], inference_result=judgement.results[0])


def light(*scores: float) -> JudgingModel:
    return model(scores or SCORES)


def again(
    event: event_pb2.Event, judging: JudgingModel | None = None, image: bytes = IMAGE
) -> Rerun:
    return run_again(event, image, judging or light(), weld_policy())


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


LIES = {
    "input": (lie(input_digest=bytes(32)), "pixels have SHA-256"),
    "preprocessing": (lie(preprocessing="brighter"), "'brighter'"),
    "an unknown label": (lie(label="BENT/end/std"), "no label 'BENT/end/std'"),
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


def test_what_is_not_to_be_had_refutes_nothing() -> None:
    event, old = inspected_event(), inspected_event()
    del old.inference_result.scores[:]
    salted = inspected_event(salt=SALT)
    salted.files[0].salt = bytes(16)
    nan = light(float("nan"), 0.5, 0.5)
    other_model, other_policy = model(SCORES, version=4), weld_policy(changed("= 12", "= 13"))
    small = model(SCORES, input=type(INPUT)(name="image", height=8, width=8, um_per_pixel=50))

    for said, found in {
        "none of the event's files": again(event, image=IMAGE[:-1] + b"\0"),
        "another one, or changed": again(salted),
        "the model is weld-light/4": again(event, other_model),
        "the policy is weld/13": run_again(event, IMAGE, light(), other_policy),
        "states no scores": again(old),
        "takes 8 x 8": again(event, small),
        "not probabilities": again(event, nan),
    }.items():
        assert found.finding == AUDIT_FINDING_CANNOT_TELL
        assert said in found.reasons[0]


def test_the_audit_names_the_checkpoint_that_drew_it() -> None:
    draw = Draw(size=77, root=bytes(range(32)), rate_ppm=20_000)

    drawn, free = (again(inspected_event()).body(bytes(32), each) for each in (draw, None))

    assert (drawn.checkpoint_size, drawn.checkpoint_root) == (77, draw.root)
    assert (free.checkpoint_size, free.checkpoint_root) == (0, b"")
    assert drawn.finding == AUDIT_FINDING_EXACT
