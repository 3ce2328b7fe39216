"""Tells a message to all webhooks of a settings file, for programs that run now and then."""

from contextlib import closing
from pathlib import Path

from lotmark_adapters.webhooks.message import Message
from lotmark_adapters.webhooks.outbox import WebhookOutbox
from lotmark_adapters.webhooks.sender import SendingRound, WebhookSender
from lotmark_adapters.webhooks.settings import read_targets


def told(message: Message, settings: Path, *, now_ms: int) -> SendingRound:
    """Put a message into the outbox beside the webhooks' settings, and send what is due.

    What a webhook does not take waits there for the next call; a message that was told before is
    not told again.

    Args:
        message: The message.
        settings: The webhooks' TOML file; the outbox has its name, ending in ".sqlite".
        now_ms: Unix time.

    Raises:
        WebhookRefused: The settings cannot be used.
        WebhookOutboxUnusable: The outbox cannot be; the message may not be in it.
        OSError: The settings cannot be read.
    """
    targets = read_targets(settings)
    with (
        closing(WebhookOutbox(settings.with_suffix(".sqlite"))) as outbox,
        WebhookSender(outbox, targets) as sender,
    ):
        outbox.put(message, [target.name for target in targets], now_ms=now_ms)
        return sender.send_due()
