"""What expressions come to: exact integers, CEL's rules about failures, and gas before work."""

import sys

import pytest

from lotmark_contracts.wcel.compiler import compile_expression
from lotmark_contracts.wcel.errors import FailureCode
from lotmark_contracts.wcel.frame import Frame
from lotmark_contracts.wcel.types import BOOL, INT, ListType, MapType, StringType, Type
from lotmark_contracts.wcel.values import (
    VALUE_NODES_MAX,
    Meter,
    OutOfGas,
    TooLarge,
    Value,
    equal,
    measured,
)
from tests.contracts.evaluating import GAS, evaluate, value_of
from tests.contracts.random_expressions import (
    VARIABLES,
    Writer,
    announced_chance,
    random_values,
    scope_of,
)

LARGEST, SMALLEST = 2**63 - 1, -(2**63)
NUMBERS = {"x": INT, "y": INT}


@pytest.mark.parametrize(
    ("source", "x", "y", "expected"),
    [
        ("x + y", LARGEST, 1, FailureCode.OVERFLOW),
        ("x - y", SMALLEST, 1, FailureCode.OVERFLOW),
        ("x * y", 2**32, 2**31, FailureCode.OVERFLOW),
        ("-x", SMALLEST, 0, FailureCode.OVERFLOW),
        ("-x", LARGEST, 0, SMALLEST + 1),
        ("x / y", SMALLEST, -1, FailureCode.OVERFLOW),
        ("x % y", SMALLEST, -1, FailureCode.OVERFLOW),
        ("x / y", 1, 0, FailureCode.DIVISION_BY_ZERO),
        ("x % y", 1, 0, FailureCode.DIVISION_BY_ZERO),
        ("x / y", -7, 2, -3),
        ("x % y", -7, 2, -1),
        ("x % y", 7, -2, 1),
        ("abs(x)", SMALLEST, 0, FailureCode.OVERFLOW),
        ("x + y == -9223372036854775808", SMALLEST, 0, True),
    ],
)
def test_integers_have_64_bits_and_never_wrap(
    source: str, x: int, y: int, expected: int | FailureCode
) -> None:
    answer = evaluate(source, NUMBERS, {"x": x, "y": y})

    if isinstance(expected, FailureCode):
        assert answer.failure is not None
        assert answer.failure.code is expected
    else:
        assert answer.value == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 / 0 == 1 || true", True),
        ("true || 1 / 0 == 1", True),
        ("1 / 0 == 1 && false", False),
        ("[0, 1].exists(n, 1 / n == 1)", True),
        ("[0, 1].all(n, 1 / n == 2)", False),
    ],
)
def test_the_side_that_decides_hides_the_failure_of_the_other(source: str, expected: bool) -> None:
    assert value_of(source) is expected


@pytest.mark.parametrize(
    "source",
    [
        "1 / 0 == 1 || false",
        "1 / 0 == 1 && true",
        "[0, 1].exists(n, 1 / n == 2)",
        "[0, 1].all(n, 1 / n == 1)",
        "[0, 1].exists_one(n, 1 / n == 1)",
        "[0, 1].filter(n, 1 / n == 1) == []",
    ],
)
def test_a_failure_that_decides_is_told_with_its_place(source: str) -> None:
    failure = evaluate(source).failure

    assert failure is not None
    assert failure.code is FailureCode.DIVISION_BY_ZERO
    assert source[failure.offset] == "/"


def test_of_two_failures_the_left_one_is_told() -> None:
    failure = evaluate("1 / 0 == 1 || [1][5] == 1").failure

    assert failure is not None
    assert failure.code is FailureCode.DIVISION_BY_ZERO


def test_running_out_of_gas_is_hidden_by_nothing() -> None:
    types, values = {"n": ListType(INT, 100)}, {"n": list[Value](range(100))}

    answer = evaluate("n.all(x, n.all(y, x + y >= 0)) || true", types, values, gas=500)

    assert answer.failure is not None
    assert answer.failure.code is FailureCode.GAS


def test_gas_of_nested_macros_is_counted_once() -> None:
    """100 items, each with 100: the inner body is paid for 10,000 times and not 20,000 times."""
    types, values = {"n": ListType(INT, 100)}, {"n": list[Value](range(100))}
    source = "n.all(x, n.all(y, x + y >= 0))"

    answer = evaluate(source, types, values, gas=10**6)

    inner_body = 1 + 5  # the iteration; >=, +, x, y, 0
    outer_body = 1 + 2 + 100 * inner_body  # the iteration; the inner macro and its list
    assert answer.gas_used == 2 + 100 * outer_body == answer.worst_gas


def test_gas_is_charged_before_the_work() -> None:
    """A macro that cannot be paid for does not begin: its first item would have failed."""
    answer = evaluate("[1, 2, 3, 4].map(x, 1 / 0)", gas=12)

    assert answer.failure is not None
    assert answer.failure.code is FailureCode.GAS


def test_a_text_that_doubles_is_stopped_by_its_length() -> None:
    doubled = "[s]" + ".map(x, x + x)" * 5

    answer = evaluate(doubled, {"s": StringType(4_096)}, {"s": "a" * 4_096}, gas=10**6)

    assert answer.failure is not None
    assert answer.failure.code is FailureCode.TOO_LONG


def test_joining_is_paid_for_by_length() -> None:
    types = {"s": StringType(4_096)}

    short = evaluate("s + s", types, {"s": "a"})
    long = evaluate("s + s", types, {"s": "a" * 4_096})

    assert long.gas_used - short.gas_used == 2 * 4_096 // 16


@pytest.mark.parametrize(
    ("source", "code", "offset"),
    [
        ("s + s + t", FailureCode.TOO_LONG, 6),
        ("s + s + (s + t) + t", FailureCode.TOO_LONG, 6),
        ("t + (s + s + t)", FailureCode.TOO_LONG, 11),
        ("s + s + s + string(1 / 0)", FailureCode.TOO_LONG, 6),  # before the next is looked at
        ("t + string(1 / 0) + s + s + s", FailureCode.DIVISION_BY_ZERO, 13),
    ],
)
def test_of_several_that_are_joined_the_first_that_fails_is_told(
    source: str, code: FailureCode, offset: int
) -> None:
    values: dict[str, Value] = {"s": "a" * 32_768, "t": "b"}

    answer = evaluate(source, dict.fromkeys(values, StringType(32_768)), values, gas=10**6)

    assert answer.failure is not None
    assert (answer.failure.code, answer.failure.offset) == (code, offset)


def test_gas_of_several_that_are_joined_runs_out_at_the_sign_that_cannot_be_paid() -> None:
    """Five names and signs cost 5; then the first sum 1 + 128 / 16, the second 1 + 192 / 16."""
    types, values = {"s": StringType(64)}, {"s": "a" * 64}
    source = "s + s + s"

    failures = [evaluate(source, types, values, gas=gas).failure for gas in (4, 13, 26)]

    assert [failure and failure.offset for failure in failures] == [0, 2, 6]
    assert value_of(source, types, values) == "a" * 192
    assert evaluate(source, types, values).gas_used == 27
    assert evaluate(source, types, values, gas=27).failure is None


@pytest.mark.parametrize("index", [-1, 2, LARGEST])
def test_an_index_by_name_outside_of_a_list_has_no_value(index: int) -> None:
    types: dict[str, Type] = {"items": ListType(INT, 4), "i": INT}

    answer = evaluate("0 + items[i]", types, {"items": [7, 8], "i": index})

    assert answer.failure is not None
    assert answer.failure.code is FailureCode.INDEX_OUT_OF_RANGE
    assert answer.failure.offset == 9
    assert value_of("items[i]", types, {"items": [7, 8], "i": 1}) == 8


def test_a_list_of_literals_is_made_anew_each_time() -> None:
    assert value_of("[1, 2].map(x, [3, 4])") == [[3, 4], [3, 4]]
    program = compile_expression("[3, 4]", scope_of({}))
    frame = Frame(program.slot_count, GAS)

    assert program.run(frame) is not program.run(frame)


def test_equality_of_values_that_share_parts_is_paid_for_by_visit() -> None:
    """20 lists in memory, a million when they are compared: sharing does not make it free."""
    value: Value = 1
    for _ in range(20):
        value = [value, value]
    meter = Meter(20_000)

    with pytest.raises(OutOfGas):
        equal(value, value, meter)

    assert meter.gas_left == -1


def test_a_value_that_shares_parts_is_measured_as_it_would_be_written() -> None:
    value: Value = 1
    for _ in range(9):
        value = [value, value]
    assert measured(value) == 2**10 - 1

    for _ in range(30):
        value = [value, value]
    with pytest.raises(TooLarge):
        measured(value)


def test_a_kept_value_counts_nodes_keys_and_text() -> None:
    assert measured({"a": [1, True], "b": "x" * 32}) == 1 + 2 + 3 + 1 + 2
    assert measured([0] * (VALUE_NODES_MAX - 1)) == VALUE_NODES_MAX
    with pytest.raises(TooLarge):
        measured([0] * VALUE_NODES_MAX)


def test_deep_equality_looks_into_lists_and_records() -> None:
    assert value_of("[{'a': [1, 2]}] == [{'a': [1, 2]}]") is True
    assert value_of("[{'a': [1, 2]}] != [{'a': [1, 3]}]") is True
    assert value_of("[1] in [[2], [1]]") is True


def test_comparing_maps_costs_the_same_whatever_the_order_of_their_keys() -> None:
    types = {"m": MapType(INT, 4), "n": MapType(INT, 4)}
    one: dict[str, Value] = {"m": {"a": 1, "b": 2, "c": 3}, "n": {"a": 9, "b": 2, "c": 3}}
    other: dict[str, Value] = {"m": {"c": 3, "b": 2, "a": 1}, "n": {"b": 2, "c": 3, "a": 9}}

    assert evaluate("m == n", types, one) == evaluate("m == n", types, other)


def test_a_slash_twice_inside_a_string_is_no_comment() -> None:
    assert value_of("'http://x' // a comment") == "http://x"


def test_a_macros_name_hides_an_outer_one_and_only_inside_it() -> None:
    types, values = {"x": INT}, {"x": 7}

    assert value_of("[1, 2].map(x, x * 2) == [2, 4] && x == 7", types, values) is True


def test_an_evaluation_near_the_end_of_pythons_stack_gives_the_same_answer() -> None:
    source = "(" * 38 + "1" + ")" * 38 + "+".join(["", *["1"] * 30])

    def deeper(levels: int) -> Value | None:
        return deeper(levels - 1) if levels else value_of(source)

    assert deeper(sys.getrecursionlimit() - 700) == value_of(source)


def test_no_expression_costs_more_than_its_worst_case() -> None:
    chance = announced_chance()

    for _ in range(4_000):
        source = Writer(chance).any_type(chance.randrange(1, 5))
        answer = evaluate(source, VARIABLES, random_values(chance), gas=10**9)

        assert answer.gas_used <= answer.worst_gas, source


def test_what_a_value_shares_with_an_input_cannot_be_changed_by_an_expression() -> None:
    numbers: list[Value] = [1, 2, 3]

    assert value_of("n + [4] == [1, 2, 3, 4]", {"n": ListType(INT, 3)}, {"n": numbers}) is True
    assert numbers == [1, 2, 3]


def test_frames_say_what_is_left() -> None:
    frame = Frame(1, 10)
    frame.charge(4, 0)

    assert frame.gas_left == 6


def test_a_truth_value_is_never_a_number() -> None:
    types = {"p": BOOL}

    assert value_of("[p, true] == [true, true]", types, {"p": True}) is True
    assert type(value_of("p", types, {"p": True})) is bool
