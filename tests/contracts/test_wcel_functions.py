"""Money and calendar: against exact fractions and Python's own calendar."""

import calendar
import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark_contracts.wcel.currencies import EXPONENTS
from lotmark_contracts.wcel.errors import FailureCode
from lotmark_contracts.wcel.functions import FUNCTIONS, FunctionFailed, add_months, apportion
from tests.contracts.evaluating import evaluate, value_of

INT64 = st.integers(-(2**63), 2**63 - 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000


def rounded(value: Fraction) -> int:
    """Half away from zero, by the definition."""
    whole = math.floor(abs(value) + Fraction(1, 2))
    return whole if value >= 0 else -whole


def outcome(name: str, *arguments: object) -> object:
    try:
        return FUNCTIONS[name].evaluate(*arguments)
    except FunctionFailed as error:
        return error.code


@given(INT64, INT64, st.integers(1, 2**63 - 1))
def test_mul_div_is_exact_between_and_fits_or_fails(a: int, b: int, c: int) -> None:
    exact = Fraction(a) * b / c

    for name, expected in (("mulDiv", math.trunc(exact)), ("mulDivHalfUp", rounded(exact))):
        fits = -(2**63) <= expected < 2**63
        assert outcome(name, a, b, c) == (expected if fits else FailureCode.OVERFLOW)


@given(st.integers(-(10**14), 10**14), st.integers(-100_000, 100_000))
def test_basis_points_round_half_away_from_zero(amount: int, basis_points: int) -> None:
    assert outcome("bps", amount, basis_points) == rounded(Fraction(amount * basis_points, 10_000))


@given(st.integers(0, 2**62), st.lists(st.integers(0, 2**62), min_size=1, max_size=40))
def test_shares_sum_to_the_total_and_are_within_one_of_their_part(
    total: int, weights: list[int]
) -> None:
    if sum(weights) == 0:
        return
    shares = apportion(total, weights)

    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - Fraction(total * weight, sum(weights))) < 1


def test_of_equal_remainders_the_earlier_one_is_served() -> None:
    assert apportion(100, [1, 1, 1]) == [34, 33, 33]
    assert apportion(2, [1, 1, 1]) == [1, 1, 0]
    assert apportion(9_007_199_254_740_991, [6_700, 3_300]) == [
        6_034_823_500_676_464,
        2_972_375_754_064_527,
    ]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("apportion(1, [0, 0])", FailureCode.DIVISION_BY_ZERO),
        ("apportion(1, [])", FailureCode.DIVISION_BY_ZERO),
        ("apportion(-1, [1])", FailureCode.BAD_ARGUMENT),
        ("apportion(1, [-1, 2])", FailureCode.BAD_ARGUMENT),
        ("mulDiv(1, 1, 0)", FailureCode.DIVISION_BY_ZERO),
        ("mulDivHalfUp(1, 1, -2)", FailureCode.BAD_ARGUMENT),
        ("clamp(1, 3, 2)", FailureCode.BAD_ARGUMENT),
        ("sum([9223372036854775807, 1])", FailureCode.OVERFLOW),
        ("days(9223372036854775807)", FailureCode.OVERFLOW),
        ("addMonths(9223372036854775807, 1)", FailureCode.OVERFLOW),
        ("convert(1, 1, 0, 'EUR', 'USD')", FailureCode.DIVISION_BY_ZERO),
        ("convert(1, 1, 1, 'EUR', 'XXX')", FailureCode.UNKNOWN_CURRENCY),
        ("convert(1, 1, 1, 'eur', 'USD')", FailureCode.UNKNOWN_CURRENCY),
    ],
)
def test_an_argument_without_a_result_fails_with_its_code(source: str, code: FailureCode) -> None:
    failure = evaluate(source).failure

    assert failure is not None
    assert failure.code is code


def test_a_sum_needs_to_fit_in_the_end_only() -> None:
    assert value_of("sum([9223372036854775807, 1, -1])") == 2**63 - 1
    assert value_of("sum([])") == 0


@pytest.mark.parametrize(
    ("amount", "numerator", "denominator", "source", "target", "expected"),
    [
        (100_000, 781_234, 100_000, "EUR", "CNY", 781_234),
        (12_345, 165, 1, "EUR", "JPY", 20_369),  # 123.45 at 165 yen are 20,369.25
        (1, 1, 2, "JPY", "KWD", 500),
        (1_005, 1, 1, "KWD", "EUR", 101),  # 1.005 is 1.01: half away from zero
        (-1_005, 1, 1, "KWD", "EUR", -101),
        (1_004, 1, 1, "KWD", "EUR", 100),
    ],
)
def test_conversion_rounds_once_between_the_minor_units(
    amount: int, numerator: int, denominator: int, source: str, target: str, expected: int
) -> None:
    assert outcome("convert", amount, numerator, denominator, source, target) == expected


def test_exponents_are_those_of_iso_4217() -> None:
    assert [EXPONENTS[code] for code in ("EUR", "JPY", "KWD", "CNY")] == [2, 0, 3, 2]
    assert "XXX" not in EXPONENTS
    assert all(len(code) == 3 and code.isupper() for code in EXPONENTS)
    assert set(EXPONENTS.values()) == {0, 2, 3}


@given(
    st.datetimes(datetime(1800, 1, 1), datetime(2400, 1, 1)),  # noqa: DTZ001 - made aware below
    st.integers(-1_200, 1_200),
)
def test_months_are_those_of_the_calendar_clamped_to_the_months_end(
    start: datetime, months: int
) -> None:
    aware = start.replace(tzinfo=UTC, microsecond=start.microsecond // 1_000 * 1_000)
    year, month = divmod(aware.year * 12 + aware.month - 1 + months, 12)
    day = min(aware.day, calendar.monthrange(year, month + 1)[1])
    expected = aware.replace(year=year, month=month + 1, day=day)

    got = add_months((aware - EPOCH) // timedelta(milliseconds=1), months)

    assert got == (expected - EPOCH) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2025-01-31", 1, "2025-02-28"),
        ("2024-01-31", 1, "2024-02-29"),
        ("2024-02-29", 12, "2025-02-28"),
        ("2000-02-29", -1_200, "1900-02-28"),
        ("1969-12-31", 2, "1970-02-28"),
    ],
)
def test_ends_of_months(start: str, months: int, end: str) -> None:
    def ms(day: str) -> int:
        return (datetime.fromisoformat(day).replace(tzinfo=UTC) - EPOCH) // timedelta(
            milliseconds=1
        )

    assert add_months(ms(start) + 5, months) == ms(end) + 5


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("ascending([1, 2, 5])", True),
        ("ascending([1, 1])", False),
        ("ascending(['a', 'b'])", True),
        ("ascending(['b', 'a'])", False),
        ("ascending([])", True),
        ("longestRun([true, true, false, true])", 2),
        ("longestRun([false])", 0),
        ("longestRun([])", 0),
        ("clamp(7, 1, 3)", 3),
        ("min(3, -3) + max(3, -3)", 0),
        ("days(2) - hours(48)", 0),
        ("string(-9223372036854775808)", "-9223372036854775808"),
        ("'abc'.startsWith('ab') && 'abc'.endsWith('bc') && 'abc'.contains('b')", True),
        ("size('é😀') + size([1]) + 'ab'.size()", 5),
    ],
)
def test_what_the_other_functions_say(source: str, expected: object) -> None:
    assert value_of(source) == expected
