"""Answers in pages: off the event loop, closed whatever happens, and never too many at once."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import pytest

from lotmark_node.engine.errors import AnswerOverdue, TooManyAnswers
from lotmark_node.rpc import paged_answers
from lotmark_node.rpc.call_admission import Context
from lotmark_node.rpc.paged_answers import ANSWERS_MAX, WIDE_ANSWERS_MAX, PagedAnswers
from tests.node.engine.running_engine import DEADLINE_S, run, until


class CallUntil:
    """As much of gRPC's context as tells when a call ends."""

    def __init__(self, left_s: float | None = DEADLINE_S) -> None:
        self._left_s = left_s

    def time_remaining(self) -> float | None:
        return self._left_s


class Pages:
    """Pages that a test may hold back, and that know whether they were closed."""

    def __init__(self, count: int, *, held_from: int | None = None) -> None:
        self._count = count
        self._held_from = held_from
        self.go_on = threading.Event()
        self.begun = threading.Event()
        self.was_closed = False

    def __call__(self) -> Generator[int, None, None]:
        try:
            for page in range(self._count):
                if self._held_from is not None and page >= self._held_from:
                    self.begun.set()
                    assert self.go_on.wait(DEADLINE_S)
                yield page
        finally:
            self.was_closed = True


@asynccontextmanager
async def answers() -> AsyncIterator[PagedAnswers]:
    made = PagedAnswers()
    try:
        yield made
    finally:
        made.close()


def stream(
    made: PagedAnswers, pages: Callable[[], Generator[int, None, None]], left_s: float | None = None
) -> AsyncGenerator[int, None]:
    context = cast("Context", CallUntil(left_s))
    return cast("AsyncGenerator[int, None]", made.stream(context, pages))


async def read(given: AsyncIterator[int]) -> list[int]:
    return [page async for page in given]


@pytest.fixture
def held() -> Iterator[Pages]:
    pages = Pages(3, held_from=1)
    yield pages
    pages.go_on.set()


def test_pages_come_in_order_and_are_closed_at_the_end() -> None:
    async def scenario() -> None:
        async with answers() as made:
            pages = Pages(5)
            assert await read(stream(made, pages)) == [0, 1, 2, 3, 4]
            assert (pages.was_closed, made.answer_count, made.wide_count) == (True, 0, 0)
            assert await read(stream(made, Pages(0))) == []

    run(scenario())


def test_the_event_loop_goes_on_while_a_page_is_worked_out(held: Pages) -> None:
    async def scenario() -> None:
        async with answers() as made:
            reading = asyncio.create_task(read(stream(made, held)))
            await until(held.begun.is_set)
            assert await read(stream(made, Pages(2))) == [0, 1], "another answer comes meanwhile"
            held.go_on.set()
            assert await reading == [0, 1, 2]

    run(scenario())


def test_who_goes_away_ends_the_work_and_frees_its_room(held: Pages) -> None:
    async def scenario() -> None:
        async with answers() as made:
            reading = asyncio.create_task(read(stream(made, held)))
            await until(held.begun.is_set)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert (made.answer_count, made.wide_count) == (0, 0)
            assert not held.was_closed, "its page is still being worked out"
            held.go_on.set()
            await until(lambda: held.was_closed)

            between_pages = Pages(3)
            async with aclosing(stream(made, between_pages)) as given:
                async for _ in given:
                    break
            await until(lambda: between_pages.was_closed)
            assert made.answer_count == 0

    run(scenario())


def test_an_answer_is_overdue_at_the_deadline_of_its_call(held: Pages) -> None:
    async def scenario() -> None:
        async with answers() as made:
            given = stream(made, held, 0.05)
            assert await anext(given) == 0
            with pytest.raises(AnswerOverdue, match="ask for less"):
                await anext(given)
            assert made.answer_count == 0
            held.go_on.set()
            await until(lambda: held.was_closed)

    run(scenario())


def test_a_call_without_a_deadline_has_the_longest(
    held: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paged_answers, "ANSWER_S_MAX", 0.05)

    async def scenario() -> None:
        async with answers() as made:
            with pytest.raises(AnswerOverdue):
                await read(stream(made, held, None))
            with pytest.raises(AnswerOverdue):
                await read(stream(made, held, 1e9))
            held.go_on.set()

    run(scenario())


def test_only_so_many_long_answers_go_on_at_once_and_short_ones_beside_them() -> None:
    async def scenario() -> None:
        async with answers() as made:
            long = [stream(made, Pages(9)) for _ in range(WIDE_ANSWERS_MAX)]
            for each in long:
                assert [await anext(each), await anext(each)] == [0, 1]
            with pytest.raises(TooManyAnswers, match="ask again when they are done"):
                await read(stream(made, Pages(2)))
            assert await read(stream(made, Pages(1))) == [0]
            await long[0].aclose()
            assert await read(stream(made, Pages(2))) == [0, 1]
            for each in long:
                await each.aclose()
            assert (made.answer_count, made.wide_count) == (0, 0)

    run(scenario())


def test_only_so_many_answers_are_begun_at_once() -> None:
    async def scenario() -> None:
        async with answers() as made:
            begun = [stream(made, Pages(1)) for _ in range(ANSWERS_MAX)]
            for each in begun:
                await anext(each)
            with pytest.raises(TooManyAnswers, match="ask again later"):
                await read(stream(made, Pages(1)))
            for each in begun:
                await each.aclose()
            assert await read(stream(made, Pages(1))) == [0]

    run(scenario())


def test_what_goes_wrong_on_a_page_is_told_to_whoever_reads_it() -> None:
    def broken() -> Generator[int, None, None]:
        yield 0
        raise ValueError("the row is no row")

    async def scenario() -> None:
        async with answers() as made:
            given: Any = stream(made, broken)
            assert await anext(given) == 0
            with pytest.raises(ValueError, match="no row"):
                await anext(given)
            assert made.answer_count == 0

    run(scenario())
