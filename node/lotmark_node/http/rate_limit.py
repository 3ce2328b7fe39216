"""Token buckets: how often somebody may do something, with short bursts."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

BUCKETS_MAX = 1_024  # the one not used for longest is forgotten, and so full again
BURST_S = 10.0  # a bucket holds what is allowed in so long


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_s: float


class TokenBuckets:
    """A bucket for each name; any thread may take from it."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str, per_minute: int) -> float:
        """Take a token; return 0.0, or where there is none after how many seconds there is one."""
        per_s = per_minute / 60
        size = max(1.0, per_s * BURST_S)
        with self._lock:
            now_s = self._clock_s()
            bucket = self._buckets.pop(name, None) or _Bucket(size, now_s)
            self._buckets[name] = bucket
            if len(self._buckets) > BUCKETS_MAX:
                self._buckets.popitem(last=False)
            bucket.tokens = min(size, bucket.tokens + (now_s - bucket.filled_s) * per_s)
            bucket.filled_s = now_s
            if bucket.tokens < 1:
                return (1 - bucket.tokens) / per_s
            bucket.tokens -= 1
            return 0.0
