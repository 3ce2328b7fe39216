"""What comes later: one value for plain calls and for asyncio alike.

The client's work is done on threads of its own, which settle futures of `concurrent.futures`. A
plain caller waits for one with `result`, a coroutine with `await`. So there is one client and no
second, asynchronous copy of it, and it works without an event loop, too.
"""

from collections.abc import Callable, Generator
from concurrent.futures import Future
from threading import Lock
from typing import Any, Generic, TypeVar

from lotmark.client.errors import NotAcknowledgedYet
from lotmark.client.submission import EventResult

T = TypeVar("T")


class Pending(Generic[T]):
    """A value that comes later; any thread, and any event loop, may wait for it."""

    __slots__ = ("_future", "_why")

    def __init__(self, future: "Future[T] | None", why: Callable[[], str]) -> None:
        """Wrap a future.

        Args:
            future: The client settles it; None: it is made once somebody waits for it.
            why: Says what the value is waiting for, for whoever does not want to wait longer.
        """
        self._future = future
        self._why = why

    def done(self) -> bool:
        """Tell whether the value or an error is there."""
        return self._awaited().done()

    def result(self, timeout_s: float | None = None) -> T:
        """Return the value, waiting for it.

        Raises:
            NotAcknowledgedYet: It did not come within `timeout_s`.
            ClientError: It will not come; the message says why.
        """
        future = self._awaited()
        try:
            return future.result(timeout_s)
        except TimeoutError as error:
            if future.done():  # then it is the value's own error
                raise
            raise NotAcknowledgedYet(f"no answer within {timeout_s:g} s; {self._why()}") from error

    def __await__(self) -> Generator[Any, None, T]:
        # Most programs do without it, and it takes long to import.
        import asyncio

        # Shielded, as a cancelled task must not take the value from others that wait for it.
        return asyncio.shield(asyncio.wrap_future(self._awaited())).__await__()

    def _awaited(self) -> "Future[T]":
        assert self._future is not None, "only a delivery makes it late"
        return self._future


class Delivery(Pending[EventResult]):
    """An event in the outbox on its way to the ledger; its value is the acknowledgement.

    The value comes where the event is on the ledger: accepted, or `EVENT_DUPLICATE` where an equal
    one stood there before. In all other cases `SubmissionRefused` is raised.
    """

    # No future before somebody waits: it takes ten times the memory, and events may wait for days.
    __slots__ = ("_fetch_receipt", "_outcome", "event_id")

    def __init__(
        self,
        event_id: bytes,
        why: Callable[[], str],
        fetch_receipt: Callable[[EventResult], "Future[bytes]"],
    ) -> None:
        super().__init__(None, why)
        self.event_id = event_id
        self._fetch_receipt = fetch_receipt
        self._outcome: EventResult | Exception | None = None

    def done(self) -> bool:
        """Tell whether the acknowledgement or an error is there."""
        return self._outcome is not None

    def settle(self, outcome: EventResult | Exception) -> None:
        """Give the value, or say why it does not come: for the client; the first counts."""
        with _settling:
            if self._outcome is not None:
                return
            self._outcome = outcome
            future = self._future
        if future is not None:
            _set(future, outcome)

    def _awaited(self) -> "Future[EventResult]":
        with _settling:
            if self._future is not None:
                return self._future
            future: Future[EventResult] = Future()
            self._future = future
            outcome = self._outcome
        if outcome is not None:
            _set(future, outcome)
        return future

    def receipt(self) -> Pending[bytes]:
        """Return the event's receipt, verified; it comes once a checkpoint covers the event."""
        receipt: Future[bytes] = Future()

        def acknowledged(done: "Future[EventResult]") -> None:
            if (error := done.exception()) is not None:
                receipt.set_exception(error)
                return
            try:
                self._fetch_receipt(done.result()).add_done_callback(fetched)
            except BaseException as error:
                receipt.set_exception(error)

        def fetched(done: "Future[bytes]") -> None:
            if done.cancelled():
                receipt.cancel()
            elif (error := done.exception()) is not None:
                receipt.set_exception(error)
            else:
                receipt.set_result(done.result())

        self._awaited().add_done_callback(acknowledged)
        return Pending(receipt, self._why)


_settling = Lock()  # one for all deliveries: it is held for a few instructions


def _set(future: "Future[EventResult]", outcome: EventResult | Exception) -> None:
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
