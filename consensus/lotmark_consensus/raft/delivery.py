"""A thread that hands committed blocks on, so that no voter's turn waits for who applies them."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from lotmark_consensus.ordering import Ordered

WAITING_MAX = 8  # blocks; as many again may lie with the callback


class Delivery:
    """Hands out records in order, one at a time, once somebody takes them.

    Args:
        on_room: Told on the thread when there is room again after there was none.
        on_failure: Told on the thread what a callback raised; nothing is handed out any more.
    """

    def __init__(
        self, on_room: Callable[[], None], on_failure: Callable[[BaseException], None]
    ) -> None:
        self._on_room = on_room
        self._on_failure = on_failure
        self._changed = threading.Condition()  # guards all that follows
        self._waiting: deque[Ordered] = deque()
        self._callbacks: tuple[Callable[[Ordered], None], ...] = ()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="raft-deliver", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def add(self, callback: Callable[[Ordered], None]) -> None:
        """Hand records to `callback` too, from now on."""
        with self._changed:
            self._callbacks = (*self._callbacks, callback)
            self._changed.notify()

    def room(self) -> int:
        """Return how many records may be put now."""
        with self._changed:
            return WAITING_MAX - len(self._waiting)

    def put(self, records: Sequence[Ordered]) -> None:
        """Hand out records, no more than there is room for."""
        with self._changed:
            self._waiting.extend(records)
            assert len(self._waiting) <= WAITING_MAX, len(self._waiting)
            self._changed.notify()

    def stop(self, wait_max_s: float) -> bool:
        """End after what was put, if anybody takes it; return whether it has ended."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(wait_max_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while taken := self._take():
                for record in taken:
                    for callback in self._callbacks:
                        callback(record)
        except BaseException as error:
            # Whatever it is: the block stays committed, and nothing may be applied behind it.
            self._on_failure(error)

    def _take(self) -> list[Ordered]:
        """Wait for records and take all of them; none where it was stopped and none is left."""
        with self._changed:
            self._changed.wait_for(lambda: (self._waiting and self._callbacks) or self._stopped)
            taken = list(self._waiting) if self._callbacks else []
            was_full = len(self._waiting) == WAITING_MAX
            self._waiting.clear()
        if was_full:
            self._on_room()
        return taken
