"""Whether this node is fit to take events, and to lead: what stands against either.

Nobody but this node knows that its disk is full or that its certificate has ended. As a leader it
would hold up all the others, so it hands over. Where the others are no better, leadership comes
back, and stays for a while: handing it round in a circle would help nobody.
"""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from lotmark.outcome import Outcome

logger = logging.getLogger(__name__)

HAND_OVER_AGAIN_S = 60.0  # by a node that leads again, in a later term


class Fitness:
    """Judges when it is told of a change, and whenever it is to look; on the event loop's thread.

    Attributes:
        free_size_min: With less room on the disk, nothing is taken.
    """

    def __init__(
        self,
        folder: Path,
        *,
        free_size_min: int,
        now_ms: Callable[[], int],
        certificate_not_after_ms: Callable[[], int] | None,
        leading_term: Callable[[], int | None],
        hand_over: Callable[[], None],
        on_closed: Callable[[Outcome | None], None],
    ) -> None:
        """Make it, with nothing against this node yet.

        Args:
            folder: On the disk that is watched.
            free_size_min: As above.
            now_ms: The clock, Unix time in ms.
            certificate_not_after_ms: Returns when this node's TLS certificate ends; None: never.
            leading_term: Returns the term that this node leads in; None: it does not.
            hand_over: Asks another voter to lead; it may have no effect.
            on_closed: Told after each judgement why no events are to be taken; None: they are.
        """
        self._folder = folder
        self.free_size_min = free_size_min
        self._now_ms = now_ms
        self._certificate_not_after_ms = certificate_not_after_ms
        self._leading_term = leading_term
        self._hand_over = hand_over
        self._on_closed = on_closed
        self._is_journal_full = self._is_space_short = self._is_orphaned = False
        self._handed_over_term: int | None = None
        self._handed_over_s = float("-inf")  # monotonic

    def set_journal_full(self, full: bool, /) -> None:
        """Take note of whether the order has room for a block."""
        self._is_journal_full = full
        self._judge()

    def set_orphaned(self, orphaned: bool, /) -> None:
        """Take note of whether there has been no leader for too long."""
        self._is_orphaned = orphaned
        self._judge()

    def look(self) -> None:
        """Look at the disk and at the clock, and hand over where this node should not lead."""
        self._is_space_short = shutil.disk_usage(self._folder).free < self.free_size_min
        self._judge()
        term = self._leading_term()
        if term is None or (reason := self._against_leading()) is None:
            return
        now_s = time.monotonic()
        if term != self._handed_over_term:
            if now_s - self._handed_over_s < HAND_OVER_AGAIN_S:
                return
            logger.error("another node is to lead", extra={"term": term, "reason": reason})
        self._handed_over_term, self._handed_over_s = term, now_s
        self._hand_over()  # again and again in one term: a peer must first have the whole log

    def _judge(self) -> None:
        if self._is_journal_full or self._is_space_short:
            self._on_closed(Outcome.STORAGE_FULL)
        else:
            self._on_closed(Outcome.NO_LEADER if self._is_orphaned else None)

    def _against_leading(self) -> str | None:
        """Return why another node leads better; None: it does not.

        If the clock is wrong, a node whose certificate has ended by it takes everybody's for ended
        and refuses who calls the leader; if it is right, everybody refuses this node.
        """
        if self._is_space_short:
            return f"less than {self.free_size_min} bytes are free on the disk"
        if self._certificate_not_after_ms is None:
            return None
        end_ms, now_ms = self._certificate_not_after_ms(), self._now_ms()
        if now_ms <= end_ms:
            return None
        return f"by its clock, {now_ms} ms, the certificate of this node has ended, {end_ms} ms"
