"""Where a node's processor time goes, by stage: for metrics and benches, never for decisions."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Processor time of each stage since the start, in nanoseconds; one writer a stage."""

    def __init__(self) -> None:
        self.used_ns: dict[str, int] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count this thread's processor time inside the block to a stage."""
        start_ns = time.thread_time_ns()
        try:
            yield
        finally:
            self.used_ns[name] = self.used_ns.get(name, 0) + time.thread_time_ns() - start_ns
