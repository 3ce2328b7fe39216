"""Has a model become worse: labels and baseline from the ledger, one ticket an episode."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lotmark.client.session import LedgerSession
from lotmark.v1 import quality_pb2
from lotmark_adapters.webhooks.message import Message
from lotmark_inference.f1_window import (
    HOUR_MS,
    F1Watch,
    LabelCounts,
    WindowFinding,
    retrain_ticket,
)
from lotmark_inference.labelled_results import LabelledResults
from lotmark_node.inference_ledger import AcceptedEvent, accepted_events

BODIES = ("inference_result", "review_verdict", "retrain_ticket")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decay:
    """How a model at a station does at the end of the last whole hour."""

    watch: F1Watch
    finding: WindowFinding
    ticket_id: bytes  # event of the open episode's ticket; b"": there is none

    @property
    def ticket(self) -> quality_pb2.RetrainTicket | None:
        """The ticket that is still to be put on record."""
        if self.finding.grade is None or self.ticket_id:
            return None
        return retrain_ticket(self.watch, self.finding)

    def message(self, ticket_id: bytes, *, made_ms: int) -> Message:
        """Return what people's systems are told once the ticket is on record."""
        finding = self.finding
        return Message(
            kind="retrain_ticket",
            title=f"{self.watch.model} at {self.watch.station} has become worse",
            event_id=ticket_id,
            made_ms=made_ms,
            fields={
                "model": self.watch.model,
                "station": self.watch.station,
                "episode": finding.episode,
                "grade": str(finding.grade),
                "finding": finding.said,
            },
        )


def promoted_baseline_ppm(
    session: LedgerSession, *, model: str, station: str, parties: Sequence[str]
) -> int | None:
    """Return the F1 with which a model was last promoted at a station; None: it never was."""
    baseline_ppm = None
    for each in accepted_events(session, ("model_promoted",), parties=parties):
        body = each.event.model_promoted
        if (body.model, body.station) == (model, station):
            counts = LabelCounts(
                true_positives=body.true_positive_count,
                false_positives=body.false_positive_count,
                false_negatives=body.false_negative_count,
            )
            baseline_ppm = counts.f1_ppm
    return baseline_ppm


def read_decay(
    session: LedgerSession, *, model: str, station: str, baseline_ppm: int, parties: Sequence[str]
) -> Decay | None:
    """Return how a model does by the ledger; None: it has no result that is an hour old.

    Args:
        session: With a node.
        model: Name and version.
        station: The device of its results.
        baseline_ppm: F1 at its promotion, above 0.
        parties: Whose results, reviews and tickets count.
    """
    return decay_of(
        accepted_events(session, BODIES, parties=parties),
        model=model,
        station=station,
        baseline_ppm=baseline_ppm,
        until_hour=session.ledger().time_ms // HOUR_MS - 1,
    )


def decay_of(
    events: Iterable[AcceptedEvent],
    *,
    model: str,
    station: str,
    baseline_ppm: int,
    until_hour: int,
) -> Decay | None:
    """Return how a model does by results, reviews and tickets in the order of the log.

    Args:
        events: Those of them that count.
        model: Name and version.
        station: The device of its results.
        baseline_ppm: F1 at its promotion, above 0.
        until_hour: The last hour that is over, since 1970.
    """
    labelled = LabelledResults(model=model, station=station)
    tickets: dict[str, bytes] = {}
    for each in events:
        if each.event.WhichOneof("body") == "retrain_ticket":
            ticket = each.event.retrain_ticket
            if (ticket.model, ticket.station) == (model, station):
                tickets.setdefault(ticket.episode, each.event_id)
            continue
        labelled.take(each.event, each.event_id, time_ms=each.entry.head.time_ms)
    findings = labelled.findings(baseline_ppm=baseline_ppm, until_hour=until_hour)
    last = deque(findings, maxlen=1)
    if not last:
        return None
    watch, finding = last[0]
    return Decay(watch=watch, finding=finding, ticket_id=tickets.get(finding.episode, b""))
