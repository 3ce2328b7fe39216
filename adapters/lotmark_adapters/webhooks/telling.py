"""Tells messages to webhooks, for programs that run now and then.

Each run tries once what is due. So there is no thread to wait for, and what a webhook does not
take waits in an outbox for the next run, whatever that has to tell itself.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lotmark_adapters.webhooks.message import Message
from lotmark_adapters.webhooks.outbox import WebhookOutbox
from lotmark_adapters.webhooks.sender import WebhookSender
from lotmark_adapters.webhooks.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What came of one run."""

    sent_count: int
    untold: tuple[str, ...]  # what failed, was given up, or waits for the next run


def ticket_outbox(settings: Path) -> Path:
    """Return the outbox of tickets beside the webhooks' settings.

    A file of its own: a station holds that of its alerts for as long as it runs.
    """
    return settings.with_suffix(".tickets.sqlite")


def told(
    message: Message | None, targets: Sequence[Target], outbox: Path, *, now_ms: int
) -> Telling:
    """Put a message into an outbox, and send what is due.

    Args:
        message: To be told, once: one that was told before is not told again. None: send only.
        targets: Who is told.
        outbox: Its file; made where there is none.
        now_ms: Unix time.

    Raises:
        WebhookOutboxUnusable: The outbox cannot be used; the message may not be in it.
    """
    names = [target.name for target in targets]
    with closing(WebhookOutbox(outbox)) as opened, WebhookSender(opened, targets) as sender:
        if message is not None:
            opened.put(message, names, now_ms=now_ms)
        made = sender.send_due()
        waiting_count = opened.waiting_count(names)
    waiting = [f"{waiting_count} wait for the next call"] if waiting_count else []
    return Telling(sent_count=made.sent_count, untold=(*made.failures, *made.given_up, *waiting))
