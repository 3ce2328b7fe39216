"""What is wrong with a package, and where."""

from collections.abc import Sequence
from dataclasses import dataclass

from lotmark_contracts.errors import ContractError
from lotmark_contracts.position import Position, caret_lines, position_at


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in one file."""

    path: str
    position: Position | None  # None: of the file as a whole
    reason: str
    caret: str  # the line and a caret under the place; empty without a position

    @property
    def place(self) -> str:
        """File, line and column as compilers write them."""
        if self.position is None:
            return self.path
        return f"{self.path}:{self.position.line}:{self.position.column}"

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


def problem_at(path: str, text: str, offset: int, reason: str) -> Problem:
    """Return the problem of a place in a file."""
    return Problem(path, position_at(text, offset), reason, caret_lines(text, offset))


class PackageRefused(ContractError):
    """A package cannot be used."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)
