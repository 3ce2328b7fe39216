"""The functions of the language beyond CEL's operators: money, sums, shares and the calendar."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from lotmark_contracts.wcel.currencies import EXPONENTS
from lotmark_contracts.wcel.errors import FailureCode
from lotmark_contracts.wcel.lexer import INT_MAX, INT_MIN
from lotmark_contracts.wcel.types import (
    BOOL,
    INT,
    INT_LENGTH_MAX,
    ListType,
    StringType,
    Type,
    list_type,
    string_type,
)

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_WHOLE_BP = 10_000
_ANY_STRING = string_type(0)  # bounds do not matter to what an argument must be
_INTS = list_type(INT, 0)


class FunctionFailed(Exception):
    """A function has no result for its arguments."""

    def __init__(self, code: FailureCode) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function: what it takes, gives and costs."""

    parameters: tuple[tuple[Type, ...], ...]  # of each argument, the types that it may have
    result: Callable[[Sequence[Type]], Type]
    gas: int  # beside the node
    item_gas: int = 0  # for each item of the lists among the arguments
    # A checked call has arguments of the declared types, which mypy cannot see.
    evaluate: Callable[..., Any]
    is_method: bool = False  # written behind its first argument
    compares_text: bool = False  # costs by the length of its texts
    can_fail: bool = True


def _fit(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise FunctionFailed(FailureCode.OVERFLOW)


def _positive(divisor: int) -> int:
    if divisor > 0:
        return divisor
    raise FunctionFailed(FailureCode.DIVISION_BY_ZERO if divisor == 0 else FailureCode.BAD_ARGUMENT)


def toward_zero(numerator: int, denominator: int) -> int:
    """Divide by a positive number, and cut what is left."""
    quotient = abs(numerator) // denominator
    return -quotient if numerator < 0 else quotient


def half_away_from_zero(numerator: int, denominator: int) -> int:
    """Divide by a positive number, and round to the nearest; a half goes away from zero."""
    quotient = (2 * abs(numerator) + denominator) // (2 * denominator)
    return -quotient if numerator < 0 else quotient


def _mul_div(value: int, numerator: int, denominator: int) -> int:
    return _fit(toward_zero(value * numerator, _positive(denominator)))


def _mul_div_half_up(value: int, numerator: int, denominator: int) -> int:
    return _fit(half_away_from_zero(value * numerator, _positive(denominator)))


def _bps(value: int, basis_points: int) -> int:
    return _fit(half_away_from_zero(value * basis_points, _WHOLE_BP))


def _convert(amount: int, numerator: int, denominator: int, source: str, target: str) -> int:
    """Convert minor units of one currency to those of another, at a rate between major units."""
    if source not in EXPONENTS or target not in EXPONENTS:
        raise FunctionFailed(FailureCode.UNKNOWN_CURRENCY)
    shift = EXPONENTS[target] - EXPONENTS[source]
    over, under = 10 ** max(shift, 0), 10 ** max(-shift, 0)
    return _fit(half_away_from_zero(amount * numerator * over, _positive(denominator) * under))


def _clamp(value: int, least: int, most: int) -> int:
    if least > most:
        raise FunctionFailed(FailureCode.BAD_ARGUMENT)
    return min(max(value, least), most)


def _sum(items: list[int]) -> int:
    return _fit(sum(items))


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Split a total by weights: whole shares first, then one more to the largest remainders.

    The shares always sum to the total. Of equal remainders the earlier one is served first.
    """
    if total < 0 or any(weight < 0 for weight in weights):
        raise FunctionFailed(FailureCode.BAD_ARGUMENT)
    whole = sum(weights)
    if whole == 0:
        if total == 0:
            return [0] * len(weights)
        raise FunctionFailed(FailureCode.DIVISION_BY_ZERO)
    shares = [total * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda at: (-(total * weights[at] % whole), at))
    for at in order[: total - sum(shares)]:
        shares[at] += 1
    return shares


def _ascending(items: list[Any]) -> bool:
    return all(before < after for before, after in pairwise(items))


def _longest_run(items: list[bool]) -> int:
    longest = run = 0
    for each in items:
        run = run + 1 if each else 0
        longest = max(longest, run)
    return longest


def add_months(time_ms: int, months: int) -> int:
    """Return the same time of day so many months later, in UTC; clamped to the month's end."""
    days, time_of_day_ms = divmod(time_ms, _DAY_MS)
    year, month, day = _date_of(days)
    year, month_index = divmod(year * 12 + month - 1 + months, 12)
    day = min(day, _month_length(year, month_index + 1))
    return _fit(_days_of(year, month_index + 1, day) * _DAY_MS + time_of_day_ms)


# The proleptic Gregorian calendar by counting: its year begins in March, so that the leap day is
# the last one, and 400 of them always have 146,097 days. Day 0 is the first of January 1970.
_ERA_DAYS = 146_097
_EPOCH_DAYS = 719_468  # from the first of March of year 0


def _date_of(days: int) -> tuple[int, int, int]:
    era, day_of_era = divmod(days + _EPOCH_DAYS, _ERA_DAYS)
    leaps = day_of_era // 1_460 - day_of_era // 36_524 + day_of_era // (_ERA_DAYS - 1)
    year_of_era = (day_of_era - leaps) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153  # 0 is March
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    return era * 400 + year_of_era + (month <= 2), month, day


def _days_of(year: int, month: int, day: int) -> int:
    era, year_of_era = divmod(year - (month <= 2), 400)
    shifted = month - 3 if month > 2 else month + 9
    day_of_year = (153 * shifted + 2) // 5 + day - 1
    day_of_era = 365 * year_of_era + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * _ERA_DAYS + day_of_era - _EPOCH_DAYS


def _month_length(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _always(result: Type) -> Callable[[Sequence[Type]], Type]:
    return lambda _arguments: result


def _shares(arguments: Sequence[Type]) -> Type:
    weights = arguments[1]
    return list_type(INT, weights.count_max if isinstance(weights, ListType) else 0)


def _of(*parameters: Type) -> tuple[tuple[Type, ...], ...]:
    return tuple((each,) for each in parameters)


def _text_test(evaluate: Callable[[str, str], bool]) -> Function:
    return Function(
        parameters=_of(_ANY_STRING, _ANY_STRING),
        result=_always(BOOL),
        gas=2,
        evaluate=evaluate,
        is_method=True,
        compares_text=True,
        can_fail=False,
    )


def _of_ints(count: int, gas: int, evaluate: Callable[..., int], *, fails: bool = True) -> Function:
    return Function(
        parameters=_of(*[INT] * count),
        result=_always(INT),
        gas=gas,
        evaluate=evaluate,
        can_fail=fails,
    )


FUNCTIONS: Final[dict[str, Function]] = {
    "abs": _of_ints(1, 1, lambda value: _fit(abs(value))),
    "addMonths": _of_ints(2, 8, add_months),
    "apportion": Function(
        parameters=_of(INT, _INTS), result=_shares, gas=8, item_gas=8, evaluate=apportion
    ),
    "ascending": Function(
        parameters=((_INTS, list_type(_ANY_STRING, 0)),),
        result=_always(BOOL),
        gas=1,
        item_gas=2,
        evaluate=_ascending,
        compares_text=True,
        can_fail=False,
    ),
    "bps": _of_ints(2, 3, _bps),
    "clamp": _of_ints(3, 2, _clamp),
    "contains": _text_test(lambda text, part: part in text),
    "convert": Function(
        parameters=_of(INT, INT, INT, _ANY_STRING, _ANY_STRING),
        result=_always(INT),
        gas=4,
        evaluate=_convert,
        compares_text=True,
    ),
    "days": _of_ints(1, 1, lambda count: _fit(count * _DAY_MS)),
    "endsWith": _text_test(lambda text, end: text.endswith(end)),
    "hours": _of_ints(1, 1, lambda count: _fit(count * _HOUR_MS)),
    "longestRun": Function(
        parameters=_of(list_type(BOOL, 0)),
        result=_always(INT),
        gas=1,
        item_gas=1,
        evaluate=_longest_run,
        can_fail=False,
    ),
    "max": _of_ints(2, 1, max, fails=False),
    "min": _of_ints(2, 1, min, fails=False),
    "mulDiv": _of_ints(3, 3, _mul_div),
    "mulDivHalfUp": _of_ints(3, 3, _mul_div_half_up),
    "startsWith": _text_test(lambda text, start: text.startswith(start)),
    "string": Function(
        parameters=_of(INT),
        result=_always(StringType(INT_LENGTH_MAX)),
        gas=2,
        evaluate=str,
        can_fail=False,
    ),
    "sum": Function(parameters=_of(_INTS), result=_always(INT), gas=1, item_gas=1, evaluate=_sum),
}
