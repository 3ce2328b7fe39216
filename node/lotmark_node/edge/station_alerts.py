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
def alerting(webhooks: Path | None) -> "Iterator[Callable[[Callable[[], Message | None]], None]]":
    """Give what tells people of a message; it never holds up or ends an inspection.

    It is called with what makes the message, or None where there is nothing to tell, which is
    asked only where somebody is told.

    Args:
        webhooks: Their settings; None: nobody is told.

    Raises:
        AdapterError: The settings or the outbox cannot be used when it begins.
    """
    if webhooks is None:
        yield lambda _make: None
        return
    targets = read_targets(webhooks)
    outbox = WebhookOutbox(webhooks.with_suffix(".sqlite"))
    teller = Teller(outbox, targets)

    def alert(make: Callable[[], Message | None]) -> None:
        try:
            if (message := make()) is not None:
                teller.tell(message)
        except WebhookOutboxUnusable as error:
            logger.error("nobody is told", extra={"why": str(error)})
        except Exception:  # in this program; the part was alarmed, and the next one is to be judged
            logger.exception("nobody is told")

    try:
        yield alert
    finally:
        teller.close(timeout_s=TELLING_S)
        outbox.close()
