"""How much work it may be to load a package: counted, so that every node refuses the same ones.

A unit is about three millionths of a second, a sixth of what a node of an expression takes. What is
quick for each byte of a file is not counted: files are bounded.
"""

from typing import Final

from lotmark_contracts.package.errors import PackageRefused
from lotmark_contracts.package.json_node import Node

WORK_MAX: Final = 250_000
TYPE_NODE: Final = 1  # of a type for whose values a check is made
TABLE_CELLS: Final = 32  # of a table that are compared for one unit


class TooMuchWork(PackageRefused):
    """A package cannot be loaded in time; what follows in it is not looked at."""


class LoadWork:
    """What is left of a package's work."""

    def __init__(self, work_max: int = WORK_MAX) -> None:
        self._max = work_max
        self._left = work_max

    @property
    def spent(self) -> int:
        """How much was done so far."""
        return self._max - self._left

    def spend(self, units: int, node: Node) -> None:
        """Pay for work on a part of a file.

        Raises:
            TooMuchWork: There is not so much left.
        """
        self._left -= units
        if self._left < 0:
            refused = node.refused(
                f"to load the package up to here takes more work than {self._max:,} units: leave"
                " out rows, steps or rules, give types fewer fields, or divide it into packages"
            )
            raise TooMuchWork(refused.problems)
