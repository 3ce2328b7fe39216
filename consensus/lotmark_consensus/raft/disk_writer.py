"""A thread that makes writes durable, so that no voter's turn waits for a disk."""

import threading
import time
from collections.abc import Callable

from lotmark_consensus.latency import Latency
from lotmark_consensus.raft.log_store import LogStore, Writes


class DiskWriter:
    """Writes one `Writes` after the other; at most one is under way.

    Args:
        store: What it writes to.
        on_written: Told on the thread once writes are durable.
        on_failure: Told on the thread why it ended.

    Attributes:
        durable_writes: How long each write took until it was durable.
    """

    def __init__(
        self,
        store: LogStore,
        on_written: Callable[[Writes], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._store = store
        self._on_written = on_written
        self._on_failure = on_failure
        self.durable_writes = Latency()
        self._changed = threading.Condition()  # guards all that follows
        self._writes: Writes | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="raft-disk", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, writes: Writes) -> None:
        """Make writes durable; what was put before is."""
        with self._changed:
            assert self._writes is None, "writes are under way"
            self._writes = writes
            self._changed.notify()

    def stop(self, wait_max_s: float) -> bool:
        """End after what was put; return whether it has ended."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(wait_max_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._writes is not None or self._stopped)
                    writes = self._writes
                if writes is None:
                    return
                started_s = time.perf_counter()
                self._store.write(writes)
                self.durable_writes.add(time.perf_counter() - started_s)
                with self._changed:
                    self._writes = None
                self._on_written(writes)
        except BaseException as error:
            # Whatever it is: a thread that ended silently would leave the voter waiting for ever.
            self._on_failure(error)
