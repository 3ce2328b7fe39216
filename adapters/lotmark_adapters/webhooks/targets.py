"""Which webhooks there are, and what each of them is sent and answers.

Two kinds: "json" takes the message as JSON, with an HMAC over time and body in a header. "feishu"
is a custom bot of Feishu, which wants its signature in the body and says failure with HTTP 200.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

from lotmark_adapters.errors import WebhookRefused
from lotmark_adapters.webhooks.message import Message

SIGNATURE_HEADER = "X-Lotmark-Signature"  # "sha256=" and hex of HMAC(secret, time + "." + body)
TIMESTAMP_HEADER = "X-Lotmark-Timestamp"  # Unix time in seconds
KEY_HEADER = "X-Lotmark-Key"  # the same at each try

SECRET_SIZE_MIN = 8

_JSON = {"Content-Type": "application/json; charset=utf-8"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class TargetKind(StrEnum):
    """What a webhook understands."""

    JSON = "json"
    FEISHU = "feishu"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How much a webhook takes."""

    per_second: int
    per_minute: int


@dataclass(frozen=True, slots=True)
class Posting:
    """A message as it is sent at one time."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One webhook."""

    name: str
    kind: TargetKind
    url: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise WebhookRefused(
                f"webhook {self.name}: {self.url[:80]!a} is no https:// address; without TLS only"
                " this machine itself is told"
            )
        if len(self.secret) < SECRET_SIZE_MIN:
            raise WebhookRefused(
                f"webhook {self.name} has a secret of {len(self.secret)} characters; use"
                f" {SECRET_SIZE_MIN} at least"
            )

    @property
    def dialect(self) -> "Dialect":
        """How it wants to be told."""
        return _DIALECTS[self.kind]


class Dialect(Protocol):
    """What one kind of webhook wants and says."""

    rate_limit: RateLimit

    def posting(self, message: Message, secret: str, *, now_s: int) -> Posting:
        """Return what is sent now; signatures hold for a while only, so each try makes its own."""

    def failure(self, status: int, answer: bytes) -> str:
        """Return why an answer is no success; "" where it is one."""


class GenericJson:
    """The message as it is, signed by a header."""

    rate_limit = RateLimit(per_second=20, per_minute=600)

    def posting(self, message: Message, secret: str, *, now_s: int) -> Posting:
        """Return the message and its headers."""
        body = message.to_json()
        signed = hmac.digest(secret.encode(), b"%d." % now_s + body, "sha256")
        return Posting(
            body,
            {
                **_JSON,
                TIMESTAMP_HEADER: str(now_s),
                SIGNATURE_HEADER: f"sha256={signed.hex()}",
                KEY_HEADER: message.key,
            },
        )

    def failure(self, status: int, answer: bytes) -> str:
        """Any 2xx is success; what the receiver says besides is its own affair."""
        return "" if 200 <= status < 300 else f"HTTP {status}: {_shown(answer)}"


class FeishuBot:
    """A custom bot of Feishu. It takes 5 messages a second and 100 a minute.

    Everything is plain text in the card, since in Feishu's own markup a message could call people.
    """

    rate_limit = RateLimit(per_second=5, per_minute=100)

    def posting(self, message: Message, secret: str, *, now_s: int) -> Posting:
        """Return the card with its signature, which Feishu takes for an hour."""
        lines = [f"{name}: {value}" for name, value in message.fields.items()]
        if message.event_id:
            lines.append(f"event: {message.event_id.hex()}")
        document = {
            "timestamp": str(now_s),
            "sign": feishu_signature(secret, now_s=now_s),
            "msg_type": "interactive",
            "card": {
                "header": {"title": _plain(message.title)},
                "elements": [{"tag": "div", "text": _plain("\n".join(lines))}],
            },
        }
        return Posting(json.dumps(document).encode(), _JSON)

    def failure(self, status: int, answer: bytes) -> str:
        """Success is HTTP 200 with code 0; failures come with HTTP 200, too."""
        try:
            code = json.loads(answer).get("code")
        except (ValueError, AttributeError, RecursionError):
            code = None
        if status == 200 and code == 0 and not isinstance(code, bool):
            return ""
        return f"HTTP {status}, code {code if isinstance(code, int) else None}: {_shown(answer)}"


_DIALECTS: Mapping[TargetKind, Dialect] = {
    TargetKind.JSON: GenericJson(),
    TargetKind.FEISHU: FeishuBot(),
}


def feishu_signature(secret: str, *, now_s: int) -> str:
    """Return the signature of a custom bot: HMAC-SHA256 of nothing, under time and secret."""
    key = f"{now_s}\n{secret}".encode()
    return base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()


def _plain(text: str) -> dict[str, str]:
    return {"tag": "plain_text", "content": text}


def _shown(answer: bytes) -> str:
    return ascii(answer[:120].decode(errors="replace"))
