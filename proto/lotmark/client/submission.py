"""Events on their way into a ledger: cut into batches, and what became of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lotmark.batch import BATCH_EVENTS_MAX, BATCH_SIZE_MAX
from lotmark.event import EventRefused, check_event
from lotmark.outcome import Outcome

_BATCH_OVERHEAD_MAX = 512  # header, signature and counts
_EVENT_OVERHEAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EventResult:
    """What became of one event, as the node says: its receipt proves it."""

    event_id: bytes
    index: int | None  # of its entry; None: it has none, since its batch was refused
    height: int | None
    time_ms: int | None  # of the block
    outcome: Outcome
    detail: str  # why it was refused and what to do; "" where it was not


def check_events(events: Sequence[bytes]) -> None:
    """Check every event as the ledger will.

    Raises:
        EventRefused: One breaks a rule; the message says which.
    """
    for position, event in enumerate(events, start=1):
        try:
            check_event(event)
        except EventRefused as error:
            if len(events) == 1:
                raise
            reason = str(error).removeprefix(f"{error.outcome.name}: ")
            raise EventRefused(
                error.outcome, f"event {position} of {len(events)}: {reason}"
            ) from error


def cut_batches(events: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Return the events in order, in groups that each fit into a batch."""
    start, size = 0, _BATCH_OVERHEAD_MAX
    for at, event in enumerate(events):
        size += _EVENT_OVERHEAD + len(event)
        if size > BATCH_SIZE_MAX or at - start == BATCH_EVENTS_MAX:
            yield events[start:at]
            start, size = at, _BATCH_OVERHEAD_MAX + _EVENT_OVERHEAD + len(event)
    if start < len(events):
        yield events[start:]
