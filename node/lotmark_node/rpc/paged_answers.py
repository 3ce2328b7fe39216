"""Streamed answers that are worked out page by page on threads, within bounds of time and number.

The event loop only passes pages on. Between two pages it is seen whether the caller still waits.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

from lotmark_node.engine.errors import AnswerOverdue, TooManyAnswers
from lotmark_node.rpc.call_admission import Context

THREADS = 2
ANSWERS_MAX = 64  # at once
WIDE_ANSWERS_MAX = 4  # at once, of those that have more than one page
ANSWER_S_MAX = 120.0  # for a caller who names no deadline, or a later one

Page = TypeVar("Page")


class PagedAnswers:
    """Works out answers; on the event loop's thread.

    Attributes:
        answer_count: Answers that are under way.
        wide_count: Those among them that have more than one page.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="answers")
        self.answer_count = 0
        self.wide_count = 0

    def close(self) -> None:
        """Work out nothing more; a page that is being worked out is waited for."""
        self._threads.shutdown(cancel_futures=True)

    async def stream(
        self, context: Context, make_pages: Callable[[], Generator[Page, None, None]]
    ) -> AsyncIterator[Page]:
        """Return pages as they are worked out.

        Args:
            context: Of the call, whose deadline counts.
            make_pages: Returns what does some milliseconds' work for each page, on a thread; it is
                closed at the end, whatever that is.

        Raises:
            TooManyAnswers: So many are under way that this one has no room.
            AnswerOverdue: It took too long.
        """
        if self.answer_count >= ANSWERS_MAX:
            raise TooManyAnswers(
                f"{ANSWERS_MAX} questions are being answered; ask again later, or another node"
            )
        self.answer_count += 1
        pages, is_wide = _Pages(make_pages()), False
        try:
            deadline_s = _deadline_s(context)
            while (page := await self._next(pages, deadline_s)) is not None:
                if pages.worked_out_count == 2:
                    self._widen()
                    is_wide = True
                yield page
        finally:
            self.answer_count -= 1
            self.wide_count -= is_wide
            with suppress(RuntimeError):  # the threads have ended meanwhile
                self._threads.submit(pages.close)

    def _widen(self) -> None:
        if self.wide_count >= WIDE_ANSWERS_MAX:
            raise TooManyAnswers(
                f"{WIDE_ANSWERS_MAX} long answers are under way; ask again when"
                " they are done, ask for less at once, or ask another node"
            )
        self.wide_count += 1

    async def _next(self, pages: "_Pages[Page]", deadline_s: float) -> Page | None:
        """Return the next page; None: there is none."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline_s):
                return await loop.run_in_executor(self._threads, pages.next)
        except TimeoutError as error:
            raise AnswerOverdue(
                "the answer is not whole by the deadline of the call, which is never later than"
                f" after {ANSWER_S_MAX:g} s; ask for less at once"
            ) from error


class _Pages(Generic[Page]):
    """Pages that are worked out on one thread at a time, whichever that is."""

    def __init__(self, pages: Generator[Page, None, None]) -> None:
        self._pages = pages
        self._turn = threading.Lock()  # who has given up a page may close while it is worked out
        self.worked_out_count = 0

    def next(self) -> Page | None:
        with self._turn:
            page = next(self._pages, None)
            self.worked_out_count += 1
            return page

    def close(self) -> None:
        with self._turn:
            self._pages.close()


def _deadline_s(context: Context) -> float:
    """Return when an answer must be whole, by the event loop's clock."""
    left_s: float | None = context.time_remaining()  # None: the stubs do not know of it
    wanted_s = ANSWER_S_MAX if left_s is None else min(left_s, ANSWER_S_MAX)
    return asyncio.get_running_loop().time() + wanted_s
