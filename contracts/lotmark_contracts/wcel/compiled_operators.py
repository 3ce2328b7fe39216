"""The closures of operators: checked arithmetic, comparisons, and what decides by one side."""

import operator
from collections.abc import Callable
from typing import Any, Final

from lotmark_contracts.wcel import gas
from lotmark_contracts.wcel.errors import EvaluationFailed, FailureCode, LimitExceeded
from lotmark_contracts.wcel.frame import Code, Frame
from lotmark_contracts.wcel.lexer import INT_MAX, INT_MIN
from lotmark_contracts.wcel.syntax import BinaryOperator, LogicalOperator
from lotmark_contracts.wcel.types import LENGTH_MAX, MapType, StringType, Type
from lotmark_contracts.wcel.values import OutOfGas, equal

_COMPARISONS: Final[dict[BinaryOperator, Callable[[Any, Any], bool]]] = {
    BinaryOperator.EQUAL: operator.eq,
    BinaryOperator.UNEQUAL: operator.ne,
    BinaryOperator.LESS: operator.lt,
    BinaryOperator.LESS_OR_EQUAL: operator.le,
    BinaryOperator.GREATER: operator.gt,
    BinaryOperator.GREATER_OR_EQUAL: operator.ge,
}


def compiled_binary(
    sign: BinaryOperator,
    left: Code,
    right: Code,
    *,
    offset: int,
    left_type: Type,
    right_type: Type,
    is_deep: bool,
) -> Code:
    """Return the closure of arithmetic on numbers, or of a comparison."""
    if sign is BinaryOperator.IN:
        if isinstance(right_type, MapType):
            return _has_key(left, right, offset)
        return _has_item(left, right, offset)
    if sign in _COMPARISONS:
        if is_deep:
            compared = _deeply_equal(left, right, offset)
            if sign is BinaryOperator.EQUAL:
                return compared
            return lambda frame: not compared(frame)
        if isinstance(left_type, StringType):
            return _compared_texts(_COMPARISONS[sign], left, right, offset)
        return _compared(sign, left, right)
    return _arithmetic(sign, left, right, offset)


def negated(operand: Code, offset: int) -> Code:
    """Return the closure of `-x`."""

    def negate(frame: Frame) -> int:
        value: int = operand(frame)
        if value == INT_MIN:
            raise EvaluationFailed(FailureCode.OVERFLOW, offset)
        return -value

    return negate


def joined(first: Code, others: tuple[tuple[Code, int], ...]) -> Code:
    """Return the closure of `a + b + c` for texts or lists.

    One for all of them: keys and names of accounts are such sums, and a closure for each sign took
    twice as long. What is joined first is still made, and paid for, before the next is looked at.

    Args:
        first: What the others are joined to.
        others: Each with the offset of the sign before it.
    """

    def join(frame: Frame) -> Any:
        value = first(frame)
        for part, offset in others:
            after = part(frame)
            length = len(value) + len(after)
            if length > LENGTH_MAX:
                raise LimitExceeded(FailureCode.TOO_LONG, offset)
            frame.gas_left -= gas.NODE + length // gas.TEXT_CHARACTERS  # as `gas.copying` says
            if frame.gas_left < 0:
                raise LimitExceeded(FailureCode.GAS, offset)
            value = value + after
        return value

    return join


def compiled_logical(
    sign: LogicalOperator, left: Code, right: Code, *, left_can_fail: bool
) -> Code:
    """Return the closure of `&&` or `||`.

    As in CEL, the side that decides is enough: `false && x` and `x && false` are false, whatever x
    fails with. Where both fail, the failure is that of the left.
    """
    if not left_can_fail:
        if sign is LogicalOperator.AND:
            return lambda frame: left(frame) and right(frame)
        return lambda frame: left(frame) or right(frame)
    deciding = sign is LogicalOperator.OR

    def decide(frame: Frame) -> object:
        try:
            value = left(frame)
        except EvaluationFailed as failure:
            try:
                if right(frame) is deciding:
                    return deciding
            except EvaluationFailed:
                raise failure from None
            raise
        if value is deciding:
            return deciding
        return right(frame)

    return decide


def _compared(sign: BinaryOperator, left: Code, right: Code) -> Code:
    # Written out: a call of `operator.lt` for each comparison would be half its time.
    match sign:
        case BinaryOperator.EQUAL:
            return lambda frame: left(frame) == right(frame)
        case BinaryOperator.UNEQUAL:
            return lambda frame: left(frame) != right(frame)
        case BinaryOperator.LESS:
            return lambda frame: left(frame) < right(frame)
        case BinaryOperator.LESS_OR_EQUAL:
            return lambda frame: left(frame) <= right(frame)
        case BinaryOperator.GREATER:
            return lambda frame: left(frame) > right(frame)
        case _:
            return lambda frame: left(frame) >= right(frame)


def _compared_texts(
    compare: Callable[[str, str], bool], left: Code, right: Code, offset: int
) -> Code:
    def compared(frame: Frame) -> bool:
        mine, other = left(frame), right(frame)
        cost = gas.comparing(min(len(mine), len(other)))
        if cost:  # short texts, which are most, cost nothing beside the node
            frame.charge(cost, offset)
        return compare(mine, other)

    return compared


def _deeply_equal(left: Code, right: Code, offset: int) -> Code:
    def compared(frame: Frame) -> bool:
        mine, other = left(frame), right(frame)
        try:
            return equal(mine, other, frame)
        except OutOfGas:
            raise LimitExceeded(FailureCode.GAS, offset) from None

    return compared


def _has_key(left: Code, right: Code, offset: int) -> Code:
    def has(frame: Frame) -> bool:
        key, values = left(frame), right(frame)
        frame.charge(gas.comparing(len(key)), offset)
        return key in values

    return has


def _has_item(left: Code, right: Code, offset: int) -> Code:
    def has(frame: Frame) -> bool:
        value, items = left(frame), right(frame)
        try:
            return any(equal(value, item, frame) for item in items)
        except OutOfGas:
            raise LimitExceeded(FailureCode.GAS, offset) from None

    return has


def _arithmetic(sign: BinaryOperator, left: Code, right: Code, offset: int) -> Code:
    match sign:
        case BinaryOperator.ADD:

            def add(frame: Frame) -> int:
                value: int = left(frame) + right(frame)
                if INT_MIN <= value <= INT_MAX:
                    return value
                raise EvaluationFailed(FailureCode.OVERFLOW, offset)

            return add
        case BinaryOperator.SUBTRACT:

            def subtract(frame: Frame) -> int:
                value: int = left(frame) - right(frame)
                if INT_MIN <= value <= INT_MAX:
                    return value
                raise EvaluationFailed(FailureCode.OVERFLOW, offset)

            return subtract
        case BinaryOperator.MULTIPLY:

            def multiply(frame: Frame) -> int:
                value: int = left(frame) * right(frame)
                if INT_MIN <= value <= INT_MAX:
                    return value
                raise EvaluationFailed(FailureCode.OVERFLOW, offset)

            return multiply
        case BinaryOperator.DIVIDE:
            return lambda frame: _quotient(left(frame), right(frame), offset)
        case _:
            return lambda frame: _remainder(left(frame), right(frame), offset)


def _quotient(dividend: int, divisor: int, offset: int) -> int:
    """Divide and cut toward zero, as CEL does and Python does not."""
    if divisor == 0:
        raise EvaluationFailed(FailureCode.DIVISION_BY_ZERO, offset)
    quotient = abs(dividend) // abs(divisor)
    if (dividend < 0) != (divisor < 0):
        return -quotient
    if quotient > INT_MAX:  # the smallest number by -1
        raise EvaluationFailed(FailureCode.OVERFLOW, offset)
    return quotient


def _remainder(dividend: int, divisor: int, offset: int) -> int:
    """Return what the division leaves, with the sign of the dividend."""
    if divisor == 0:
        raise EvaluationFailed(FailureCode.DIVISION_BY_ZERO, offset)
    if divisor == -1 and dividend == INT_MIN:  # as CEL does: its quotient has no value
        raise EvaluationFailed(FailureCode.OVERFLOW, offset)
    remainder = abs(dividend) % abs(divisor)
    return -remainder if dividend < 0 else remainder
