"""A package's JSON means one thing, or is refused with its place."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lotmark_contracts.package.errors import PackageRefused, Problem
from lotmark_contracts.package.strict_json import DEPTH_MAX, FILE_SIZE_MAX, parse_file


def problem_of(text: str | bytes) -> Problem:
    with pytest.raises(PackageRefused) as caught:
        parse_file("rules/a.json", text.encode() if isinstance(text, str) else text)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ('{"a": 1, "a": 2}', 1, 10, "there twice"),
        ('{\n "a": 1.5\n}', 2, 7, "no whole number"),
        ('{"a": 1e2}', 1, 7, "no whole number"),
        ('{"a": 1E2}', 1, 7, "no whole number"),
        ('{"a": 9223372036854775808}', 1, 7, "64 bits"),
        ('{"a": ' + "9" * 5_000 + "}", 1, 7, "64 bits"),
        ('{"a": null}', 1, 7, "no null"),
        ('{"a": NaN}', 1, 7, "expected a value"),
        ('{"a": "\\ud800"}', 1, 7, "surrogate"),
        ('{"a": "\\udc00\\ud800"}', 1, 7, "surrogate"),
        ('{"a": "x}', 1, 7, "does not end"),
        ('{"a": "x\ny"}', 1, 7, "does not end"),
        ('{"a": "\\q"}', 1, 8, "unknown escape"),
        ('{"a": "\\u12"}', 1, 8, "unknown escape"),
        ('{"a" 1}', 1, 6, "expected ':'"),
        ('{"a": 1 "b": 2}', 1, 9, "expected ',' or '}'"),
        ("[1 2]", 1, 4, "expected ',' or ']'"),
        ("[1,]", 1, 4, "expected a value"),
        ("{'a': 1}", 1, 2, "expected a key"),
        ("{} {}", 1, 4, "goes on"),
        ("", 1, 1, "expected a value"),
        ("[-]", 1, 2, "a number is missing"),
        ("[01]", 1, 3, "expected ',' or ']'"),
        ("\ufeff{}", 1, 1, "expected a value"),
        ("[" * 200_000, 1, DEPTH_MAX + 1, "nested deeper"),
        ('{"a":' * 30_000, 1, 5 * DEPTH_MAX + 1, "nested deeper"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_at_its_place(
    text: str, line: int, column: int, words: str
) -> None:
    problem = problem_of(text)

    assert problem.position is not None
    assert (problem.position.line, problem.position.column) == (line, column)
    assert words in problem.reason
    assert str(problem).startswith(f"rules/a.json:{line}:{column}: ")


def test_a_file_that_is_no_utf_8_or_too_large_is_refused() -> None:
    assert "no UTF-8" in problem_of(b'{"a": "\xff"}').reason
    assert "no UTF-8" in problem_of(b'"\xed\xa0\x80"').reason  # a surrogate in UTF-8
    assert "at most" in problem_of(b" " * (FILE_SIZE_MAX + 1)).reason


_VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES, st.booleans())
def test_what_is_taken_is_read_as_pythons_own_reader_does(value: object, ascii_only: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only, indent=1).encode()
    assume(depth(value) <= DEPTH_MAX)

    assert parse_file("a.json", data).plain() == value


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 1


@given(st.text(alphabet='{}[],:"\\ \n01-.eutrfalsn'))
def test_what_pythons_own_reader_refuses_is_refused(text: str) -> None:
    try:
        node = parse_file("a.json", text.encode())
    except PackageRefused:
        return

    assert json.loads(text) == node.plain()


def test_a_place_in_a_text_is_found_behind_escapes() -> None:
    node = parse_file("a.json", b'"\\u00e9\\ud83d\\ude00\\n x"')

    with pytest.raises(PackageRefused) as caught:
        raise node.refused("here", at=4)

    (problem,) = caught.value.problems
    assert problem.position is not None
    assert problem.caret.splitlines()[0][problem.position.column + 1] == "x"
