"""A value from outside is of its type and within its bounds, or is refused with its place."""

from typing import Any

import pytest

from lotmark_contracts.package.value_check import ValueRefused, value_check
from lotmark_contracts.wcel.errors import ExpressionRefused, RefusalCode
from lotmark_contracts.wcel.type_text import read_type
from lotmark_contracts.wcel.types import Field, Type, described, record_type

NAMED: dict[str, Type] = {
    "sample": record_type(
        {"value": Field(read_type("int", {})), "note": Field(read_type("string(3)", {}), True)}
    )
}


@pytest.mark.parametrize(
    ("type_text", "value"),
    [
        ("int", -(2**63)),
        ("bool", False),
        ("string(3)", "é😀x"),
        ("list(int, 2)", []),
        ("list(int, 2)", [1, 2]),
        ("map(int, 2)", {}),
        ("map(list(bool), 2)", {"a": [True], "b": []}),
        ("sample", {"value": 1}),
        ("sample", {"note": "abc", "value": 1}),
    ],
)
def test_a_value_of_the_type_is_taken(type_text: str, value: Any) -> None:
    value_check(read_type(type_text, NAMED))(value)


@pytest.mark.parametrize(
    ("type_text", "value", "path"),
    [
        ("int", True, ""),
        ("int", 1.0, ""),
        ("int", 2**63, ""),
        ("int", "1", ""),
        ("bool", 1, ""),
        ("bool", None, ""),
        ("string(3)", "abcd", ""),
        ("string(3)", b"abc", ""),
        ("string(3)", "\udc00", ""),
        ("list(int, 2)", [1, 2, 3], ""),
        ("list(int, 2)", (1, 2), ""),
        ("list(int, 2)", [1, "2"], "[1]"),
        ("list(list(int, 2))", [[], [1, None]], "[1][1]"),
        ("map(int, 2)", {"a": 1, "b": 2, "c": 3}, ""),
        ("map(int, 2)", {1: 1}, ""),
        ("map(int, 2)", {"a": "1"}, "[…]"),
        ("map(int, 2)", {"a" * 257: 1}, "[…]"),
        ("map(int, 2)", [("a", 1)], ""),
        ("sample", {}, ".value"),
        ("sample", {"value": 1, "note": "abcd"}, ".note"),
        ("sample", {"value": 1, "other": 1}, ""),
        ("sample", [1], ""),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(
    type_text: str, value: Any, path: str
) -> None:
    with pytest.raises(ValueRefused) as caught:
        value_check(read_type(type_text, NAMED))(value)

    assert caught.value.path == path


@pytest.mark.parametrize(
    ("text", "code", "offset"),
    [
        ("", RefusalCode.NAME, 0),
        ("strnig", RefusalCode.NAME, 0),
        ("list", RefusalCode.NAME, 0),
        ("list()", RefusalCode.NAME, 5),
        ("list(int", RefusalCode.SYNTAX, 8),
        ("list(int, 2", RefusalCode.SYNTAX, 11),
        ("list(int, 0)", RefusalCode.LIMIT, 10),
        ("list(int, x)", RefusalCode.LIMIT, 10),
        ("map(int, 257)", RefusalCode.LIMIT, 9),
        ("string(4097)", RefusalCode.LIMIT, 7),
        ("int int", RefusalCode.SYNTAX, 4),
        ("int(3)", RefusalCode.SYNTAX, 3),
        ("list(" * 17 + "int" + ")" * 17, RefusalCode.LIMIT, 80),
        ("list(" * 5_000, RefusalCode.LIMIT, 0),
    ],
)
def test_a_text_that_is_no_type_is_refused_with_its_place(
    text: str, code: RefusalCode, offset: int
) -> None:
    with pytest.raises(ExpressionRefused) as caught:
        read_type(text, NAMED)

    assert (caught.value.code, caught.value.offset) == (code, offset)


def test_bounds_that_are_not_written_are_the_documented_ones() -> None:
    assert read_type("string", {}) == read_type("string(256)", {})
    assert read_type("list(int)", {}) == read_type("list(int, 64)", {})
    assert read_type("map(int)", {}) == read_type("map(int, 64)", {})


def test_types_are_called_as_people_write_them() -> None:
    told = [described(read_type(text, NAMED)) for text in ("list(sample, 3)", "map(bool)")]

    assert told == ["list(record(note?, value))", "map(bool)"]
