"""A site's way to the ledger: the client's outbox, and an eye on what the ledger refuses."""

import logging
from collections import Counter, deque
from collections.abc import Sequence

from lotmark.client.client import Client
from lotmark.client.delivery import Delivery
from lotmark.client.errors import ClientError, SubmissionRefused

LOGGED_MAX = 10  # refusals of one look

logger = logging.getLogger(__name__)


class SiteOutbox:
    """The client's outbox, as the pipeline wants it.

    Attributes:
        refused_counts: Events of this run that the ledger refused, by outcome.
    """

    def __init__(self, client: Client) -> None:
        self.refused_counts: Counter[str] = Counter()
        self._client = client
        self._sent: deque[Delivery] = deque()  # in order; no more than wait in the outbox, and done

    @property
    def waiting_count(self) -> int:
        """How many events no node has acknowledged yet."""
        return self._client.waiting_count

    def submit(self, events: Sequence[bytes]) -> None:
        """Put events into the outbox; they are on disk when this returns.

        Raises:
            OutboxFull, OutboxUnusable: They were not taken, or not all.
        """
        self._sent.extend(self._client.submit_all(events, room_s=0.0))

    def look(self) -> None:
        """Tell what was refused since the last look; on one thread, which may be another."""
        logged_count = 0
        while self._sent and self._sent[0].done():
            delivery = self._sent.popleft()
            try:
                delivery.result(0)
            except SubmissionRefused as error:
                self.refused_counts[error.outcome.name] += 1
                if logged_count < LOGGED_MAX:
                    logger.error(
                        "the ledger refused an event",
                        extra={"event_id": delivery.event_id.hex(), "reason": str(error)},
                    )
                logged_count += 1
            except ClientError:
                pass  # it waits in the outbox for the next client
