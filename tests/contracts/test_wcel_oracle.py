"""wcel answers as Google's CEL does, over thousands of expressions by chance."""

import random

import pytest

from lotmark_contracts.wcel.errors import EvaluationFailed, FailureCode
from tests.contracts import cel_oracle
from tests.contracts.random_expressions import announced_chance

COUNT = 20_000
MUTATED = 6_000

pytest.importorskip(
    "cel_expr_python", reason="cel-expr-python has no wheel for this platform; wcel has no oracle"
)


def test_expressions_have_the_value_that_cel_gives_them_or_both_have_none() -> None:
    chance = announced_chance()

    differences = [found for _ in range(COUNT) if (found := cel_oracle.compare(chance))]

    assert differences == []


def test_what_wcel_takes_of_mistyped_expressions_cel_takes_with_the_same_value() -> None:
    chance = announced_chance()

    differences = [found for _ in range(MUTATED) if (found := cel_oracle.compare_mutated(chance))]

    assert differences == []


def test_the_comparison_would_see_a_wrong_quotient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own division rounds down: had wcel used it, the oracle had said so."""
    from lotmark_contracts.wcel import compiled_operators

    def floored(dividend: int, divisor: int, offset: int) -> int:
        if divisor == 0:
            raise EvaluationFailed(FailureCode.DIVISION_BY_ZERO, offset)
        return dividend // divisor

    monkeypatch.setattr(compiled_operators, "_quotient", floored)
    chance = random.Random(1)  # noqa: S311 - a seed makes it the same each time

    assert any(cel_oracle.compare(chance) for _ in range(4_000))


def test_a_truth_value_is_not_taken_for_a_number() -> None:
    assert not cel_oracle.same([True], [1])
    assert cel_oracle.same({"a": [1, "x"]}, {"a": [1, "x"]})
