"""People's verdicts as labels: whose results they label, once, and in which hour."""

import pytest

from lotmark.v1 import event_pb2, quality_pb2
from lotmark.v1.quality_pb2 import (
    VERDICT_CONFORMING,
    VERDICT_NONCONFORMING,
    VERDICT_UNDETERMINED,
)
from lotmark_inference import labelled_results
from lotmark_inference.f1_window import HOUR_MS, LabelCounts, Standing
from lotmark_inference.labelled_results import LabelledResults

LIGHT, HEAVY, STATION = "weld-light/3", "weld-heavy/2", "aoi-cam07"
HOUR = 491_000


def name(number: int) -> bytes:
    return number.to_bytes(32)


class Log:
    """Results and reviews in the order in which they came on record."""

    def __init__(self) -> None:
        self.results = LabelledResults(model=LIGHT, station=STATION)
        self._count = 0

    def _take(self, event: event_pb2.Event, hour: int) -> bytes:
        self._count += 1
        self.results.take(event, name(self._count), time_ms=hour * HOUR_MS + 5)
        return name(self._count)

    def result(
        self,
        verdict: quality_pb2.Verdict.ValueType,
        *,
        model: str = LIGHT,
        station: str = STATION,
        image: int = 0,
        hour: int = HOUR,
    ) -> bytes:
        body = quality_pb2.InferenceResult(
            model=model, verdict=verdict, input_digest=name(image or self._count + 1_000)
        )
        return self._take(event_pb2.Event(device=station, inference_result=body), hour)

    def review(
        self, event_id: bytes, verdict: quality_pb2.Verdict.ValueType, *, hour: int = HOUR
    ) -> None:
        body = quality_pb2.ReviewVerdict(event_id=event_id, verdict=verdict)
        self._take(event_pb2.Event(review_verdict=body), hour)


def test_each_kind_of_label_is_counted_in_the_hour_of_its_review() -> None:
    log = Log()
    found = [log.result(VERDICT_NONCONFORMING) for _ in range(3)]
    passed = [log.result(VERDICT_CONFORMING) for _ in range(2)]
    for event_id in found[:2]:
        log.review(event_id, VERDICT_NONCONFORMING)
    log.review(found[2], VERDICT_CONFORMING)
    log.review(passed[0], VERDICT_CONFORMING, hour=HOUR + 1)
    log.review(passed[1], VERDICT_NONCONFORMING, hour=HOUR + 1)

    assert log.results.hours == {
        HOUR: LabelCounts(true_positives=2, false_positives=1),
        HOUR + 1: LabelCounts(true_negatives=1, false_negatives=1),
    }


def test_a_review_of_the_heavy_models_result_labels_the_light_ones_of_the_same_image() -> None:
    log = Log()
    log.result(VERDICT_CONFORMING, image=7)
    heavy = log.result(VERDICT_NONCONFORMING, model=HEAVY, image=7)
    log.review(heavy, VERDICT_NONCONFORMING)
    log.review(heavy, VERDICT_NONCONFORMING)  # a second look is no second label

    assert log.results.hours == {HOUR: LabelCounts(false_negatives=1)}


def test_what_labels_nothing_is_not_counted() -> None:
    log = Log()
    own = log.result(VERDICT_NONCONFORMING)
    log.review(own, VERDICT_UNDETERMINED)
    log.review(log.result(VERDICT_UNDETERMINED), VERDICT_NONCONFORMING)
    log.review(log.result(VERDICT_NONCONFORMING, model=HEAVY), VERDICT_NONCONFORMING)
    log.review(log.result(VERDICT_NONCONFORMING, station="cam08"), VERDICT_NONCONFORMING)
    log.review(name(999), VERDICT_NONCONFORMING)

    assert log.results.hours == {}


def test_memory_is_bounded_and_reviews_of_what_was_forgotten_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(labelled_results, "RESULTS_MAX", 3)
    log = Log()
    named = [log.result(VERDICT_NONCONFORMING, image=number % 2 + 1) for number in range(5)]
    log.review(named[0], VERDICT_NONCONFORMING)
    assert log.results.hours == {}

    log.review(named[4], VERDICT_NONCONFORMING)
    assert log.results.hours == {HOUR: LabelCounts(true_positives=2)}


def test_every_hour_from_the_first_result_on_has_a_finding() -> None:
    log = Log()
    log.result(VERDICT_CONFORMING)
    findings = [each for _, each in log.results.findings(baseline_ppm=900_000, until_hour=HOUR + 3)]

    assert [each.hour for each in findings] == [HOUR, HOUR + 1, HOUR + 2, HOUR + 3]
    assert {each.standing for each in findings} == {Standing.STARVED}
    nothing = LabelledResults(model=LIGHT, station=STATION)
    assert list(nothing.findings(baseline_ppm=900_000, until_hour=HOUR)) == []
