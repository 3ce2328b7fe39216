"""People's verdicts as labels of models' results, hour by hour, from accepted events alone.

A review names one result. It labels every result of the same input and station, so the light
model's too where the heavy one's was reviewed. What other stations found is not remembered: it
would push out what waits for its review. An hour is that of the ledger's time at the review: what
comes late counts when it comes, and the log read again gives the same hours.

A `correction` of a review takes its label away, and the next review of the same image that stands
labels it anew. That holds from the correction's hour on: what was said of earlier hours stands, so
that an episode keeps its name.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lotmark.v1 import event_pb2, quality_pb2
from lotmark.v1.quality_pb2 import VERDICT_NONCONFORMING, VERDICT_UNDETERMINED
from lotmark_inference.f1_window import (
    HOUR_MS,
    WINDOW_HOURS,
    F1Watch,
    LabelCounts,
    WindowFinding,
)

RESULTS_MAX = 500_000  # of the station, remembered: reviews of older ones are not counted
REVIEWS_MAX = 500_000  # of these, remembered: corrections of older ones are not counted

_CERTAIN = (quality_pb2.VERDICT_CONFORMING, VERDICT_NONCONFORMING)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A result as its label will need it."""

    is_watched: bool  # of the model that is asked for
    verdict: quality_pb2.Verdict.ValueType
    input_digest: bytes


@dataclass(frozen=True, slots=True)
class _Label:
    """What a review made of a result."""

    review_id: bytes
    hour: int
    counts: LabelCounts


class LabelledResults:
    """The labels of one model at one station, up to the event that was taken in last."""

    def __init__(self, *, model: str, station: str) -> None:
        """Begin with none.

        Args:
            model: Name and version.
            station: The device that makes the events of its results; other devices' change nothing.
        """
        self._model = model
        self._station = station
        self._judged: OrderedDict[bytes, _Judged] = OrderedDict()  # by event id
        self._of_input: dict[bytes, list[bytes]] = {}  # event ids by input digest
        self._labels: dict[bytes, _Label] = {}  # by event id of the result
        self._reviews: OrderedDict[bytes, tuple[bytes, quality_pb2.Verdict.ValueType]] = (
            OrderedDict()  # by event id: input digest, verdict; only those that stand
        )
        self._reviews_of_input: dict[bytes, list[bytes]] = {}
        self._hours: dict[int, LabelCounts] = {}
        # By the hour of corrections: hours of the window then, and what they took from them.
        self._taken_back: dict[int, dict[int, LabelCounts]] = {}
        self._first_hour: int | None = None

    @property
    def hours(self) -> Mapping[int, LabelCounts]:
        """Results and their labels, by hours since 1970, before any correction."""
        return self._hours

    def take(self, event: event_pb2.Event, event_id: bytes, *, time_ms: int) -> None:
        """Take in an accepted event; one of another kind changes nothing.

        Args:
            event: The event.
            event_id: Its id.
            time_ms: Of the block that holds it.
        """
        match event.WhichOneof("body"):
            case "inference_result":
                self._take_result(event, event_id, time_ms)
            case "review_verdict":
                self._take_review(event.review_verdict, event_id, time_ms // HOUR_MS)
            case "correction":
                self._take_correction(event.correction.event_id, time_ms // HOUR_MS)

    def findings(
        self, *, baseline: LabelCounts, until_hour: int
    ) -> Iterator[tuple[F1Watch, WindowFinding]]:
        """Return the watch and its finding after each hour from the first result on.

        Args:
            baseline: What was counted at the model's promotion; some true positives.
            until_hour: The last hour that is over.
        """
        if self._first_hour is None:
            return
        watch = F1Watch(model=self._model, station=self._station, baseline=baseline)
        for hour in range(self._first_hour, until_hour + 1):
            for label_hour, counts in self._taken_back.get(hour, {}).items():
                watch = watch.amended(label_hour, -counts)
            watch, finding = watch.after(hour, self._hours.get(hour, LabelCounts()))
            yield watch, finding

    def _take_result(self, event: event_pb2.Event, event_id: bytes, time_ms: int) -> None:
        if event.device != self._station:
            return
        result = event.inference_result
        is_watched = result.model == self._model
        hour = time_ms // HOUR_MS
        if is_watched and self._first_hour is None:
            self._first_hour = hour
        if is_watched and result.verdict in _CERTAIN:
            is_rejected = result.verdict == VERDICT_NONCONFORMING
            self._count(hour, LabelCounts(rejected=is_rejected, passed=not is_rejected))
        self._judged[event_id] = _Judged(is_watched, result.verdict, result.input_digest)
        self._of_input.setdefault(result.input_digest, []).append(event_id)
        if len(self._judged) > RESULTS_MAX:
            old_id, old = self._judged.popitem(last=False)
            _drop(self._of_input, old.input_digest, old_id)
            self._labels.pop(old_id, None)

    def _take_review(self, review: quality_pb2.ReviewVerdict, review_id: bytes, hour: int) -> None:
        named = self._judged.get(review.event_id)
        if named is None or review.verdict not in _CERTAIN:
            return
        self._reviews[review_id] = (named.input_digest, review.verdict)
        self._reviews_of_input.setdefault(named.input_digest, []).append(review_id)
        if len(self._reviews) > REVIEWS_MAX:
            old_id, (digest, _) = self._reviews.popitem(last=False)
            _drop(self._reviews_of_input, digest, old_id)
        for event_id in self._of_input[named.input_digest]:
            # The first label counts: a second look at the same image is no second image.
            if event_id not in self._labels:
                self._label(event_id, review_id, review.verdict, hour)

    def _take_correction(self, review_id: bytes, hour: int) -> None:
        if review_id not in self._reviews:
            return
        digest, _ = self._reviews.pop(review_id)
        _drop(self._reviews_of_input, digest, review_id)
        standing = self._reviews_of_input.get(digest, [])
        for event_id in self._of_input.get(digest, ()):
            label = self._labels.get(event_id)
            if label is None or label.review_id != review_id:
                continue
            del self._labels[event_id]
            if label.hour == hour:
                self._count(hour, -label.counts)
            elif label.hour > hour - WINDOW_HOURS:
                taken = self._taken_back.setdefault(hour, {})
                taken[label.hour] = taken.get(label.hour, LabelCounts()) + label.counts
            if standing:
                _, verdict = self._reviews[standing[0]]
                self._label(event_id, standing[0], verdict, hour)

    def _label(
        self, event_id: bytes, review_id: bytes, verdict: quality_pb2.Verdict.ValueType, hour: int
    ) -> None:
        judged = self._judged[event_id]
        # What the model left to a person it did not get wrong.
        if not judged.is_watched or judged.verdict == VERDICT_UNDETERMINED:
            return
        is_positive = verdict == VERDICT_NONCONFORMING
        found = judged.verdict == VERDICT_NONCONFORMING
        counts = LabelCounts(
            true_positives=int(found and is_positive),
            false_positives=int(found and not is_positive),
            false_negatives=int(not found and is_positive),
            true_negatives=int(not found and not is_positive),
        )
        self._labels[event_id] = _Label(review_id, hour, counts)
        self._count(hour, counts)

    def _count(self, hour: int, counts: LabelCounts) -> None:
        self._hours[hour] = self._hours.get(hour, LabelCounts()) + counts


def _drop(ids_of_input: dict[bytes, list[bytes]], digest: bytes, event_id: bytes) -> None:
    ids = ids_of_input[digest]
    ids.remove(event_id)
    if not ids:
        del ids_of_input[digest]
