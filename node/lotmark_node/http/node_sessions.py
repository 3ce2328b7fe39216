"""Sessions with the node that several threads share, each for one of them at a time."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lotmark.client import LedgerSession
from lotmark_node.http.errors import Busy

SESSION_WAIT_S = 5.0  # for one that others work with


class NodeSessions:
    """A few sessions, opened when they are needed; any thread may borrow one."""

    def __init__(self, open_session: Callable[[], LedgerSession], count: int) -> None:
        self._open_session = open_session
        self._count = count
        self._sessions: queue.LifoQueue[LedgerSession | None] = queue.LifoQueue()
        for _ in range(count):
            self._sessions.put(None)

    @contextmanager
    def borrowed(self) -> Iterator[LedgerSession]:
        """Lend a session.

        Raises:
            Busy: All are lent, and none came back in time.
            ProtocolError, OSError: None can be opened.
        """
        try:
            session = self._sessions.get(timeout=SESSION_WAIT_S)
        except queue.Empty:
            raise Busy(
                f"{self._count} requests are worked on, and none was done within"
                f" {SESSION_WAIT_S:g} s; try again"
            ) from None
        try:
            if session is None:
                session = self._open_session()
            yield session
        except (ConnectionError, TimeoutError):
            if session is not None:
                session.close()
                session = None
            raise
        finally:
            self._sessions.put(session)

    def close(self) -> None:
        """Hang up, once those that are lent have come back, or after a while."""
        for _ in range(self._count):
            try:
                session = self._sessions.get(timeout=SESSION_WAIT_S)
            except queue.Empty:
                break
            if session is not None:
                session.close()
