"""A model's decay by the events of a ledger: found, and one ticket an episode."""

import hashlib

from lotmark.merkle import leaf_hash
from lotmark.v1 import event_pb2, quality_pb2
from lotmark.v1.quality_pb2 import VERDICT_CONFORMING, VERDICT_NONCONFORMING
from lotmark_inference.f1_window import HOUR_MS, Grade, LabelCounts, Standing
from lotmark_node.model_decay import Decay, decay_of
from tests.node.accepted_log import MODEL, STATION, AcceptedLog

HOUR = 491_000
BASELINE = LabelCounts(true_positives=95, false_negatives=5, true_negatives=100)


class Log(AcceptedLog):
    """Results of hours, and what people said of them."""

    def hour(self, hour: int, *, found: int, missed: int) -> list[bytes]:
        """Add an hour's results and reviews: so many defects found and missed.

        Returns:
            The ids of the reviews of what was missed.
        """
        reviews = []
        for verdict, times in ((VERDICT_NONCONFORMING, found), (VERDICT_CONFORMING, missed)):
            for _ in range(times):
                digest = len(self.events).to_bytes(32)
                result = quality_pb2.InferenceResult(
                    model=MODEL, verdict=verdict, input_digest=digest
                )
                event_id = self.add(hour, inference_result=result)
                review = quality_pb2.ReviewVerdict(event_id=event_id, verdict=VERDICT_NONCONFORMING)
                reviews.append(self.add(hour, review_verdict=review))
        return reviews[found:]

    def decay(self, *, until_hour: int) -> Decay | None:
        return decay_of(
            self.events,
            model=MODEL,
            station=STATION,
            baseline=BASELINE,
            until_hour=until_hour,
        )


def test_a_model_without_results_has_no_finding() -> None:
    log = Log()
    assert log.decay(until_hour=HOUR) is None

    log.hour(HOUR + 1, found=1, missed=0)
    assert log.decay(until_hour=HOUR) is None


def test_a_model_that_misses_more_gets_one_ticket_however_often_it_is_computed() -> None:
    log = Log()
    for hour in range(HOUR, HOUR + 70):
        log.hour(hour, found=4, missed=1)
    first = log.decay(until_hour=HOUR + 69)
    assert first is not None
    assert (first.finding.standing, first.finding.grade) == (Standing.BREACH, Grade.SUSPECTED)
    assert first.ticket is not None
    assert first.ticket_id == b""
    ticket = event_pb2.Event.FromString(first.ticket)

    log.add(HOUR + 70, retrain_ticket=ticket.retrain_ticket)  # of another nonce: somebody's own
    assert log.decay(until_hour=HOUR + 69) == first
    ticket_id = log.put(HOUR + 70, ticket)
    later = log.decay(until_hour=HOUR + 71)

    assert ticket_id == leaf_hash(first.ticket)
    assert later is not None
    assert (later.ticket, later.ticket_id) == (first.ticket, ticket_id)
    message = later.message(made_ms=0)
    assert message.event_id == ticket_id
    assert message.fields["episode"] == ticket.retrain_ticket.episode
    assert message.title == "weld-light/3 at aoi-cam07 has become worse"


def test_two_callers_of_different_hours_make_the_same_event_of_an_episode() -> None:
    log = Log()
    tickets = set()
    decay = None
    for hour in range(HOUR, HOUR + 145):
        log.hour(hour, found=4, missed=1)
        if hour % 12 == 0:  # some of the hours at which somebody may call
            decay = log.decay(until_hour=hour)
            assert decay is not None
            tickets.add(decay.ticket)

    assert decay is not None
    assert decay.finding.grade is Grade.CONFIRMED
    assert len(tickets - {None}) == 1
    event = event_pb2.Event.FromString(decay.ticket or b"")
    assert event.device == STATION
    assert event.time.end_ms == (HOUR + 65) * HOUR_MS
    assert event.time.end_ms - event.time.start_ms == 72 * HOUR_MS
    ticket = event.retrain_ticket
    assert (ticket.grade, ticket.positive_count) == ("suspected", 65 * 5)
    named = hashlib.sha256(b"lotmark/retrain-ticket/v1\n" + ticket.episode.encode())
    assert event.nonce == named.digest()[:16]


def test_a_corrected_review_is_no_label() -> None:
    log = Log()
    for hour in range(HOUR, HOUR + 70):
        for review in log.hour(hour, found=4, missed=1):
            body = quality_pb2.Correction(event_id=review, reason="incorrect_data")
            log.add(hour, correction=body)
    decay = log.decay(until_hour=HOUR + 69)

    assert decay is not None
    assert decay.finding.standing is Standing.WELL
    assert decay.finding.positives == 65 * 4 + 5 * 4


def test_a_model_that_does_well_gets_none() -> None:
    log = Log()
    for hour in range(HOUR, HOUR + 70):
        log.hour(hour, found=5, missed=0)
    decay = log.decay(until_hour=HOUR + 69)

    assert decay is not None
    assert decay.finding.standing is Standing.WELL
    assert decay.ticket is None
