"""Sends what waits in the outbox, as fast as each webhook takes it, off the way of everything else.

A target that fails holds up no other target: its messages are tried again later, those first that
were tried least, so that one that it never takes does not keep the others. Nothing here sleeps:
whoever calls asks again when the next message is due.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

from lotmark_adapters.webhooks.outbox import Waiting, WebhookOutbox
from lotmark_adapters.webhooks.targets import Target

logger = logging.getLogger(__name__)

ANSWER_S = 10.0  # for connecting, and again for each part of an answer
ANSWER_ALL_S = 30.0  # for all of its parts
ANSWER_SIZE_MAX = 65_536  # bytes of an answer that are read
ROUND_COUNT_MAX = 100  # messages a target and round

_SECOND_MS = 1_000
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingRound:
    """What came of one round over all targets."""

    sent_count: int
    failures: tuple[str, ...]  # of targets that will be tried again, with the reason
    given_up: tuple[str, ...]  # of messages that were tried too often
    next_due_ms: int | None  # Unix time at which another round may send something; None: none waits


class WebhookSender:
    """Sends an outbox's messages to targets; for one thread."""

    def __init__(
        self,
        outbox: WebhookOutbox,
        targets: Sequence[Target],
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            outbox: What waits.
            targets: Each under its own name. Messages for others stay where they are.
            now_ms: Unix time.
        """
        self._outbox = outbox
        self._targets = tuple(targets)
        self._now_ms = now_ms
        self._sent_ms = {target.name: deque[int]() for target in targets}
        # A redirect could lead the secret's holder anywhere, so none is followed.
        self._client = httpx.Client(timeout=ANSWER_S, follow_redirects=False, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def send_due(self) -> SendingRound:
        """Send what is due now, and say what came of it.

        Raises:
            WebhookOutboxUnusable: The outbox cannot be read or written.
        """
        sent_count = 0
        failures: list[str] = []
        given_up: list[str] = []
        limited_ms: list[int] = []
        for target in self._targets:
            due = self._outbox.due(target.name, now_ms=self._now_ms(), count_max=ROUND_COUNT_MAX)
            for waiting in due:
                wait_ms = self._wait_ms(target)
                if wait_ms:
                    limited_ms.append(self._now_ms() + wait_ms)
                    break
                failure = self._post(target, waiting)
                if not failure:
                    self._outbox.settle(waiting)
                    sent_count += 1
                    continue
                if self._outbox.put_off(waiting, detail=failure, now_ms=self._now_ms()):
                    failures.append(f"{target.name}: {failure}")
                    logger.warning(
                        "webhook did not take message",
                        extra={"target": target.name, "tries": waiting.tries + 1, "why": failure},
                    )
                else:
                    given_up.append(f"{target.name}: {waiting.message.title}: {failure}")
                    logger.error(
                        "message given up",
                        extra={"target": target.name, "key": waiting.message.key, "why": failure},
                    )
                break  # what is behind it was put off, too
        return SendingRound(
            sent_count=sent_count,
            failures=tuple(failures),
            given_up=tuple(given_up),
            next_due_ms=self._next_due_ms(limited_ms),
        )

    def _next_due_ms(self, limited_ms: Sequence[int]) -> int | None:
        next_due_ms = self._outbox.next_due_ms()
        if next_due_ms is None or not limited_ms:
            return next_due_ms
        return max(next_due_ms, min(limited_ms))

    def _wait_ms(self, target: Target) -> int:
        """Return how long the target's rate limit asks to wait; 0: not at all."""
        limit, sent_ms, now_ms = (
            target.dialect.rate_limit,
            self._sent_ms[target.name],
            self._now_ms(),
        )
        while sent_ms and sent_ms[0] <= now_ms - _MINUTE_MS:
            sent_ms.popleft()
        return max(
            _over(sent_ms, limit.per_second, now_ms - _SECOND_MS),
            _over(sent_ms, limit.per_minute, now_ms - _MINUTE_MS),
        )

    def _post(self, target: Target, waiting: Waiting) -> str:
        """Return why a try failed; "" where the target has taken the message."""
        now_ms = self._now_ms()
        posting = target.dialect.posting(waiting.message, target.secret, now_s=now_ms // _SECOND_MS)
        self._sent_ms[target.name].append(now_ms)
        try:
            with self._client.stream(
                "POST", target.url, content=posting.body, headers=dict(posting.headers)
            ) as response:
                answer = _read_some(response, end_s=time.monotonic() + ANSWER_ALL_S)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"
        return target.dialect.failure(response.status_code, answer)


def _over(sent_ms: Sequence[int], count_max: int, since_ms: int) -> int:
    """Return how long until fewer than `count_max` were sent after `since_ms`."""
    if len(sent_ms) < count_max:
        return 0
    return max(0, sent_ms[-count_max] - since_ms)


def _read_some(response: httpx.Response, *, end_s: float) -> bytes:
    """Return an answer's beginning: no webhook has more to say."""
    answer = bytearray()
    for piece in response.iter_bytes():
        answer += piece
        if len(answer) >= ANSWER_SIZE_MAX or time.monotonic() > end_s:
            break
    return bytes(answer[:ANSWER_SIZE_MAX])
