"""What is wrong with an expression, and how an evaluation fails."""

from enum import StrEnum

from lotmark_contracts.errors import ContractError
from lotmark_contracts.position import caret_lines, position_at


class RefusalCode(StrEnum):
    """Why an expression is refused before it is ever evaluated."""

    SYNTAX = "syntax"
    NAME = "name"  # unknown variable, field or function
    TYPE = "type"
    LIMIT = "limit"  # longer, deeper or larger than the language allows


class FailureCode(StrEnum):
    """Why an evaluation has no value; part of receipts."""

    OVERFLOW = "overflow"
    DIVISION_BY_ZERO = "division_by_zero"
    NO_SUCH_KEY = "no_such_key"
    INDEX_OUT_OF_RANGE = "index_out_of_range"
    BAD_ARGUMENT = "bad_argument"
    UNKNOWN_CURRENCY = "unknown_currency"
    GAS = "gas"
    TOO_LONG = "too_long"


class WcelError(ContractError):
    """The root of what this language refuses."""


class ExpressionRefused(WcelError):
    """An expression is not of this language, or not of these types."""

    def __init__(self, code: RefusalCode, source: str, offset: int, reason: str) -> None:
        super().__init__(f"{position_at(source, offset)}: {reason}")
        self.code = code
        self.offset = offset  # in characters
        self.reason = reason
        self.caret = caret_lines(source, offset)


class ExpressionFailed(WcelError):
    """An evaluation has no value."""

    def __init__(self, code: FailureCode, offset: int) -> None:
        super().__init__(f"{code} at character {offset}")
        self.code = code
        self.offset = offset


class EvaluationFailed(ExpressionFailed):
    """A value that the operation has no result for; `&&` and `||` may not need that result."""


class LimitExceeded(ExpressionFailed):
    """Work or length beyond a bound: no operator hides it."""
