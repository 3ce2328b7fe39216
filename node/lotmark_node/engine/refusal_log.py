"""Logs what is refused, within a bound: whoever is refused a thousand times a second fills no disk.

Metrics count every refusal. A line says who and why, in the words that the caller gets too; no
content of a call and no key that is secret is in them.
"""

import logging
import time
from collections.abc import Callable

LINES_PER_MINUTE_MAX = 20
TEXT_SIZE_MAX = 300

_MINUTE_S = 60.0


class RefusalLog:
    """Refusals of one kind; for one thread.

    Args:
        logger: Whose lines they are.
        event: The fixed phrase of each.
        now_s: A clock that only goes forward.
    """

    def __init__(
        self, logger: logging.Logger, event: str, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._event = event
        self._now_s = now_s
        self._minute_from_s = now_s()
        self._line_count = self._left_out_count = 0

    def add(self, **fields: str) -> None:
        """Log a refusal, or count it to those that the next line tells of."""
        now_s = self._now_s()
        if now_s - self._minute_from_s >= _MINUTE_S:
            self._minute_from_s, self._line_count = now_s, 0
        if self._line_count >= LINES_PER_MINUTE_MAX:
            self._left_out_count += 1
            return
        self._line_count += 1
        told: dict[str, object] = {name: text[:TEXT_SIZE_MAX] for name, text in fields.items()}
        if self._left_out_count:
            told["left_out_before"] = self._left_out_count
            self._left_out_count = 0
        self._logger.warning(self._event, extra=told)
