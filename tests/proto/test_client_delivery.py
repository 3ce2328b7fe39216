"""A delivery gives its one value to everybody who waits, however late or early he comes."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

import pytest

from lotmark.client.delivery import Delivery
from lotmark.client.errors import ClientClosed, NotAcknowledgedYet
from lotmark.client.submission import EventResult
from lotmark.outcome import Outcome

WAIT_S = 10.0
RESULT = EventResult(
    event_id=bytes(32), index=7, height=2, time_ms=3, outcome=Outcome.ACCEPTED, detail=""
)


def fetched(result: EventResult) -> "Future[bytes]":
    future: Future[bytes] = Future()
    future.set_result(b"receipt of %d" % (result.index or 0))
    return future


def delivery() -> Delivery:
    return Delivery(bytes(32), lambda: "the event waits for a node", fetched)


def awaited(pending: Delivery) -> EventResult:
    async def wait() -> EventResult:
        return await pending

    return asyncio.run(wait())


@pytest.mark.parametrize("wait", [lambda each: each.result(WAIT_S), awaited])
def test_a_value_that_is_there_is_given_at_once_and_every_time(
    wait: Callable[[Delivery], EventResult],
) -> None:
    pending = delivery()
    assert not pending.done()
    pending.settle(RESULT)

    assert pending.done()
    assert wait(pending) == wait(pending) == RESULT
    assert pending.receipt().result(WAIT_S) == b"receipt of 7"


@pytest.mark.parametrize("wait", [lambda each: each.result(WAIT_S), awaited])
def test_whoever_waits_already_gets_the_value_or_the_error_when_it_comes(
    wait: Callable[[Delivery], EventResult],
) -> None:
    for outcome in (RESULT, ClientClosed("closed")):
        pending = delivery()
        receipt = pending.receipt()
        timer = threading.Timer(0.02, pending.settle, [outcome])
        timer.start()
        if isinstance(outcome, EventResult):
            assert wait(pending) == outcome
            assert receipt.result(WAIT_S) == b"receipt of 7"
        else:
            for get in (lambda each=pending: wait(each), lambda each=receipt: each.result(WAIT_S)):
                with pytest.raises(ClientClosed, match="closed"):
                    get()
        timer.join()


def test_only_the_first_outcome_counts() -> None:
    pending = delivery()
    pending.settle(RESULT)
    pending.settle(ClientClosed("closed"))
    pending.settle(replace(RESULT, index=8))

    assert pending.result(WAIT_S) == RESULT


def test_whoever_does_not_want_to_wait_longer_is_told_what_it_waits_for() -> None:
    pending = delivery()
    with pytest.raises(NotAcknowledgedYet, match=r"within 0 s; the event waits for a node"):
        pending.result(0)
    with pytest.raises(TimeoutError):
        pending.receipt().result(0)
    pending.settle(RESULT)
    assert pending.result(0) == RESULT


def test_a_value_that_comes_while_many_begin_to_wait_reaches_all_of_them() -> None:
    for _ in range(200):
        pending = delivery()
        got: list[EventResult] = []
        start = threading.Barrier(4)

        def wait(pending: Delivery = pending, start: threading.Barrier = start) -> None:
            start.wait()
            got.append(pending.result(WAIT_S))  # noqa: B023  # joined before the next turn

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        start.wait()
        pending.settle(RESULT)
        for thread in threads:
            thread.join()
        assert got == [RESULT] * 3
