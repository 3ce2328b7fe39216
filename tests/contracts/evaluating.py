"""Evaluates an expression in one call, for tests."""

from collections.abc import Mapping
from dataclasses import dataclass

from lotmark_contracts.wcel.compiler import compile_expression
from lotmark_contracts.wcel.errors import ExpressionFailed
from lotmark_contracts.wcel.frame import Frame
from lotmark_contracts.wcel.types import Type
from lotmark_contracts.wcel.values import Value
from tests.contracts.random_expressions import scope_of

GAS = 20_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an evaluation."""

    value: Value | None
    failure: ExpressionFailed | None
    gas_used: int
    worst_gas: int


def evaluate(
    source: str,
    types: Mapping[str, Type] | None = None,
    values: Mapping[str, Value] | None = None,
    *,
    gas: int = GAS,
) -> Answer:
    """Evaluate an expression over variables of these types and values."""
    program = compile_expression(source, scope_of(dict(types or {})))
    frame = Frame(program.slot_count, gas)
    for slot, name in enumerate(types or {}):
        frame.slots[slot] = (values or {})[name]
    value: Value | None = None
    failure: ExpressionFailed | None = None
    try:
        value = program.run(frame)
    except ExpressionFailed as error:
        failure = error
    return Answer(value, failure, gas - frame.gas_left, program.worst_gas)


def value_of(
    source: str,
    types: Mapping[str, Type] | None = None,
    values: Mapping[str, Value] | None = None,
) -> Value | None:
    """Return the value of an expression that must have one."""
    answer = evaluate(source, types, values)
    if answer.failure is not None:
        raise answer.failure
    return answer.value
