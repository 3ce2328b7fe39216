"""Events put on the ledger of a running node, and what became of them."""

from collections.abc import Sequence
from typing import Any

from lotmark.client import Client, ClientSettings, Delivery, EventResult, SubmissionRefused

ACKNOWLEDGED_S = 30.0


def submit_events(
    settings: ClientSettings, events: Sequence[bytes], **options: Any
) -> list[EventResult]:
    """Submit events by a client that is opened for it, and return their results."""
    with Client(settings, **options) as client:
        return [result_of(delivery) for delivery in client.submit_all(events)]


def result_of(delivery: Delivery) -> EventResult:
    """Return what became of an event, also where it was refused."""
    try:
        return delivery.result(ACKNOWLEDGED_S)
    except SubmissionRefused as error:
        return error.result
