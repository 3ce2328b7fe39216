"""Google's CEL beside wcel: the same value, or both none. Runs alone for long comparisons.

python -m tests.contracts.cel_oracle --count 1000000 --seed 7
"""

import argparse
import random
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

from lotmark_contracts.wcel.compiler import compile_expression
from lotmark_contracts.wcel.errors import ExpressionFailed, ExpressionRefused
from lotmark_contracts.wcel.frame import Frame
from lotmark_contracts.wcel.types import (
    BoolType,
    IntType,
    ListType,
    MapType,
    RecordType,
    StringType,
    Type,
)
from lotmark_contracts.wcel.values import Value
from tests.contracts.random_expressions import VARIABLES, Writer, random_values, scope_of

PLENTY_OF_GAS = 10**9
DEPTH_MAX = 4
_SCOPE = scope_of(VARIABLES)
_MUTATIONS = (*"()[]{}.,:?!&|=<>+-*/%\"' 01x", "&&", "||", "==", " in ", "size", "true")


@dataclass(frozen=True, slots=True)
class Difference:
    """An expression on which the two languages do not agree."""

    source: str
    values: dict[str, Value]
    ours: object
    theirs: object


class NoValue:
    """What both sides say where an evaluation has no value."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NoValue)

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "no value"


NO_VALUE = NoValue()


def our_answer(source: str, values: dict[str, Value]) -> object:
    """Return wcel's value, or `NO_VALUE`.

    Raises:
        ExpressionRefused: The expression is none.
    """
    program = compile_expression(source, _SCOPE)
    frame = Frame(program.slot_count, PLENTY_OF_GAS)
    frame.slots[: len(values)] = values.values()
    try:
        return program.run(frame)
    except ExpressionFailed:
        return NO_VALUE


@cache
def _environment() -> Any:
    from cel_expr_python import cel

    return cel.NewEnv(variables={name: _cel_type(each) for name, each in VARIABLES.items()})


def _cel_type(given: Type) -> Any:
    from cel_expr_python import cel

    match given:
        case IntType():
            return cel.Type.INT
        case BoolType():
            return cel.Type.BOOL
        case StringType():
            return cel.Type.STRING
        case ListType():
            return cel.Type.List(_cel_type(given.item))
        case MapType():
            return cel.Type.Map(cel.Type.STRING, _cel_type(given.value))
        case RecordType():
            return cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
        case _:
            raise AssertionError(given)


def their_answer(source: str, values: dict[str, Value]) -> object:
    """Return CEL's value, or `NO_VALUE`.

    Raises:
        Exception: CEL does not take the expression.
    """
    from cel_expr_python import cel

    value = _environment().compile(source).eval(data=values)
    return NO_VALUE if value.type() == cel.Type.ERROR else value.plain_value()


def same(left: object, right: object) -> bool:
    """Return whether two values are one, and of the same types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


def compare(chance: random.Random) -> Difference | None:
    """Compare one random expression; None: both agree."""
    source = Writer(chance).any_type(chance.randrange(1, DEPTH_MAX + 1))
    values = random_values(chance)
    try:
        ours = our_answer(source, values)
    except ExpressionRefused as error:
        return Difference(source, values, f"refused: {error}", None)
    return _compared(source, values, ours)


def compare_mutated(chance: random.Random) -> Difference | None:
    """Compare an expression with a typing error or two: what wcel takes, CEL takes as well."""
    source = Writer(chance).any_type(chance.randrange(1, 3))
    for _ in range(chance.randrange(1, 3)):
        at = chance.randrange(len(source) + 1)
        source = source[:at] + chance.choice(_MUTATIONS) + source[at + chance.randrange(2) :]
    values = random_values(chance)
    try:
        ours = our_answer(source, values)
    except ExpressionRefused:
        return None
    return _compared(source, values, ours)


def _compared(source: str, values: dict[str, Value], ours: object) -> Difference | None:
    try:
        theirs = their_answer(source, values)
    except Exception as error:
        # CEL infers what the items of [] were to be, and refuses where two uses of one differ.
        if "[]" in source and "no matching overload" in str(error):
            return None
        return Difference(source, values, ours, repr(error))
    return None if same(ours, theirs) else Difference(source, values, ours, theirs)


def main() -> int:
    """Compare as many as the arguments say; 1: a difference was found."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)  # noqa: S311 - replayed from its seed
    differences = 0
    for number in range(arguments.count):
        difference = compare_mutated(chance) if number % 5 == 4 else compare(chance)
        if difference is not None:
            differences += 1
            sys.stdout.write(f"{number}: {difference}\n")
        if (number + 1) % 50_000 == 0:
            sys.stdout.write(f"{number + 1:,} compared, {differences} differences\n")
            sys.stdout.flush()
    sys.stdout.write(f"{arguments.count:,} compared, {differences} differences\n")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
