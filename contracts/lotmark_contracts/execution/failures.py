"""Why a rule fails, beside what its expressions fail with."""

from enum import StrEnum

from lotmark_contracts.errors import ContractError


class ExecutionCode(StrEnum):
    """A code in the receipt of a failed rule."""

    INPUT = "input"  # the event is not as the package declares it
    NO_ROW = "no_row"  # of a table without `else`, for a value that its column does not list
    NEGATIVE_AMOUNT = "negative_amount"
    UNKNOWN_CURRENCY = "unknown_currency"
    BAD_NAME = "bad_name"  # of an account or key: empty or too long
    OVERDRAWN = "overdrawn"  # a prefunded account would fall below zero
    NOT_BOUND = "not_bound"  # an account is of a party that has not approved the package, or none
    OVERFLOW = "overflow"  # a balance would not fit 64 bits
    TOO_LONG = "too_long"  # a kept value is beyond the bounds of its type
    BLOCK_GAS = "block_gas"  # the rule may cost more than the block has left; nothing was executed


class RuleFailed(ContractError):
    """A rule cannot be executed for this event; another event may do."""

    def __init__(self, code: ExecutionCode) -> None:
        super().__init__(code)
        self.code = code
