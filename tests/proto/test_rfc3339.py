"""Times as people write them, to Unix milliseconds and back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.errors import MalformedError
from lotmark.rfc3339 import TEXT_MAX_MS, enclosing_ms, parse_ms, text_of_ms


@given(st.integers(0, TEXT_MAX_MS - 1))
def test_a_time_reads_back_as_the_milliseconds_it_was_made_of(time_ms: int) -> None:
    assert parse_ms(text_of_ms(time_ms)) == time_ms


@given(
    st.datetimes(min_value=datetime(1970, 1, 2)),  # noqa: DTZ001  # the offset is drawn apart
    st.integers(-1439, 1439),
)
def test_any_offset_gives_the_milliseconds_that_python_gives(
    moment: datetime, offset_minutes: int
) -> None:
    moment = moment.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    microseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    assert enclosing_ms(moment.isoformat()) == (microseconds // 1000, -(-microseconds // 1000))


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("1970-01-01T00:00:00Z", (0, 0)),
        ("2005-04-03T20:33:31.116000-06:00", (1_112_582_011_116, 1_112_582_011_116)),
        ("1970-01-01t00:00:01.0000000001z", (1_000, 1_001)),
        ("2024-02-29T23:59:59.9999+00:30", (1_709_249_399_999, 1_709_249_400_000)),
    ],
)
def test_a_time_is_enclosed_by_the_milliseconds_around_it(
    text: str, bounds: tuple[int, int]
) -> None:
    assert enclosing_ms(text) == bounds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-01-12", "'2026-01-12' is not a time such as"),
        ("2026-01-12T08:00:00", "is not a time such as"),
        ("2026-01-12T08:00:00+1:00", "is not a time such as"),
        ("2026-01-12T08:00:00.Z", "is not a time such as"),
        ("٢٠٢٦-01-12T08:00:00Z", "is not a time such as"),
        ("2026-02-29T08:00:00Z", "is no time: day"),
        ("2026-01-12T24:00:00Z", "is no time: hour"),
        ("2026-06-30T23:59:60Z", "is no time: second"),
        ("2026-01-12T08:00:00+01:60", "its offset is beyond"),
        ("2026-01-12T08:00:00-24:00", "its offset is beyond"),
        ("1969-12-31T23:59:59Z", "lies before 1970"),
        ("2026-01-12T08:00:00.0001Z", "is finer than a millisecond"),
    ],
)
def test_what_is_no_exact_time_is_refused(text: str, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        parse_ms(text)
