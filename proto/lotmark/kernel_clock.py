"""What the kernel knows of this machine's clock: whether something disciplines it, and how well.

Linux only: `adjtimex(2)`, which asks and changes nothing. NTP and PTP daemons tell the kernel how
far off the clock may be; where none runs, the kernel says that it does not know.
"""

import ctypes
import sys
from dataclasses import dataclass

_TIME_ERROR = 5  # the state of a clock that is not synchronised
_STA_UNSYNC = 0x40


class _Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h>; only the first fields are read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("_rest", ctypes.c_byte * 256),  # more than any kernel writes
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelClock:
    """The state of the clock at one moment."""

    is_synchronised: bool
    error_max_us: int  # a bound, where it is synchronised; grows while nobody corrects it
    error_estimated_us: int  # what is typical


def read_kernel_clock() -> KernelClock | None:
    """Return what the kernel says; None where it cannot be asked."""
    if sys.platform != "linux":
        return None
    asked = _Timex(modes=0)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked))
    except (OSError, AttributeError):
        return None
    if state < 0:  # a sandbox forbids the call
        return None
    return KernelClock(
        is_synchronised=state != _TIME_ERROR and not asked.status & _STA_UNSYNC,
        error_max_us=asked.maxerror,
        error_estimated_us=asked.esterror,
    )
