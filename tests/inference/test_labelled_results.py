"""People's verdicts as labels: whose results they label, once, and in which hour."""

from dataclasses import replace

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
BASELINE = LabelCounts(true_positives=900, false_negatives=100, true_negatives=1_000)


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
    ) -> bytes:
        body = quality_pb2.ReviewVerdict(event_id=event_id, verdict=verdict)
        return self._take(event_pb2.Event(review_verdict=body), hour)

    def correct(self, review_id: bytes, *, hour: int = HOUR) -> None:
        body = quality_pb2.Correction(event_id=review_id, reason="incorrect_data")
        self._take(event_pb2.Event(correction=body), hour)

    @property
    def labels(self) -> dict[int, LabelCounts]:
        """Labels by hours, without how many results there were."""
        bare = {
            hour: replace(counts, rejected=0, passed=0)
            for hour, counts in self.results.hours.items()
        }
        return {hour: counts for hour, counts in bare.items() if counts != LabelCounts()}


def test_each_kind_of_label_is_counted_in_the_hour_of_its_review() -> None:
    log = Log()
    found = [log.result(VERDICT_NONCONFORMING) for _ in range(3)]
    passed = [log.result(VERDICT_CONFORMING) for _ in range(2)]
    for event_id in found[:2]:
        log.review(event_id, VERDICT_NONCONFORMING)
    log.review(found[2], VERDICT_CONFORMING)
    log.review(passed[0], VERDICT_CONFORMING, hour=HOUR + 1)
    log.review(passed[1], VERDICT_NONCONFORMING, hour=HOUR + 1)

    assert log.labels == {
        HOUR: LabelCounts(true_positives=2, false_positives=1),
        HOUR + 1: LabelCounts(true_negatives=1, false_negatives=1),
    }


def test_a_review_of_the_heavy_models_result_labels_the_light_ones_of_the_same_image() -> None:
    log = Log()
    log.result(VERDICT_CONFORMING, image=7)
    heavy = log.result(VERDICT_NONCONFORMING, model=HEAVY, image=7)
    log.review(heavy, VERDICT_NONCONFORMING)
    log.review(heavy, VERDICT_NONCONFORMING)  # a second look is no second label

    assert log.labels == {HOUR: LabelCounts(false_negatives=1)}


def test_what_labels_nothing_is_not_counted() -> None:
    log = Log()
    own = log.result(VERDICT_NONCONFORMING)
    log.review(own, VERDICT_UNDETERMINED)
    log.review(log.result(VERDICT_UNDETERMINED), VERDICT_NONCONFORMING)
    log.review(log.result(VERDICT_NONCONFORMING, model=HEAVY), VERDICT_NONCONFORMING)
    log.review(log.result(VERDICT_NONCONFORMING, station="cam08"), VERDICT_NONCONFORMING)
    log.review(name(999), VERDICT_NONCONFORMING)

    assert log.labels == {}


def test_results_are_counted_with_or_without_a_label() -> None:
    log = Log()
    for verdict in (VERDICT_CONFORMING, VERDICT_CONFORMING, VERDICT_NONCONFORMING):
        log.result(verdict)
    log.result(VERDICT_UNDETERMINED)
    log.result(VERDICT_CONFORMING, model=HEAVY)

    assert log.results.hours == {HOUR: LabelCounts(rejected=1, passed=2)}


def test_a_review_that_is_corrected_in_its_hour_labels_nothing_and_the_next_one_does() -> None:
    log = Log()
    part = log.result(VERDICT_CONFORMING)
    wrong = log.review(part, VERDICT_NONCONFORMING)
    log.correct(wrong)
    assert log.labels == {}

    log.correct(wrong)  # a second time takes nothing
    right = log.review(part, VERDICT_CONFORMING)
    assert log.labels == {HOUR: LabelCounts(true_negatives=1)}
    log.correct(name(999))
    assert log.labels == {HOUR: LabelCounts(true_negatives=1)}
    log.correct(right)
    assert log.labels == {}


def test_a_review_that_came_before_the_correction_takes_the_place() -> None:
    log = Log()
    part = log.result(VERDICT_CONFORMING, image=7)
    heavy = log.result(VERDICT_NONCONFORMING, model=HEAVY, image=7)
    wrong = log.review(part, VERDICT_NONCONFORMING)
    log.review(heavy, VERDICT_CONFORMING)
    assert log.labels == {HOUR: LabelCounts(false_negatives=1)}

    log.correct(wrong)

    assert log.labels == {HOUR: LabelCounts(true_negatives=1)}


def test_a_later_correction_changes_what_is_said_from_its_hour_on_alone() -> None:
    log = Log()
    reviews = []
    for hour in range(HOUR, HOUR + 72):
        found = [log.result(VERDICT_NONCONFORMING, hour=hour) for _ in range(4)]
        for event_id in found:
            log.review(event_id, VERDICT_NONCONFORMING, hour=hour)
        missed = log.result(VERDICT_CONFORMING, hour=hour)
        reviews.append((missed, log.review(missed, VERDICT_NONCONFORMING, hour=hour)))
    before = list(log.results.findings(baseline=BASELINE, until_hour=HOUR + 71))
    for missed, review in reviews:
        log.correct(review, hour=HOUR + 72)
        log.review(missed, VERDICT_CONFORMING, hour=HOUR + 72)

    *same, (watch, after) = log.results.findings(baseline=BASELINE, until_hour=HOUR + 72)

    assert same == before
    assert before[-1][1].standing is Standing.BREACH
    assert (after.standing, after.f1_ppm) == (Standing.WELL, 1_000_000)
    assert watch.opening == before[64][1]
    assert log.labels[HOUR + 72] == LabelCounts(true_negatives=72)


def test_memory_of_reviews_is_bounded_and_corrections_of_forgotten_ones_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(labelled_results, "REVIEWS_MAX", 2)
    log = Log()
    parts = [log.result(VERDICT_CONFORMING) for _ in range(3)]
    reviews = [log.review(part, VERDICT_CONFORMING) for part in parts]
    for review in reviews:
        log.correct(review)

    assert log.labels == {HOUR: LabelCounts(true_negatives=1)}


def test_memory_is_bounded_and_reviews_of_what_was_forgotten_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(labelled_results, "RESULTS_MAX", 3)
    log = Log()
    named = [log.result(VERDICT_NONCONFORMING, image=number % 2 + 1) for number in range(5)]
    log.review(named[0], VERDICT_NONCONFORMING)
    assert log.labels == {}

    log.review(named[4], VERDICT_NONCONFORMING)
    assert log.labels == {HOUR: LabelCounts(true_positives=2)}


def test_results_of_another_station_push_out_none_that_waits_for_its_review(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(labelled_results, "RESULTS_MAX", 3)
    log = Log()
    part = log.result(VERDICT_NONCONFORMING)
    for _ in range(3):
        log.result(VERDICT_CONFORMING, station="cam08")
    log.review(part, VERDICT_NONCONFORMING)

    assert log.labels == {HOUR: LabelCounts(true_positives=1)}


@pytest.mark.parametrize("model", [LIGHT, HEAVY])
@pytest.mark.parametrize("others", [0, 1, 3, 40])
def test_traffic_of_other_stations_changes_no_label(
    model: str, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled_results, "RESULTS_MAX", 4)
    monkeypatch.setattr(labelled_results, "REVIEWS_MAX", 2)
    log = Log()

    def traffic() -> None:
        for number in range(others):
            theirs = log.result(VERDICT_CONFORMING, model=model, station=f"cam{number + 8:02}")
            log.correct(log.review(theirs, VERDICT_NONCONFORMING))
            log.review(theirs, VERDICT_NONCONFORMING)

    missed, sound = log.result(VERDICT_CONFORMING), log.result(VERDICT_CONFORMING, image=7)
    heavy = log.result(VERDICT_NONCONFORMING, model=HEAVY, image=7)
    traffic()
    wrong = log.review(heavy, VERDICT_NONCONFORMING)
    log.review(missed, VERDICT_NONCONFORMING)
    traffic()
    log.correct(wrong)
    log.review(sound, VERDICT_CONFORMING, hour=HOUR + 1)

    assert log.labels == {
        HOUR: LabelCounts(false_negatives=1),
        HOUR + 1: LabelCounts(true_negatives=1),
    }


def test_every_hour_from_the_first_result_on_has_a_finding() -> None:
    log = Log()
    log.result(VERDICT_CONFORMING)
    findings = [each for _, each in log.results.findings(baseline=BASELINE, until_hour=HOUR + 3)]

    assert [each.hour for each in findings] == [HOUR, HOUR + 1, HOUR + 2, HOUR + 3]
    assert {each.standing for each in findings} == {Standing.STARVED}
    nothing = LabelledResults(model=LIGHT, station=STATION)
    assert list(nothing.findings(baseline=BASELINE, until_hour=HOUR)) == []
