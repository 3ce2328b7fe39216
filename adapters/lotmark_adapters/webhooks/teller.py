"""Tells messages to webhooks while its program does other things: a thread beside it sends."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from lotmark_adapters.errors import WebhookOutboxUnusable
from lotmark_adapters.webhooks.message import Message
from lotmark_adapters.webhooks.outbox import WebhookOutbox
from lotmark_adapters.webhooks.sender import WebhookSender
from lotmark_adapters.webhooks.targets import Target

logger = logging.getLogger(__name__)

WAIT_MAX_S = 60.0  # between two looks at the outbox
WAIT_MIN_S = 0.05
UNUSABLE_WAIT_S = 30.0  # after the outbox could not be read or written


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Teller:
    """Keeps messages and sends them in a thread of its own; any thread may call it."""

    def __init__(
        self,
        outbox: WebhookOutbox,
        targets: Sequence[Target],
        *,
        now_ms: Callable[[], int] = _unix_ms,
    ) -> None:
        """Begin to send what waits.

        Args:
            outbox: Open; its owner closes it after this.
            targets: Who is told of every message.
            now_ms: Unix time.
        """
        self._outbox = outbox
        self._targets = tuple(targets)
        self._now_ms = now_ms
        self._wake = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._thread.start()

    def tell(self, message: Message) -> None:
        """Keep a message for all targets, on disk when this returns; sending does not delay it.

        Raises:
            WebhookOutboxUnusable: The outbox is full, or cannot be written; nobody will be told.
        """
        names = [target.name for target in self._targets]
        self._outbox.put(message, names, now_ms=self._now_ms())
        self._wake.set()

    def close(self, *, timeout_s: float) -> None:
        """Stop sending; what waits is sent by whoever opens the outbox next.

        Args:
            timeout_s: For the message that is being sent now.
        """
        self._is_stopping = True
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        with WebhookSender(self._outbox, self._targets, now_ms=self._now_ms) as sender:
            while not self._is_stopping:
                self._wake.clear()
                self._wake.wait(self._sent(sender))

    def _sent(self, sender: WebhookSender) -> float:
        """Send what is due, and return how long to wait for more."""
        try:
            next_due_ms = sender.send_due().next_due_ms
        except WebhookOutboxUnusable as error:
            logger.error("webhook outbox unusable", extra={"why": str(error)})
            return UNUSABLE_WAIT_S
        if next_due_ms is None:
            return WAIT_MAX_S
        return min(max((next_due_ms - self._now_ms()) / 1_000, WAIT_MIN_S), WAIT_MAX_S)
