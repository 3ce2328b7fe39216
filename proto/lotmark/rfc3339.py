"""Times as people write them, RFC 3339, to and from Unix milliseconds; integer arithmetic only."""

import re
from datetime import UTC, datetime, timedelta

from lotmark.errors import MalformedError

TEXT_MAX_MS = 253_402_300_800_000  # year 10,000: from here on a time has no such text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,12}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_SHOWN_MAX = 40  # characters of a refused text that a message repeats


def enclosing_ms(text: str) -> tuple[int, int]:
    """Return the last millisecond not after the time, and the first not before it.

    Raises:
        MalformedError: It is no time with an offset, or lies before 1970.
    """
    floor, further_digits = _read(text)
    return floor, floor + (int(further_digits) > 0)


def nearest_ms(text: str) -> int:
    """Return the nearest millisecond of a time, the later one of two.

    Raises:
        MalformedError: It is no time with an offset, or lies before 1970.
    """
    floor, further_digits = _read(text)
    return floor + (further_digits[0] >= "5")


def _read(text: str) -> tuple[int, str]:
    """Return the last millisecond not after the time, and nine further digits of the second."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise MalformedError(
            f"{text[:_SHOWN_MAX]!a} is not a time such as 2026-01-12T08:00:00.123Z or"
            " 2026-01-12T09:00:00.123+01:00"
        )
    date, clock, fraction, sign, hours, minutes = match.groups()
    try:
        whole = datetime.fromisoformat(f"{date}T{clock}+00:00")
    except ValueError as error:
        raise MalformedError(f"{text!r} is no time: {error}") from error
    offset_minutes = 0
    if sign:
        offset_minutes = int(f"{sign}{int(hours) * 60 + int(minutes)}")
        if int(minutes) > 59 or int(hours) > 23:
            raise MalformedError(f"{text!r} is no time: its offset is beyond 23:59")
    digits = (fraction or "").ljust(12, "0")
    floor = (whole - _EPOCH) // _MILLISECOND - offset_minutes * 60_000 + int(digits[:3])
    if floor < 0:
        raise MalformedError(f"{text!r} lies before 1970")
    return floor, digits[3:]


def parse_ms(text: str) -> int:
    """Return the time in Unix milliseconds.

    Raises:
        MalformedError: It is no time with an offset, lies before 1970, or is finer than this.
    """
    floor, ceiling = enclosing_ms(text)
    if floor != ceiling:
        raise MalformedError(f"{text!r} is finer than a millisecond; write at most three digits")
    return floor


def text_of_ms(time_ms: int) -> str:
    """Return a time below `TEXT_MAX_MS` in UTC, always with three digits of a second."""
    assert 0 <= time_ms < TEXT_MAX_MS, time_ms
    moment = _EPOCH + time_ms * _MILLISECOND
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"
