"""What the client raises beside the protocol's own errors; every message says what to do."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lotmark.errors import ProtocolError

if TYPE_CHECKING:
    from lotmark.client.submission import EventResult
    from lotmark.outcome import Outcome


class ClientError(ProtocolError):
    """The root of what a client raises by itself."""


class OutboxBusy(ClientError):
    """Another process has the outbox open."""


class OutboxUnusable(ClientError):
    """The outbox cannot be opened, read or written; what could not be stored was not taken."""


class OutboxFull(ClientError):
    """The outbox has reached a bound and found no room in time; the event was not taken."""


class ClientClosed(ClientError):
    """The client was closed; what the outbox holds is sent by the next one that opens it."""


class LaneStateError(ClientError):
    """The ledger shows a lane as it cannot be after what it acknowledged; nothing was signed."""


class NotAcknowledgedYet(ClientError, TimeoutError):
    """No answer in time; the event waits in the outbox, and sending goes on."""


class SubmissionRefused(ClientError):
    """The ledger refused an event or its batch.

    Attributes:
        result: What the ledger said; its `index` is set where the refusal is on record.
    """

    def __init__(self, result: "EventResult", told: str = "") -> None:
        super().__init__(f"{result.detail}{told}")
        self.result = result

    @property
    def outcome(self) -> "Outcome":
        """Why."""
        return self.result.outcome


def thread_failed(name: str, error: BaseException) -> Callable[[bytes], ClientClosed]:
    """Return what makes the error of each event that waits for a thread that has failed."""
    text = (
        f"the client's {name} failed, which is an error in it: {error!r}; what was taken is in the"
        " outbox: open it anew"
    )
    return lambda _event_id: ClientClosed(text)
