"""A model's decay by the events of a ledger: found, and one ticket an episode."""

from lotmark.v1 import quality_pb2
from lotmark.v1.quality_pb2 import VERDICT_CONFORMING, VERDICT_NONCONFORMING
from lotmark_inference.f1_window import Grade, Standing
from lotmark_node.model_decay import Decay, decay_of
from tests.node.accepted_log import MODEL, STATION, AcceptedLog

HOUR = 491_000


class Log(AcceptedLog):
    """Results of hours, and what people said of them."""

    def hour(self, hour: int, *, found: int, missed: int) -> None:
        """Add results of an hour and what people said of them: so many defects found and missed."""
        for verdict, times in ((VERDICT_NONCONFORMING, found), (VERDICT_CONFORMING, missed)):
            for _ in range(times):
                digest = len(self.events).to_bytes(32)
                result = quality_pb2.InferenceResult(
                    model=MODEL, verdict=verdict, input_digest=digest
                )
                event_id = self.add(hour, inference_result=result)
                review = quality_pb2.ReviewVerdict(event_id=event_id, verdict=VERDICT_NONCONFORMING)
                self.add(hour, review_verdict=review)

    def decay(self, *, until_hour: int) -> Decay | None:
        return decay_of(
            self.events,
            model=MODEL,
            station=STATION,
            baseline_ppm=950_000,
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
    ticket = first.ticket
    assert ticket is not None

    other = quality_pb2.RetrainTicket(model="weld-heavy/2", episode=ticket.episode)
    log.add(HOUR + 70, retrain_ticket=other)
    assert log.decay(until_hour=HOUR + 69) == first
    ticket_id = log.add(HOUR + 70, retrain_ticket=ticket)
    log.hour(HOUR + 71, found=4, missed=1)
    later = log.decay(until_hour=HOUR + 71)

    assert later is not None
    assert (later.ticket, later.ticket_id) == (None, ticket_id)
    message = later.message(ticket_id, made_ms=0)
    assert message.event_id == ticket_id
    assert message.fields["episode"] == ticket.episode
    assert message.title == "weld-light/3 at aoi-cam07 has become worse"


def test_a_model_that_does_well_gets_none() -> None:
    log = Log()
    for hour in range(HOUR, HOUR + 70):
        log.hour(hour, found=5, missed=0)
    decay = log.decay(until_hour=HOUR + 69)

    assert decay is not None
    assert decay.finding.standing is Standing.WELL
    assert decay.ticket is None
