"""Has a model become worse: labels and baseline from the ledger, one ticket an episode.

A ticket's event follows from the log alone, to the last byte. So whoever makes it makes the same
one, anybody finds it by its id, and the ledger takes it once.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain

from lotmark.client.new_event import new_event
from lotmark.client.session import LedgerSession
from lotmark.event import NONCE_SIZE
from lotmark.merkle import leaf_hash
from lotmark.v1 import event_pb2
from lotmark_adapters.webhooks.message import Message
from lotmark_inference.f1_window import (
    HOUR_MS,
    WINDOW_HOURS,
    F1Watch,
    LabelCounts,
    WindowFinding,
    retrain_ticket,
)
from lotmark_inference.labelled_results import LabelledResults
from lotmark_node.inference_ledger import AcceptedEvent, accepted_events

BODIES = ("inference_result", "review_verdict", "correction")
TICKET = "retrain_ticket"

_TICKET_PURPOSE = b"lotmark/retrain-ticket/v1\n"
_HOUR_UNCERTAINTY_US = 1_000_000  # of the ledger's hours
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decay:
    """How a model at a station does at the end of the last whole hour."""

    watch: F1Watch
    finding: WindowFinding
    ticket: bytes | None  # event of the open episode's ticket; None: no episode is open
    is_on_record: bool  # that ticket

    @property
    def ticket_id(self) -> bytes:
        """The id of the ticket's event once it is on record; b"": it is not, or there is none."""
        return leaf_hash(self.ticket) if self.ticket and self.is_on_record else b""

    def message(self, *, made_ms: int) -> Message:
        """Return what people's systems are told of the ticket that is on record."""
        finding = self.finding
        return Message(
            kind="retrain_ticket",
            title=f"{self.watch.model} at {self.watch.station} has become worse",
            event_id=self.ticket_id,
            made_ms=made_ms,
            fields={
                "model": self.watch.model,
                "station": self.watch.station,
                "episode": finding.episode,
                "grade": str(finding.grade),
                "finding": finding.said,
            },
        )


def promoted_baseline(
    session: LedgerSession, *, model: str, station: str, parties: Sequence[str]
) -> LabelCounts | None:
    """Return what was counted when a model was last promoted at a station.

    None: it never was, or with no defect found, so that it cannot become worse.
    """
    baseline = None
    for each in accepted_events(session, ("model_promoted",), parties=parties):
        body = each.event.model_promoted
        if (body.model, body.station) == (model, station):
            baseline = LabelCounts(
                true_positives=body.true_positive_count,
                false_positives=body.false_positive_count,
                false_negatives=body.false_negative_count,
                true_negatives=body.true_negative_count,
            )
    return baseline if baseline and baseline.true_positives else None


def read_decay(
    session: LedgerSession,
    *,
    model: str,
    station: str,
    baseline: LabelCounts,
    parties: Sequence[str],
) -> Decay | None:
    """Return how a model does by the ledger; None: it has no result that is an hour old.

    Args:
        session: With a node.
        model: Name and version.
        station: The device of its results.
        baseline: What was counted at its promotion; some true positives.
        parties: Whose results, reviews and corrections count.
    """
    return decay_of(
        chain(
            accepted_events(session, BODIES, parties=parties),
            accepted_events(session, (TICKET,)),
        ),
        model=model,
        station=station,
        baseline=baseline,
        until_hour=session.ledger().time_ms // HOUR_MS - 1,
    )


def decay_of(
    events: Iterable[AcceptedEvent],
    *,
    model: str,
    station: str,
    baseline: LabelCounts,
    until_hour: int,
) -> Decay | None:
    """Return how a model does by results, reviews, corrections and tickets.

    Args:
        events: Those of them that count, in the order of the log; tickets anywhere.
        model: Name and version.
        station: The device of its results.
        baseline: What was counted at its promotion; some true positives.
        until_hour: The last hour that is over, since 1970.
    """
    labelled = LabelledResults(model=model, station=station)
    tickets: set[bytes] = set()
    for each in events:
        if each.event.WhichOneof("body") == TICKET:
            tickets.add(each.event_id)
        else:
            labelled.take(each.event, each.event_id, time_ms=each.entry.head.time_ms)
    last = deque(labelled.findings(baseline=baseline, until_hour=until_hour), maxlen=1)
    if not last:
        return None
    watch, finding = last[0]
    ticket = None if watch.opening is None else ticket_event(watch, watch.opening)
    return Decay(
        watch=watch,
        finding=finding,
        ticket=ticket,
        is_on_record=ticket is not None and leaf_hash(ticket) in tickets,
    )


def ticket_event(watch: F1Watch, opening: WindowFinding) -> bytes:
    """Return the event of an open episode's ticket: the same bytes, whoever makes it and when."""
    end = _EPOCH + timedelta(hours=opening.hour + 1)
    named = hashlib.sha256(_TICKET_PURPOSE + opening.episode.encode())
    return new_event(
        retrain_ticket(watch, opening),
        device=watch.station,
        capture=event_pb2.CAPTURE_MODE_MANUAL,
        time=(end - timedelta(hours=WINDOW_HOURS), end),
        uncertainty_us=_HOUR_UNCERTAINTY_US,
        nonce=named.digest()[:NONCE_SIZE],
    )
