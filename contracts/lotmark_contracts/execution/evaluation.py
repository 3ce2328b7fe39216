"""Evaluates the expressions of one execution of a rule, and remembers at which place it is."""

from typing import Any

from lotmark_contracts.execution.failures import ExecutionCode, RuleFailed
from lotmark_contracts.package.rule import Placed
from lotmark_contracts.wcel.errors import FailureCode, LimitExceeded
from lotmark_contracts.wcel.frame import Frame

KEY_LENGTH_MAX = 256  # of a kept value, a claim, a timer, and of a once-key


class Evaluation:
    """Variables, gas, and the place that a receipt names if something fails there."""

    __slots__ = ("frame", "place")

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.place = "event"

    def run(self, placed: Placed) -> Any:
        """Return the value of an expression."""
        self.place = placed.place
        # As `Program.run` does, without the call: a claim evaluates a hundred expressions.
        program, frame = placed.program, self.frame
        frame.gas_left -= program.base_gas
        if frame.gas_left < 0:
            raise LimitExceeded(FailureCode.GAS, 0)
        return program.code(frame)

    def key(self, placed: Placed) -> str:
        """Return a text that can be a key.

        Raises:
            RuleFailed: It is empty or too long.
        """
        key: str = self.run(placed)
        if not 1 <= len(key) <= KEY_LENGTH_MAX:
            raise RuleFailed(ExecutionCode.BAD_NAME)
        return key
