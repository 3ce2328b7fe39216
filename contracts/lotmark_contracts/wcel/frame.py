"""What an evaluation works on: the values of variables, and the gas that is left."""

from collections.abc import Callable
from typing import Any

from lotmark_contracts.wcel.errors import FailureCode, LimitExceeded
from lotmark_contracts.wcel.values import Meter


class Frame(Meter):
    """Slots for the values of variables, and gas. One frame serves all expressions of a rule."""

    __slots__ = ("slots",)

    def __init__(self, slot_count: int, gas_left: int) -> None:
        self.gas_left = gas_left  # as `Meter` does, without the call
        self.slots: list[Any] = [None] * slot_count

    def charge(self, cost: int, offset: int) -> None:
        """Pay for work that is about to be done.

        Raises:
            LimitExceeded: There is not enough gas.
        """
        self.gas_left -= cost
        if self.gas_left < 0:
            raise LimitExceeded(FailureCode.GAS, offset)


# A compiled node. The checker has proved what its value is, which mypy cannot see.
Code = Callable[[Frame], Any]
