"""Points in time of EPCIS events and queries, as whole picoseconds: nothing is rounded."""

import re
from datetime import UTC, datetime, timedelta

from lotmark.errors import MalformedError

MS = 1_000_000_000  # picoseconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,12}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-5][0-9]))"
)


def parse_instant(text: str) -> int:
    """Return a time with an offset, in picoseconds since 1970; before it, less than 0.

    Raises:
        MalformedError: It is none.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        blank = "; in a URL write + as %2B" if " " in text else ""
        raise MalformedError(
            f"{text[:40]!a} is not a time with an offset, such as 2026-01-12T08:00:00.123Z{blank}"
        )
    clock, fraction, sign, hours, minutes = match.groups()
    try:
        whole = datetime.fromisoformat(f"{clock.upper()}+00:00")
    except ValueError as error:
        raise MalformedError(f"{text[:40]!a} is no time: {error}") from error
    offset_s = int(f"{sign}{int(hours) * 3_600 + int(minutes) * 60}") if sign else 0
    seconds = (whole - _EPOCH) // _SECOND - offset_s
    return seconds * 1_000 * MS + int((fraction or "").ljust(12, "0"))


def instant_or_none(value: object) -> int | None:
    """Return the time that a member of an event states; None where it states none."""
    if not isinstance(value, str):
        return None
    try:
        return parse_instant(value)
    except MalformedError:
        return None
