"""Events on their way into a ledger: cut into batches, and what became of each."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lotmark.batch import BATCH_EVENTS_MAX, BATCH_SIZE_MAX
from lotmark.client.calls import CallRefused
from lotmark.event import EventRefused, check_event
from lotmark.outcome import Outcome

try:
    import fcntl
except ImportError:  # Windows has no such lock: there, one process a key is the operator's duty
    fcntl = None  # type: ignore[assignment]

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


class LaneBusyError(CallRefused):
    """Another process signs with this key."""


def check_events(events: Sequence[bytes]) -> None:
    """Check every event as the ledger will.

    Raises:
        EventRefused: One breaks a rule; the message says which.
    """
    for position, event in enumerate(events, start=1):
        try:
            check_event(event)
        except EventRefused as error:
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


@contextmanager
def sole_signer(key_file: Path) -> Iterator[None]:
    """Keep every other process on this machine from signing with a key.

    Two that sign at once give one number to two batches, which goes on record against the key.

    Raises:
        LaneBusyError: Another process does so now.
        OSError: The file cannot be opened.
    """
    with key_file.open("rb") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LaneBusyError(
                    f"another process submits with {key_file} now; wait until it is done, or give"
                    " each a key of its own"
                ) from error
        yield
