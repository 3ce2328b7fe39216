"""The cells of a decision table: which values of its column a row is for."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from lotmark_contracts.package.json_node import Node
from lotmark_contracts.suggestion import suggest
from lotmark_contracts.wcel.lexer import INT_MAX, INT_MIN
from lotmark_contracts.wcel.types import BOOL, INT, Type, string_type
from lotmark_contracts.wcel.values import Value

ANY_VALUE: Final = "-"
LISTED_MAX = 64  # values of an enumerated column, or behind "in"
TEXT_LENGTH_MAX = 256

_RANGE = re.compile(r"(-?[0-9]{1,19}) *\.\. *(-?[0-9]{1,19})")
_COMPARED = re.compile(r"(<=|>=|<|>|!=|=) *(.*)", re.DOTALL)
_INTEGER = re.compile(r"-?[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Column:
    """An input of a table, and which values it may have."""

    name: str
    type: Type
    values: tuple[str, ...] = ()  # of an enumerated text; empty: any text
    least: int = INT_MIN
    most: int = INT_MAX


@dataclass(frozen=True, slots=True)
class Cell:
    """A condition on one value: ranges of integers, or texts or truth values, or all but these."""

    ranges: tuple[tuple[int, int], ...] = ()  # both ends included
    listed: frozenset[str | bool] = frozenset()
    is_negated: bool = False

    def holds(self, value: Value) -> bool:
        """Return whether the condition holds for a value of the column's type."""
        if isinstance(value, bool) or not isinstance(value, int):
            return (value in self.listed) is not self.is_negated
        return any(least <= value <= most for least, most in self.ranges)

    def test(self) -> Callable[[Value], bool]:
        """Return the quickest function that says the same as `holds`."""
        if len(self.ranges) == 1:
            ((least, most),) = self.ranges
            return lambda value: least <= value <= most  # type: ignore[operator]  # an int
        if self.listed and not self.is_negated:
            return self.listed.__contains__
        return self.holds


def read_column(node: Node) -> Column:
    """Return an input of a table."""
    fields = node.fields(("name", "type"), ("values", "range"))
    name, type_name = fields["name"].name(), fields["type"].text()
    if type_name == "bool":
        _only(fields, {"name", "type"}, "bool")
        return Column(name, BOOL)
    if type_name == "int":
        _only(fields, {"name", "type", "range"}, "int")
        least, most = _range(fields["range"]) if "range" in fields else (INT_MIN, INT_MAX)
        return Column(name, INT, least=least, most=most)
    if type_name == "string":
        _only(fields, {"name", "type", "values"}, "string")
        values: tuple[str, ...] = ()
        if "values" in fields:
            nodes = fields["values"].items(LISTED_MAX, count_min=1)
            values = tuple(each.text(TEXT_LENGTH_MAX) for each in nodes)
            if len(set(values)) < len(values):
                raise fields["values"].refused("a value is listed twice")
        return Column(name, string_type(TEXT_LENGTH_MAX), values)
    raise fields["type"].refused("the type of a column is int, string or bool")


def read_cell(node: Node, column: Column) -> Cell:
    """Return the condition that a cell is."""
    if node.content == ANY_VALUE:
        # Of what the column says it can be: nothing fits a value that it cannot be.
        if column.values:
            return Cell(listed=frozenset(column.values))
        if column.type == INT:
            return Cell(ranges=((column.least, column.most),))
        return Cell(is_negated=True)
    if column.type == INT:
        return Cell(_integer_ranges(node, column))
    if column.type == BOOL:
        if not isinstance(node.content, bool):
            raise node.refused(f'expected true, false or "-" instead of {node.kind}')
        return Cell(listed=frozenset({node.content}))
    return _text_cell(node, column)


def _integer_ranges(node: Node, column: Column) -> tuple[tuple[int, int], ...]:
    if isinstance(node.content, int) and not isinstance(node.content, bool):
        return _within(node, [(node.content, node.content)], column)
    text = node.text(1_000).strip(" ")
    if text.startswith("in "):
        numbers = sorted({_number(node, each) for each in _listed(node, text)})
        return _within(node, [(each, each) for each in numbers], column)
    if match := _RANGE.fullmatch(text):
        least, most = _number(node, match[1]), _number(node, match[2])
        if least > most:
            raise node.refused(f"the range {text!r} is empty")
        return _within(node, [(least, most)], column)
    if match := _COMPARED.fullmatch(text):
        return _within(node, _compared(match[1], _number(node, match[2])), column)
    number = _number(node, text)
    return _within(node, [(number, number)], column)


def _compared(sign: str, number: int) -> list[tuple[int, int]]:
    match sign:
        case "<":
            return [(INT_MIN, number - 1)]
        case "<=":
            return [(INT_MIN, number)]
        case ">":
            return [(number + 1, INT_MAX)]
        case ">=":
            return [(number, INT_MAX)]
        case "!=":
            return [(INT_MIN, number - 1), (number + 1, INT_MAX)]
        case _:
            return [(number, number)]


def _within(
    node: Node, ranges: list[tuple[int, int]], column: Column
) -> tuple[tuple[int, int], ...]:
    """Cut ranges to what the column can be; a cell for which nothing is left is a mistake."""
    cut = [(max(least, column.least), min(most, column.most)) for least, most in ranges]
    kept = tuple((least, most) for least, most in cut if least <= most)
    if not kept:
        raise node.refused(
            f"no {column.name} is like that: it goes from {column.least:,} to {column.most:,}"
        )
    return kept


def _text_cell(node: Node, column: Column) -> Cell:
    text = node.text(1_000)
    is_negated = False
    if text.startswith("in "):
        listed = _listed(node, text)
    elif match := _COMPARED.fullmatch(text):
        if match[1] not in ("=", "!="):
            raise node.refused("texts have no order here: use a text, 'in a, b', '= a' or '!= a'")
        is_negated, listed = match[1] == "!=", [match[2]]
    else:
        listed = [text]
    for each in listed:
        if column.values and each not in column.values:
            raise node.refused(f"{each[:40]!r} is no {column.name}{suggest(each, column.values)}")
    if is_negated and column.values:
        others = frozenset(column.values) - frozenset(listed)
        if not others:
            raise node.refused(f"no {column.name} is like that: it is always {listed[0]!r}")
        return Cell(listed=others)
    return Cell(listed=frozenset(listed), is_negated=is_negated)


def _listed(node: Node, text: str) -> list[str]:
    listed = [each.strip(" ") for each in text.removeprefix("in ").split(",")]
    if len(listed) > LISTED_MAX or not all(listed):
        raise node.refused(f"'in' is followed by 1 to {LISTED_MAX} values with commas between")
    return listed


def _number(node: Node, text: str) -> int:
    if not _INTEGER.fullmatch(text) or not INT_MIN <= int(text) <= INT_MAX:
        raise node.refused(
            f"{text[:40]!r} is no whole number;"
            " a cell is a number, '-', '>= 7', '3..6' or 'in 1, 2'"
        )
    return int(text)


def _range(node: Node) -> tuple[int, int]:
    match = _RANGE.fullmatch(node.text(60))
    if match is None:
        raise node.refused("a range is written as '1..10', both ends included")
    least, most = _number(node, match[1]), _number(node, match[2])
    if least > most:
        raise node.refused("the range is empty")
    return least, most


def _only(fields: Mapping[str, Node], known: set[str], type_name: str) -> None:
    for name, node in fields.items():
        if name not in known:
            raise node.refused(f"a column of type {type_name} has no {name!r}")
