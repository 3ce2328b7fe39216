"""Who is told of nonconforming parts by webhook: messages that wait on disk, and never hold up."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lotmark_adapters.errors import WebhookOutboxUnusable
from lotmark_adapters.webhooks.message import Message
from lotmark_adapters.webhooks.outbox import WebhookOutbox
from lotmark_adapters.webhooks.settings import read_targets
from lotmark_adapters.webhooks.teller import Teller

logger = logging.getLogger(__name__)

TELLING_S = 5.0  # for the alert that is being sent when the station stops


@contextmanager
def alerting(webhooks: Path | None) -> Iterator[Callable[[Message], None]]:
    """Give what tells people of a message; it never holds up or ends an inspection.

    Args:
        webhooks: Their settings; None: nobody is told.

    Raises:
        AdapterError: The settings or the outbox cannot be used when it begins.
    """
    if webhooks is None:
        yield lambda _message: None
        return
    targets = read_targets(webhooks)
    outbox = WebhookOutbox(webhooks.with_suffix(".sqlite"))
    teller = Teller(outbox, targets)

    def alert(message: Message) -> None:
        try:
            teller.tell(message)
        except WebhookOutboxUnusable as error:
            logger.error("nobody is told", extra={"title": message.title, "why": str(error)})

    try:
        yield alert
    finally:
        teller.close(timeout_s=TELLING_S)
        outbox.close()
