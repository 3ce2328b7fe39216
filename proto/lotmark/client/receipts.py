"""Receipts of acknowledged events, fetched one after the other beside the sending."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from lotmark.client.errors import ClientClosed
from lotmark.client.session import LedgerSession
from lotmark.client.submission import EventResult
from lotmark.outcome import Outcome


class Receipts:
    """Fetches receipts on a thread of its own, over a session of its own."""

    def __init__(self, open_session: Callable[[], LedgerSession]) -> None:
        """Prepare it; the first receipt opens the session."""
        self._open_session = open_session
        self._session: LedgerSession | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lotmark-receipts")

    def fetch(self, result: EventResult) -> "Future[bytes]":
        """Return the receipt of an event that is on the ledger, once a checkpoint covers it.

        Raises:
            ClientClosed: The client was closed.
        """
        try:
            return self._thread.submit(self._fetch, result)
        except RuntimeError as error:
            raise ClientClosed(
                "the client was closed; fetch the receipt with `lotmark receipt"
                f" {result.event_id.hex()}`"
            ) from error

    def close(self) -> None:
        """Fetch nothing more; what is being fetched is waited for."""
        self._thread.shutdown(cancel_futures=True)
        if self._session is not None:
            self._session.close()

    def _fetch(self, result: EventResult) -> bytes:
        try:
            return self._receipt(result)
        except (ConnectionError, TimeoutError):
            if self._session is not None:
                self._session.close()
                self._session = None
            return self._receipt(result)  # from whichever node answers now

    def _receipt(self, result: EventResult) -> bytes:
        if self._session is None:
            self._session = self._open_session()
        index = result.index
        assert index is not None, "only what is on the ledger is asked for"
        self._session.reach(index)
        if result.outcome is Outcome.EVENT_DUPLICATE:  # the first one counts
            index = self._session.entry(result.event_id).head.index
        return self._session.receipt(index)
