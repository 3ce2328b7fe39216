"""How good this machine's clock is, for the header of every batch.

The kernel knows by adjtimex(2): whether something disciplines the clock, and the largest error it
can have by now. A clock that was set, rather than slewed, shows as a jump between the time of day
and the time since the machine was started. Where the kernel cannot be asked (macOS, Windows, a
sandbox), the state is UNKNOWN, which is no worse a word than the truth.
"""

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lotmark.batch import ClockState

UNCERTAINTY_MAX_US = 10_000  # of a clock that counts as synchronised
CACHE_S = 1.0  # how long the kernel's answer is used
STEP_MIN_US = 2_000  # a smaller jump may be chance between two readings
STEP_REMEMBERED_S = 60.0  # how long a step degrades the clock
DRIFT_MAX_PPM = 500  # by which an undisciplined clock goes wrong at most, as the kernel reckons

_HEADER_MAX_US = 2**32 - 1
_TIME_ERROR = 5  # what adjtimex returns for a clock that is not synchronised
_STA_UNSYNC = 0x40
_TIMEX_SIZE = 208


@dataclass(frozen=True, slots=True)
class KernelClock:
    """What the kernel says of its clock."""

    is_synchronised: bool
    error_max_us: int


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A time, and how far to trust it."""

    time_ms: int  # Unix time
    state: ClockState
    uncertainty_us: int  # 0 where the state is UNKNOWN


class _Timex(ctypes.Structure):
    """The beginning of Linux' struct timex, and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * _TIMEX_SIZE),
    )


def kernel_clock() -> KernelClock | None:
    """Return what the kernel says of its clock; None where it cannot be asked."""
    if sys.platform != "linux":
        return None
    timex = _Timex()  # modes 0: it only asks
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    is_synchronised = state != _TIME_ERROR and not timex.status & _STA_UNSYNC
    return KernelClock(is_synchronised, max(0, timex.maxerror))


def realtime_ns() -> int:
    """Return the time of day."""
    return time.time_ns()


def running_ns() -> int:
    """Return the time since the machine was started, with the time it slept where that is known."""
    if sys.platform == "linux":
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return time.monotonic_ns()


class Clock:
    """This machine's clock; any thread may read it."""

    def __init__(
        self,
        *,
        ask_kernel: Callable[[], KernelClock | None] = kernel_clock,
        realtime_ns: Callable[[], int] = realtime_ns,
        running_ns: Callable[[], int] = running_ns,
    ) -> None:
        """Begin to watch it for steps."""
        self._ask_kernel = ask_kernel
        self._realtime_ns = realtime_ns
        self._running_ns = running_ns
        self._lock = threading.Lock()
        self._asked_ns: int | None = None  # on the running clock
        self._kernel: KernelClock | None = None
        self._difference_ns: int | None = None  # between the two clocks, when read last
        self._step_us = 0  # the largest that is remembered
        self._stepped_ns = 0

    def read(self) -> ClockReading:
        """Return the time, and how far to trust it."""
        with self._lock:
            now_ns, running_ns = self._both()
            self._watch(now_ns, running_ns)
            if self._asked_ns is None or running_ns - self._asked_ns >= CACHE_S * 1e9:
                self._kernel, self._asked_ns = self._ask_kernel(), running_ns
            return self._judged(now_ns, (running_ns - self._asked_ns) // 1_000)

    def _judged(self, now_ns: int, age_us: int) -> ClockReading:
        now_ms = now_ns // 1_000_000
        kernel, step_us = self._kernel, self._step_us
        if kernel is None:
            state = ClockState.DEGRADED if step_us else ClockState.UNKNOWN
            return ClockReading(now_ms, state, min(step_us, _HEADER_MAX_US))
        # Since the kernel was asked, its bound has grown.
        error_us = kernel.error_max_us + -(-age_us * DRIFT_MAX_PPM // 1_000_000)
        uncertainty_us = min(max(error_us, step_us), _HEADER_MAX_US)
        is_good = kernel.is_synchronised and uncertainty_us <= UNCERTAINTY_MAX_US and not step_us
        state = ClockState.SYNCHRONISED if is_good else ClockState.DEGRADED
        return ClockReading(now_ms, state, uncertainty_us)

    def _both(self) -> tuple[int, int]:
        """Return both clocks' times as of one moment: the closest of three readings."""
        readings = []
        for _ in range(3):
            before_ns = self._running_ns()
            now_ns = self._realtime_ns()
            after_ns = self._running_ns()
            readings.append((after_ns - before_ns, now_ns, (before_ns + after_ns) // 2))
        _, now_ns, running_ns = min(readings)
        return now_ns, running_ns

    def _watch(self, now_ns: int, running_ns: int) -> None:
        """Notice a step since the last reading, and forget one that is long ago."""
        difference_ns = now_ns - running_ns
        if running_ns - self._stepped_ns > STEP_REMEMBERED_S * 1e9:
            self._step_us = 0
        if self._difference_ns is not None:
            step_us = abs(difference_ns - self._difference_ns) // 1_000
            if step_us >= STEP_MIN_US:
                self._step_us = max(self._step_us, step_us)
                self._stepped_ns = running_ns
        self._difference_ns = difference_ns
