"""What is no expression of wcel is refused before it is evaluated, fast and with its place."""

import time

import pytest

from lotmark_contracts.wcel.compiler import compile_expression
from lotmark_contracts.wcel.errors import ExpressionRefused, RefusalCode
from lotmark_contracts.wcel.lexer import SOURCE_SIZE_MAX
from lotmark_contracts.wcel.parser import DEPTH_MAX
from lotmark_contracts.wcel.types import INT, Field, ListType, StringType, Type, record_type
from tests.contracts.evaluating import evaluate
from tests.contracts.random_expressions import scope_of

SCOPE = scope_of(
    {
        "claim": record_type(
            {"odo_km": Field(INT), "cost": Field(INT), "id": Field(StringType(40))}
        ),
        "numbers": ListType(INT, 100),
        "text": StringType(4_096),
    }
)


def refusal_of(source: str) -> ExpressionRefused:
    with pytest.raises(ExpressionRefused) as caught:
        compile_expression(source, SCOPE)
    return caught.value


@pytest.mark.parametrize(
    ("source", "code", "offset", "words"),
    [
        ("claim.odo_kmm > 3", RefusalCode.NAME, 6, "did you mean 'odo_km'?"),
        ("clam.cost", RefusalCode.NAME, 0, "did you mean 'claim'?"),
        ("siez(numbers)", RefusalCode.NAME, 0, "did you mean 'size'?"),
        ("numbers.fliter(n, n > 1)", RefusalCode.NAME, 8, "did you mean 'filter'?"),
        ("text.matches('x')", RefusalCode.NAME, 5, "unknown method 'matches'"),
        ("filter(numbers, n)", RefusalCode.NAME, 0, "written behind a list"),
        ("numbers.sum()", RefusalCode.NAME, 8, "written before what it takes"),
        ("contains(text, 'x')", RefusalCode.NAME, 0, "written behind a text"),
        ("1.5 * claim.cost", RefusalCode.SYNTAX, 1, "only whole numbers"),
        ("1e3", RefusalCode.SYNTAX, 1, "only whole numbers"),
        ("1u", RefusalCode.SYNTAX, 1, "the digits 0 to 9"),
        ("0x10", RefusalCode.SYNTAX, 1, "the digits 0 to 9"),
        ("1_000", RefusalCode.SYNTAX, 1, "the digits 0 to 9"),
        ("007", RefusalCode.SYNTAX, 0, "does not begin with 0"),
        ("9223372036854775808", RefusalCode.SYNTAX, 0, "64 bits"),
        ("-9223372036854775809", RefusalCode.SYNTAX, 0, "64 bits"),
        ("null", RefusalCode.SYNTAX, 0, "no null"),
        ("claim.cost == null", RefusalCode.SYNTAX, 14, "no null"),
        ("b'x'", RefusalCode.SYNTAX, 0, "no prefix"),
        ("'\\ud800'", RefusalCode.SYNTAX, 1, "surrogate"),
        ("'\ud800'", RefusalCode.SYNTAX, 1, "surrogate"),
        ("'\\q'", RefusalCode.SYNTAX, 1, "unknown escape"),
        ("'open", RefusalCode.SYNTAX, 0, "does not end"),
        ("'a\nb'", RefusalCode.SYNTAX, 0, "does not end"),
        ("'\x00'", RefusalCode.SYNTAX, 0, "control character"),
        ("\uff58 + 1", RefusalCode.SYNTAX, 0, "unexpected character"),
        ("claim.cost & 1", RefusalCode.SYNTAX, 11, "did you mean '&&'?"),
        ("claim.cost = 1", RefusalCode.SYNTAX, 11, "did you mean '=='?"),
        ("--1", RefusalCode.SYNTAX, 1, "twice"),
        ("!!true", RefusalCode.SYNTAX, 1, "twice"),
        ("!-1", RefusalCode.SYNTAX, 1, "parentheses"),
        ("true ? true ? 1 : 2 : 3", RefusalCode.SYNTAX, 12, "expected ':'"),
        ("[1, 2,]", RefusalCode.SYNTAX, 6, "unexpected ']'"),
        ("{'a': 1,}", RefusalCode.SYNTAX, 8, "must follow the comma"),
        ("{1: 2}", RefusalCode.SYNTAX, 1, "a string in quotes"),
        ("{'a': 1, 'a': 2}", RefusalCode.SYNTAX, 9, "there twice"),
        ("lambda: 1", RefusalCode.SYNTAX, 6, "unexpected ':'"),
        ("return", RefusalCode.SYNTAX, 0, "reserved word"),
        ("has(claim)", RefusalCode.SYNTAX, 0, "has() takes a field"),
        ("numbers.map(1, 2)", RefusalCode.SYNTAX, 8, "takes a name and an expression"),
        ("", RefusalCode.SYNTAX, 0, "the end of the expression"),
        ("1 +", RefusalCode.SYNTAX, 3, "the end of the expression"),
        ("1 2", RefusalCode.SYNTAX, 2, "unexpected '2'"),
        ("(1", RefusalCode.SYNTAX, 2, "expected ')'"),
        ("true + 1", RefusalCode.TYPE, 5, "does not take bool and int"),
        ("1 == '1'", RefusalCode.TYPE, 2, "does not take int and string"),
        ("true < false", RefusalCode.TYPE, 5, "does not take bool and bool"),
        ("[1, 'a']", RefusalCode.TYPE, 4, "string in a list of int"),
        ("true ? 1 : 'a'", RefusalCode.TYPE, 5, "one side is int, the other string"),
        ("1 && true", RefusalCode.TYPE, 0, "expected bool, found int"),
        ("numbers['a']", RefusalCode.TYPE, 8, "expected int, found string"),
        ("claim['cost']", RefusalCode.TYPE, 5, "after a dot"),
        ("text[0]", RefusalCode.TYPE, 4, "has no items"),
        ("text.cost", RefusalCode.TYPE, 5, "string has no fields"),
        ("claim.__class__", RefusalCode.NAME, 6, "no field '__class__'"),
        ("__import__('os')", RefusalCode.NAME, 0, "unknown function"),
        ("claim.map(x, x)", RefusalCode.TYPE, 6, "goes through a list, not record"),
        ("size(claim)", RefusalCode.TYPE, 0, "has no size"),
        ("min(1)", RefusalCode.TYPE, 0, "takes 2 arguments instead of 1"),
        ("min(1, 'a')", RefusalCode.TYPE, 7, "wants int here instead of string"),
        ("{'a': 1} == {'b': 1}", RefusalCode.TYPE, 9, "does not take"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_remedy(
    source: str, code: RefusalCode, offset: int, words: str
) -> None:
    refusal = refusal_of(source)

    assert (refusal.code, refusal.offset) == (code, offset)
    assert words in str(refusal)


def test_a_caret_points_at_the_mistake() -> None:
    refusal = refusal_of("claim.cost *\n  claim.odo_kmm")

    assert str(refusal).startswith("line 2, column 9: no field 'odo_kmm'")
    assert refusal.caret == "    claim.odo_kmm\n          ^"


@pytest.mark.parametrize(
    "source",
    [
        "[" * 3_000,
        "(" * 100_000 + "1" + ")" * 100_000,
        "(" * 4_000 + "1" + ")" * 4_000,
        "{'a':" * 1_000 + "1" + "}" * 1_000,
        "!" * 5_000 + "true",
        "-(" * 2_000 + "1" + ")" * 2_000,
        "true ? 1 : " * 700 + "1",
        "+".join(["1"] * 4_000),
        "claim" + ".a" * 3_000,
        "numbers" + "[0]" * 2_000,
        "numbers" + ".map(x, x)" * 700,
        "min(" * 1_500 + "1",
        "a" * 100_000_000,
        "é" * 5_000,
        "[" + "1," * 3_000 + "1]",
        "'" + "\\u00e9" * 1_300,
        "9" * 8_000,
    ],
    ids=lambda source: f"{source[:12]}… {len(source)}",
)
def test_a_hostile_source_is_refused_fast(source: str) -> None:
    start_s = time.perf_counter()

    refusal_of(source)

    assert time.perf_counter() - start_s < 2.0  # 0.1 s, and a busy machine


def test_forty_levels_are_taken_and_one_more_is_not() -> None:
    assert evaluate("(" * (DEPTH_MAX - 1) + "1" + ")" * (DEPTH_MAX - 1)).value == 1
    assert refusal_of("(" * DEPTH_MAX + "1" + ")" * DEPTH_MAX).code is RefusalCode.LIMIT
    assert evaluate("+".join(["1"] * DEPTH_MAX)).value == DEPTH_MAX
    assert refusal_of("+".join(["1"] * (DEPTH_MAX + 1))).code is RefusalCode.LIMIT


def test_a_source_of_the_largest_size_is_taken_and_one_byte_more_is_not() -> None:
    longest = "'" + "x" * (SOURCE_SIZE_MAX - 2) + "'"

    assert evaluate(longest).value == "x" * (SOURCE_SIZE_MAX - 2)
    assert refusal_of(longest + " ").code is RefusalCode.LIMIT


def test_two_thousand_nodes_are_taken_and_more_are_not() -> None:
    assert len(evaluate("[" + ",".join(["1"] * 1_999) + "]").value or []) == 1_999  # type: ignore[arg-type]  # a list
    assert refusal_of("[" + ",".join(["1"] * 2_000) + "]").code is RefusalCode.LIMIT


def test_a_type_of_sixteen_levels_is_taken_and_one_more_is_not() -> None:
    assert evaluate("[" * 15 + "1" + "]" * 15).failure is None
    assert refusal_of("[" * 16 + "1" + "]" * 16).code is RefusalCode.LIMIT


def test_a_deep_value_that_steps_build_is_refused_where_it_grows_too_deep() -> None:
    """[x, x] of [x, x] of …: the value shares its parts, so only its type tells how deep it is."""
    made: Type = ListType(INT, 2)
    for _ in range(14):
        made = compile_expression("[v, v]", scope_of({"v": made})).type

    with pytest.raises(ExpressionRefused, match="nested too deep"):
        compile_expression("[v, v]", scope_of({"v": made}))


def test_a_record_that_doubles_with_every_step_is_refused() -> None:
    made: Type = record_type({"a": Field(INT), "b": Field(INT)})
    for _ in range(6):
        made = compile_expression("{'a': v, 'b': v}", scope_of({"v": made})).type

    with pytest.raises(ExpressionRefused, match="too large"):
        compile_expression("{'a': v, 'b': v}", scope_of({"v": made}))


@pytest.mark.parametrize("part", ["a", "a, b", "true ? a : b", "a == b", "{'r': a}"])
def test_large_types_that_meet_thousands_of_times_are_checked_fast(part: str) -> None:
    inner = {f"f{number}": Field(StringType(10)) for number in range(18)}
    wider = {f"f{number}": Field(StringType(11)) for number in range(18)}
    types: dict[str, Type] = {
        name: record_type({f"g{number}": Field(record_type(each)) for number in range(20)})
        for name, each in (("a", inner), ("b", wider))
    }
    source = "[" + ", ".join([part] * 400) + "]"
    start_s = time.perf_counter()

    compile_expression(source, scope_of(types))

    assert time.perf_counter() - start_s < 2.0  # 0.2 s, and a busy machine
