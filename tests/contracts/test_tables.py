"""Decision tables: cells, the first row that fits, and what the analysis finds, exactly."""

import itertools
import json
import random
import time
from typing import Any

import pytest

from lotmark_contracts.package.errors import PackageRefused
from lotmark_contracts.package.load_work import LoadWork
from lotmark_contracts.package.strict_json import parse_file
from lotmark_contracts.package.table import Table, read_table
from tests.contracts.random_expressions import announced_chance

CAUSES = ["burr", "crack", "porosity"]
CAUSE = {"name": "cause", "type": "string", "values": CAUSES}
SEVERITY = {"name": "severity", "type": "int", "range": "1..10"}
SAFE = {"name": "safe", "type": "bool"}


def table(inputs: list[Any], rows: list[Any], otherwise: Any = None) -> Table:
    document: dict[str, Any] = {
        "title": "t",
        "inputs": inputs,
        "outputs": [{"name": "share", "type": "int"}],
        "hit": "first",
        "rows": rows,
    }
    if otherwise is not None:
        document["else"] = otherwise
    return read_table("t", parse_file("tables/t.json", json.dumps(document).encode()), LoadWork())


def refusal(inputs: list[Any], rows: list[Any], otherwise: Any = None) -> str:
    with pytest.raises(PackageRefused) as caught:
        table(inputs, rows, otherwise)
    return str(caught.value)


@pytest.mark.parametrize(
    ("cell", "fitting"),
    [
        ("-", range(1, 11)),
        (7, [7]),
        ("7", [7]),
        (">= 7", [7, 8, 9, 10]),
        ("> 7", [8, 9, 10]),
        ("<= 2", [1, 2]),
        ("<3", [1, 2]),
        ("!= 5", [1, 2, 3, 4, 6, 7, 8, 9, 10]),
        ("3..6", [3, 4, 5, 6]),
        ("-5..2", [1, 2]),
        ("in 2, 9", [2, 9]),
    ],
)
def test_a_cell_of_an_integer_column(cell: object, fitting: list[int]) -> None:
    made = table([SEVERITY], [[cell, 1]], None if cell == "-" else [0])

    assert [n for n in range(1, 11) if made.decide([n])[0] == 1] == list(fitting)


@pytest.mark.parametrize(
    ("cell", "fitting"),
    [
        ("-", CAUSES),
        ("crack", ["crack"]),
        ("= crack", ["crack"]),
        ("!= crack", ["burr", "porosity"]),
        ("in burr, crack", ["burr", "crack"]),
    ],
)
def test_a_cell_of_an_enumerated_column(cell: str, fitting: list[str]) -> None:
    made = table([CAUSE], [[cell, 1]], None if cell == "-" else [0])

    assert [cause for cause in CAUSES if made.decide([cause])[0] == 1] == fitting


def test_a_text_that_looks_like_a_condition_is_written_behind_an_equals_sign() -> None:
    made = table([{"name": "sign", "type": "string"}], [["= -", 1], ["= in a", 2]], [0])

    assert [made.decide([text])[0] for text in ("-", "in a", "a")] == [1, 2, 0]


def test_a_cell_of_a_column_of_any_texts() -> None:
    made = table([{"name": "sign", "type": "string"}, SEVERITY], [["a", "-", 1], ["-", "-", 2]])

    assert [made.decide([text, 1])[0] for text in ("a", "b", "")] == [1, 2, 2]


@pytest.mark.parametrize("column", [SEVERITY, CAUSE, SAFE, {"name": "any", "type": "string"}])
def test_a_dash_fits_whatever_a_column_of_any_type_can_be(column: dict[str, Any]) -> None:
    possible: dict[str, Any] = {
        "severity": 5,
        "cause": "burr",
        "safe": False,
        "any": "(any other text)",
    }

    assert table([column], [["-", 1]]).decide([possible[column["name"]]])[0] == 1


def test_the_first_row_that_fits_decides() -> None:
    made = table([CAUSE, SEVERITY], [["burr", ">= 7", 9], ["burr", "-", 5], ["-", "-", 1]])

    assert made.decide(["burr", 7]) == (1, {"share": 9})
    assert made.decide(["burr", 6]) == (2, {"share": 5})
    assert made.decide(["crack", 6]) == (3, {"share": 1})


def test_a_value_that_its_column_does_not_list_fits_no_row() -> None:
    made = table([CAUSE, SEVERITY], [["-", "-", 1]])

    assert made.decide(["rust", 5]) == (0, None)
    assert made.decide(["burr", 11]) == (0, None)


@pytest.mark.parametrize(
    ("inputs", "rows", "otherwise", "words"),
    [
        ([SEVERITY], [["1..6", 1], [">= 8", 2]], None, "no row is for severity 7"),
        ([CAUSE], [["in burr, crack", 1]], None, "no row is for cause 'porosity'"),
        ([SAFE], [[True, 1]], None, "no row is for safe false"),
        ([CAUSE, SEVERITY], [["burr", "-", 1], ["-", "<= 9", 1]], None, "severity 10"),
        ([{"name": "n", "type": "int"}], [[">= 0", 1]], None, "n -9223372036854775808"),
        ([{"name": "s", "type": "string"}], [["a", 1]], None, "(any other text)"),
        ([SEVERITY], [["-", 1], [7, 2]], None, "row 2 never decides: all that fits it fits row 1"),
        ([SEVERITY], [["<= 5", 1], ["> 5", 2], [7, 3]], None, "row 3 never decides"),
        ([SEVERITY], [["<= 5", 1], ["> 5", 2]], [0], "'else' is never said"),
        ([SEVERITY], [[11, 1]], [0], "no severity is like that"),
        ([SEVERITY], [["6..3", 1]], [0], "is empty"),
        ([SEVERITY], [["seven", 1]], [0], "no whole number"),
        ([SEVERITY], [[True, 1]], [0], "expected a text"),
        ([CAUSE], [["crak", 1]], [0], "did you mean 'crack'?"),
        ([CAUSE], [["> burr", 1]], [0], "no order"),
        ([{**CAUSE, "values": ["burr"]}], [["!= burr", 1]], [0], "it is always 'burr'"),
        (
            [SEVERITY],
            [["<= 2", 1], ["3..4", 1], ["5..6", 1], ["7..8", 1], ["<= 8", 1]],
            [0],
            "all that fits it fits row 1 or 2 or 3 or another before it",
        ),
        ([SAFE], [["yes", 1]], [0], "expected true, false"),
        ([SEVERITY], [["-"]], None, "expected 2 cells instead of 1"),
        ([SEVERITY], [["-", "x"]], None, "share is int, not a text"),
        ([SEVERITY], [["-", True]], None, "share is int, not true or false"),
        ([SEVERITY, SEVERITY], [["-", "-", 1]], None, "one name"),
        ([{"name": "n", "type": "float"}], [["-", 1]], None, "int, string or bool"),
        ([{"name": "n", "type": "int", "values": ["a"]}], [["-", 1]], None, "has no 'values'"),
    ],
)
def test_a_table_with_a_mistake_is_refused_with_an_example(
    inputs: list[Any], rows: list[Any], otherwise: Any, words: str
) -> None:
    assert words in refusal(inputs, rows, otherwise)


def test_rows_that_overlap_are_named_with_an_example() -> None:
    made = table([CAUSE, SEVERITY], [["burr", ">= 7", 1], ["-", "5..8", 2]], [0])

    (overlap,) = made.overlaps
    assert (overlap.earlier, overlap.later) == (1, 2)
    assert overlap.example == "cause 'burr', severity 7"
    assert made.uncovered == "cause 'crack', severity 1"


def test_rows_that_cannot_be_analysed_in_time_are_refused() -> None:
    columns = [{"name": f"c{at}", "type": "int", "range": "0..9"} for at in range(11)]
    chance = random.Random(4)  # noqa: S311 - a seed makes it the same each time
    rows = [[*(f"!= {chance.randrange(10)}" for _ in columns), 1] for _ in range(200)]

    assert "too many ways" in refusal(columns, rows, [0])


def test_a_table_with_as_many_pieces_as_its_file_can_hold_is_analysed_fast() -> None:
    numbers = [", ".join(str(2 * (64 * row + at)) for at in range(64)) for row in range(256)]
    start_s = time.perf_counter()

    table([{"name": "n", "type": "int"}], [[f"in {each}", 1] for each in numbers], [0])
    table([{"name": "s", "type": "string"}], [[f"in {each}", 1] for each in numbers], [0])

    assert time.perf_counter() - start_s < 5.0  # a fifth of a second each, and a busy machine


def test_the_analysis_is_what_trying_all_inputs_says() -> None:
    chance = announced_chance()
    domains: list[list[Any]] = [CAUSES, list(range(1, 11)), [False, True]]
    for _ in range(300):
        rows = [
            [_text_cell(chance), _int_cell(chance), chance.choice(["-", "-", True, False]), number]
            for number in range(chance.randrange(1, 6))
        ]
        try:
            made = table([CAUSE, SEVERITY, SAFE], rows, [0])
            said = ""
        except PackageRefused as refused:
            said = str(refused)
        deciding: dict[int, int] = {}
        for inputs in itertools.product(*domains):
            number = _first(rows, list(inputs))
            deciding[number] = deciding.get(number, 0) + 1
        never = [number for number in range(1, len(rows) + 1) if number not in deciding]
        if never:
            assert f"row {never[0]} never decides" in said
        elif 0 not in deciding:
            assert "'else' is never said" in said
        else:
            assert said == ""
            assert made.uncovered


def _first(rows: list[Any], inputs: list[Any]) -> int:
    for number, row in enumerate(rows, 1):
        cells = zip([CAUSE, SEVERITY, SAFE], row, inputs, strict=False)
        if all(_fits(cell, value) for _, cell, value in cells):
            return number
    return 0


def _fits(cell: Any, value: Any) -> bool:
    """Say what a cell means, in other words than the package does."""
    if cell == "-" or isinstance(cell, bool):
        return cell == "-" or cell is value
    if isinstance(value, int):
        low, _, high = cell.partition("..")
        return int(low) <= value <= int(high)
    return value != cell[3:] if cell.startswith("!= ") else value in cell


def _text_cell(chance: random.Random) -> str:
    return chance.choice(["-", "-", *CAUSES, "!= burr", "in burr, crack"])


def _int_cell(chance: random.Random) -> str:
    least = chance.randrange(1, 11)
    return chance.choice(["-", f"{least}..{chance.randrange(least, 11)}"])
