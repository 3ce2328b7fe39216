"""Days and times of certificates in Unix milliseconds; a certificate's days are taken in UTC."""

from datetime import UTC, date, datetime, timedelta

DAY_MS = 86_400_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def day_start_ms(day: date) -> int:
    """Return when a day begins; negative before 1970."""
    return (day - _EPOCH.date()).days * DAY_MS


def ms_of_datetime(moment: datetime) -> int:
    """Return the last millisecond not after a moment."""
    return (moment - _EPOCH) // _MILLISECOND


def datetime_of_ms(time_ms: int) -> datetime:
    """Return the moment of a time."""
    return _EPOCH + time_ms * _MILLISECOND


def moment_text(time_ms: int) -> str:
    """Return a time for a sentence, to the minute; one that no calendar holds by its number."""
    try:
        return f"{datetime_of_ms(time_ms):%Y-%m-%d %H:%M} UTC"
    except OverflowError:  # a machine's clock may tell anything
        return f"{time_ms} ms"
