"""People's verdicts as labels of models' results, hour by hour, from accepted events alone.

A review names one result. It labels every result of the same input, so the light model's too where
the heavy one's was reviewed. An hour is that of the ledger's time at the review: what comes late
counts when it comes, and the log read again gives the same hours.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lotmark.v1 import event_pb2, quality_pb2
from lotmark.v1.quality_pb2 import VERDICT_NONCONFORMING, VERDICT_UNDETERMINED
from lotmark_inference.f1_window import HOUR_MS, F1Watch, LabelCounts, WindowFinding

RESULTS_MAX = 500_000  # remembered: reviews of older ones are not counted

_CERTAIN = (quality_pb2.VERDICT_CONFORMING, VERDICT_NONCONFORMING)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A result as its label will need it."""

    is_watched: bool  # of the model and the station that are asked for
    verdict: quality_pb2.Verdict.ValueType
    input_digest: bytes


class LabelledResults:
    """The labels of one model at one station, up to the event that was taken in last."""

    def __init__(self, *, model: str, station: str) -> None:
        """Begin with none.

        Args:
            model: Name and version.
            station: The device that makes the events of its results.
        """
        self._model = model
        self._station = station
        self._judged: OrderedDict[bytes, _Judged] = OrderedDict()  # by event id
        self._of_input: dict[bytes, list[bytes]] = {}  # event ids by input digest
        self._labelled: set[bytes] = set()  # event ids
        self._hours: dict[int, LabelCounts] = {}
        self._first_hour: int | None = None

    @property
    def hours(self) -> Mapping[int, LabelCounts]:
        """What was labelled, by hours since 1970."""
        return self._hours

    def take(self, event: event_pb2.Event, event_id: bytes, *, time_ms: int) -> None:
        """Take in an accepted event; one that is neither result nor review changes nothing.

        Args:
            event: The event.
            event_id: Its id.
            time_ms: Of the block that holds it.
        """
        match event.WhichOneof("body"):
            case "inference_result":
                self._take_result(event, event_id, time_ms)
            case "review_verdict":
                self._take_review(event.review_verdict, time_ms)

    def findings(
        self, *, baseline_ppm: int, until_hour: int
    ) -> Iterator[tuple[F1Watch, WindowFinding]]:
        """Return the watch and its finding after each hour from the first result on.

        Args:
            baseline_ppm: F1 at the model's promotion.
            until_hour: The last hour that is over.
        """
        if self._first_hour is None:
            return
        watch = F1Watch(model=self._model, station=self._station, baseline_ppm=baseline_ppm)
        for hour in range(self._first_hour, until_hour + 1):
            watch, finding = watch.after(hour, self._hours.get(hour, LabelCounts()))
            yield watch, finding

    def _take_result(self, event: event_pb2.Event, event_id: bytes, time_ms: int) -> None:
        result = event.inference_result
        is_watched = (result.model, event.device) == (self._model, self._station)
        if is_watched and self._first_hour is None:
            self._first_hour = time_ms // HOUR_MS
        self._judged[event_id] = _Judged(is_watched, result.verdict, result.input_digest)
        self._of_input.setdefault(result.input_digest, []).append(event_id)
        if len(self._judged) > RESULTS_MAX:
            old_id, old = self._judged.popitem(last=False)
            self._of_input[old.input_digest].remove(old_id)
            if not self._of_input[old.input_digest]:
                del self._of_input[old.input_digest]
            self._labelled.discard(old_id)

    def _take_review(self, review: quality_pb2.ReviewVerdict, time_ms: int) -> None:
        named = self._judged.get(review.event_id)
        if named is None or review.verdict not in _CERTAIN:
            return
        is_positive = review.verdict == VERDICT_NONCONFORMING
        hour = time_ms // HOUR_MS
        for event_id in self._of_input[named.input_digest]:
            judged = self._judged[event_id]
            # The first label counts: a second look at the same image is no second image. What the
            # model left to a person it did not get wrong.
            if (
                not judged.is_watched
                or judged.verdict == VERDICT_UNDETERMINED
                or event_id in self._labelled
            ):
                continue
            self._labelled.add(event_id)
            found = judged.verdict == VERDICT_NONCONFORMING
            made = LabelCounts(
                true_positives=int(found and is_positive),
                false_positives=int(found and not is_positive),
                false_negatives=int(not found and is_positive),
                true_negatives=int(not found and not is_positive),
            )
            self._hours[hour] = self._hours.get(hour, LabelCounts()) + made
