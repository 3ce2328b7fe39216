"""One image judged by a policy: who is asked, what the results say, and what is refused."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, sampled_from, tuples

from lotmark.event_rules import BODY_RULES
from lotmark.v1 import quality_pb2
from lotmark.v1.quality_pb2 import (
    VERDICT_CONFORMING,
    VERDICT_NONCONFORMING,
    VERDICT_UNDETERMINED,
    VERDICT_UNSPECIFIED,
)
from lotmark_inference.decision import decide
from lotmark_inference.errors import (
    CatalogueRefused,
    EngineError,
    InputRefused,
    ModelRefused,
    PolicyRefused,
)
from lotmark_inference.image_reading import read_image
from lotmark_inference.inspection import InspectedImage, Inspector, Judgement, JudgingModel
from lotmark_inference.model_manifest import LabelScore, ModelInput
from lotmark_inference.policy import Doubt, Mode
from tests.inference.judging_models import (
    COLD,
    INPUT,
    SOUND,
    asked_count,
    image_file,
    model,
)
from tests.inference.test_label_catalogue import weld_labels
from tests.inference.weld_policy import changed, weld_policy

CONTEXT = {"takt_ms": 1_250, "vibration_rms_z_milli": 900}
FINE = (0.98, 0.01, 0.01)
COLD_SOLDER = (0.03, 0.95, 0.02)
GREY = (0.60, 0.38, 0.02)


class Clock:
    """Each look at it takes a millisecond."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 1_000_000
        return self.now_ns


def inspector(light: JudgingModel, heavy: JudgingModel, text: str | None = None) -> Inspector:
    policy = weld_policy(text) if text else weld_policy()
    return Inspector(policy, weld_labels(), light=light, heavy=heavy, now_ns=Clock())


def judged(
    light: Sequence[float],
    heavy: Sequence[float] = FINE,
    *,
    mode: Mode = Mode.NORMAL,
    context: Mapping[str, int] | None = None,
) -> Judgement:
    made = inspector(model(light), model(heavy, "weld-heavy"))
    return made.judge(inspected(mode=mode, context=context))


def inspected(
    *, mode: Mode = Mode.NORMAL, context: Mapping[str, int] | None = None
) -> InspectedImage:
    return InspectedImage(
        image=read_image(image_file(), INPUT),
        mode=mode,
        context=CONTEXT if context is None else context,
        feature="weld_137",
        triggered_ns=0,
    )


def test_a_sound_weld_is_judged_by_the_light_model_alone() -> None:
    judgement = judged(FINE)

    (result,) = judgement.results
    assert result == quality_pb2.InferenceResult(
        model="weld-light/3",
        engine_digest=model(FINE).engine.identity.artefact_sha256,
        input_digest=read_image(image_file(), INPUT).input_digest,
        policy="weld/12",
        mode="NORMAL",
        label=SOUND,
        score_ppm=980_000,
        calibrated_ppm=966_400,
        feature="weld_137",
        verdict=VERDICT_CONFORMING,
        latency_us=1_000,
        context=[
            quality_pb2.Attribute(name="takt_ms", value="1250"),
            quality_pb2.Attribute(name="vibration_rms_z_milli", value="900"),
            quality_pb2.Attribute(name="threshold", value="3000"),
            quality_pb2.Attribute(name="threshold_shift", value="0"),
        ],
        preprocessing="none",
        scores=[9_800, 100, 100],
        catalogue="weld-labels/1",
        engine="memory-1",
        joint_verdict=VERDICT_CONFORMING,
    )
    assert not judgement.needs_person
    for name, rule in BODY_RULES["inference_result"]:
        value = getattr(result, name)
        assert rule.passes(value) or rule.explain(value, name) is None


@pytest.mark.parametrize(
    ("light", "heavy", "verdict", "doubts"),
    [
        (COLD_SOLDER, COLD_SOLDER, VERDICT_NONCONFORMING, {Doubt.DEFECT}),
        (COLD_SOLDER, FINE, VERDICT_UNDETERMINED, {Doubt.DEFECT, Doubt.DISAGREEMENT}),
        (GREY, FINE, VERDICT_CONFORMING, {Doubt.GREY_ZONE}),
        (GREY, COLD_SOLDER, VERDICT_NONCONFORMING, {Doubt.GREY_ZONE, Doubt.DEFECT}),
        (GREY, GREY, VERDICT_UNDETERMINED, {Doubt.GREY_ZONE}),
    ],
)
def test_a_defect_or_a_doubt_of_the_light_model_goes_to_the_heavy_one(
    light: Sequence[float], heavy: Sequence[float], verdict: int, doubts: set[Doubt]
) -> None:
    judgement = judged(light, heavy)

    assert [each.model for each in judgement.results] == ["weld-light/3", "weld-heavy/3"]
    assert judgement.verdict == verdict
    assert [each.joint_verdict for each in judgement.results] == [VERDICT_UNSPECIFIED, verdict]
    assert set(judgement.doubts) == doubts
    assert judgement.needs_person


@pytest.mark.parametrize(
    ("mode", "models"),
    [
        (Mode.NORMAL, ["weld-light/3"]),
        (Mode.FIRST_ARTICLE, ["weld-light/3", "weld-heavy/3"]),
        (Mode.REINFORCED, ["weld-heavy/3"]),
    ],
)
def test_the_mode_says_who_judges(mode: Mode, models: list[str]) -> None:
    judgement = judged(FINE, FINE, mode=mode)

    assert [each.model for each in judgement.results] == models
    assert {each.mode for each in judgement.results} == {mode.value}


def test_a_heavy_model_that_finds_what_the_light_one_did_not_is_believed() -> None:
    judgement = judged(FINE, COLD_SOLDER, mode=Mode.FIRST_ARTICLE)

    assert judgement.verdict == VERDICT_NONCONFORMING
    assert set(judgement.doubts) == {Doubt.DEFECT, Doubt.DISAGREEMENT, Doubt.FIRST_ARTICLE}


def test_an_image_like_nothing_known_does_not_conform() -> None:
    assert judged((0.2, 0.1, 0.1), (0.2, 0.1, 0.1)).verdict == VERDICT_UNDETERMINED


def test_the_context_moves_the_threshold_and_both_are_recorded() -> None:
    hasty = judged(GREY, GREY, context={**CONTEXT, "takt_ms": 900, "vibration_rms_z_milli": 4_150})

    result = hasty.results[0]
    recorded = {each.name: each.value for each in result.context}
    assert recorded["threshold_shift"] == str(-1_000 - 1_250)
    assert recorded["threshold"] == "2750"
    assert (result.label, result.verdict) == (COLD, VERDICT_NONCONFORMING)


def test_missing_context_is_named_and_judged_by_the_strict_bound() -> None:
    lenient, strict = judged(GREY), judged(GREY, context={"takt_ms": 1_250})

    assert lenient.results[0].verdict == VERDICT_UNDETERMINED
    assert strict.results[0].verdict == VERDICT_NONCONFORMING
    assert strict.results[0].missing_context == ["vibration_rms_z_milli"]
    assert Doubt.MISSING_CONTEXT in strict.doubts
    assert strict.needs_person


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((float("nan"), 0.1, 0.1), "not probabilities"),
        ((float("inf"), 0.1, 0.1), "not probabilities"),
        ((1.1, 0.1, 0.1), "not probabilities"),
        ((-0.1, 0.1, 0.1), "not probabilities"),
        ((0.5, 0.5), r"shape \(1, 2\); its manifest says \(1, 3\)"),
    ],
)
def test_scores_that_are_none_are_an_error_and_never_a_result(
    scores: Sequence[float], said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        judged(scores)


NO_SCORES = (float("nan"), 0.1, 0.1)


@pytest.mark.parametrize("mode", [Mode.NORMAL, Mode.FIRST_ARTICLE])
def test_a_defect_stands_where_the_heavy_model_fails(mode: Mode) -> None:
    judgement = judged(COLD_SOLDER, NO_SCORES, mode=mode)

    (result,) = judgement.results
    assert (result.model, result.label) == ("weld-light/3", COLD)
    assert judgement.verdict == result.verdict == VERDICT_NONCONFORMING
    assert Doubt.DEFECT in judgement.doubts
    assert judgement.needs_person
    assert isinstance(judgement.failure, EngineError)


@pytest.mark.parametrize(
    ("light", "mode"),
    [(GREY, Mode.NORMAL), (GREY, Mode.FIRST_ARTICLE), (FINE, Mode.FIRST_ARTICLE)],
)
def test_anything_else_is_undetermined_and_for_a_person_where_the_heavy_model_fails(
    light: Sequence[float], mode: Mode
) -> None:
    policy = changed('"defect", "grey_zone", "disagreement", "missing_context"', '"disagreement"')
    made = inspector(model(light), model(NO_SCORES, "weld-heavy"), policy)

    judgement = made.judge(inspected(mode=mode))

    assert judgement.verdict == VERDICT_UNDETERMINED
    assert judgement.needs_person


PROBABILITY = floats(0, 1, width=32)
ERRORS = (EngineError("it hangs"), RuntimeError("in this program"), MemoryError())


@given(light=tuples(*[PROBABILITY] * 3), mode=sampled_from(Mode), error=sampled_from(ERRORS))
def test_what_the_light_model_found_is_never_lost_and_never_acquitted(
    light: tuple[float, ...], mode: Mode, error: Exception
) -> None:
    def fails(_pixels: object) -> Sequence[float]:
        raise error

    alone = judged(light, light, mode=mode)
    made = inspector(model(light), model(fails, "weld-heavy"))
    if "weld-light/3" not in {each.model for each in alone.results}:
        with pytest.raises(type(error)):
            made.judge(inspected(mode=mode))
        return
    judgement = made.judge(inspected(mode=mode))

    (result,) = judgement.results
    assert result.joint_verdict == judgement.verdict
    result.ClearField("joint_verdict")
    alone.results[0].ClearField("joint_verdict")
    assert result == alone.results[0]
    if len(alone.results) == 1:
        assert (judgement, judgement.failure) == (alone, None)
    else:
        is_defect = alone.results[0].verdict == VERDICT_NONCONFORMING
        assert judgement.verdict == (VERDICT_NONCONFORMING if is_defect else VERDICT_UNDETERMINED)
        assert (judgement.needs_person, judgement.failure) == (True, error)


def test_an_output_of_another_name_is_an_error() -> None:
    made = inspector(model(FINE, scores_output="logits"), model(FINE, "weld-heavy"))

    with pytest.raises(EngineError, match="no output 'logits'"):
        made.judge(inspected())


def test_an_image_of_another_size_than_a_models_is_refused() -> None:
    wide = ModelInput(name="image", height=16, width=32, um_per_pixel=50)
    light = model(FINE, input=wide)
    made = inspector(light, model(FINE, "weld-heavy"))

    with pytest.raises(InputRefused, match="16 x 16, the model takes 16 x 32"):
        made.judge(inspected())
    assert asked_count(light) == 0


def label(name: str, *, is_defect: bool) -> LabelScore:
    return LabelScore(label=name, is_defect=is_defect, threshold=5_000)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"catalogue": "weld-labels/2"}, "labels of weld-labels/2"),
        ({"labels": (label("BENT/end/std", is_defect=True),)}, "not in weld-labels/1"),
        ({"labels": (label(COLD, is_defect=False),)}, "no defect to model"),
    ],
)
def test_a_model_whose_labels_are_not_the_catalogues_is_refused(
    changes: dict[str, object], said: str
) -> None:
    with pytest.raises(CatalogueRefused, match=said):
        inspector(model(FINE, "weld-light", **changes), model(FINE, "weld-heavy"))


@pytest.mark.parametrize(
    ("grey_zone", "is_refused"), [(1_999, False), (2_000, True), (5_000, True), (10_000, True)]
)
def test_a_grey_zone_in_which_no_image_could_conform_is_refused(
    grey_zone: int, is_refused: bool
) -> None:
    text = changed("grey_zone = 1_500", f"grey_zone = {grey_zone}")
    if is_refused:
        said = rf"grey zone of {grey_zone}, but the threshold .* may come down to 2000: no image"
        with pytest.raises(PolicyRefused, match=said):
            inspector(model(FINE), model(FINE, "weld-heavy"), text)
        return
    made = inspector(model((1, 0, 0)), model((1, 0, 0), "weld-heavy"), text)
    strict = made.judge(inspected(context={}))
    assert strict.verdict == quality_pb2.VERDICT_CONFORMING


def test_models_that_a_policy_needs_must_be_there_and_be_of_its_catalogue() -> None:
    policy, labels = weld_policy(), weld_labels()

    with pytest.raises(ModelRefused, match="asks for a light model"):
        Inspector(policy, labels, heavy=model(FINE))
    with pytest.raises(ModelRefused, match="asks for a heavy model"):
        Inspector(policy, labels, light=model(FINE))
    with pytest.raises(CatalogueRefused, match="is for weld-labels/9"):
        inspector(model(FINE), model(FINE), changed("weld-labels/1", "weld-labels/9"))
    with pytest.raises(CatalogueRefused, match="cannot be told from 'x_ray'"):
        inspector(model(FINE), model(FINE), changed("ring_light_grey", "x_ray"))


SCORES = tuples(*[integers(0, 10_000)] * 3)


@given(scores=SCORES, takts=lists(integers(0, 5_000), min_size=2, max_size=2))
def test_a_stricter_threshold_never_makes_a_verdict_milder(
    scores: tuple[int, ...], takts: list[int]
) -> None:
    policy, labels = weld_policy(), model(FINE).manifest.labels
    severity = (VERDICT_CONFORMING, VERDICT_UNDETERMINED, VERDICT_NONCONFORMING)

    def verdict(takt_ms: int) -> int:
        shift = policy.thresholds.shift({**CONTEXT, "takt_ms": takt_ms})
        return decide(labels, scores, policy=policy, shift=shift).verdict

    hasty, slow = verdict(min(takts)), verdict(max(takts))

    assert severity.index(slow) <= severity.index(hasty)
