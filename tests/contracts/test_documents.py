"""docs/wcel.md and docs/contracts.md say what the code does, and their examples are sound."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lotmark_contracts.execution import offline_block
from lotmark_contracts.execution.failures import ExecutionCode
from lotmark_contracts.package import cells, load_work, manifest, package, strict_json, table
from lotmark_contracts.package.package import load_package
from lotmark_contracts.scenarios import scenario_runner
from lotmark_contracts.scenarios.scenario_runner import run_scenarios
from lotmark_contracts.wcel import parser, type_text, types
from lotmark_contracts.wcel.errors import FailureCode
from lotmark_contracts.wcel.functions import FUNCTIONS
from lotmark_contracts.wcel.lexer import SOURCE_SIZE_MAX
from tests.contracts.packages import template_files
from tests.contracts.test_wcel_corpus import CASES_COUNT

DOCS = Path(__file__).parents[2] / "docs"
WCEL = (DOCS / "wcel.md").read_text()
CONTRACTS = (DOCS / "contracts.md").read_text()
FUNCTION_ROW = re.compile(r"^\| (`.*?`) \|.*\| ([0-9 +nc]+) \|$", re.MULTILINE)


def test_every_function_is_specified_with_its_gas() -> None:
    told: dict[str, str] = {}
    for names, gas in FUNCTION_ROW.findall(WCEL):
        for name in re.findall(r"`(?:\w+\.)?(\w+)\(", names):
            told[name] = gas

    expected = {"size": "0"}
    for name, function in FUNCTIONS.items():
        items = {0: "", 1: " + n"}.get(function.item_gas, f" + {function.item_gas}n")
        expected[name] = f"{function.gas}{items}{' + c' if function.compares_text else ''}"
    assert told == expected


@pytest.mark.parametrize("code", FailureCode)
def test_every_failure_of_an_expression_is_named(code: FailureCode) -> None:
    assert f"`{code}`" in WCEL


@pytest.mark.parametrize("code", ExecutionCode)
def test_every_failure_of_a_rule_is_named(code: ExecutionCode) -> None:
    assert f"| `{code}` |" in CONTRACTS


@pytest.mark.parametrize(
    ("page", "bound", "unit"),
    [
        (WCEL, SOURCE_SIZE_MAX, "bytes"),
        (WCEL, parser.DEPTH_MAX, "levels"),
        (WCEL, parser.NODES_MAX, "nodes"),
        (WCEL, types.TYPE_DEPTH_MAX, "levels"),
        (WCEL, types.TYPE_NODES_MAX, "nodes"),
        (WCEL, types.LENGTH_MAX, "characters or items"),
        (WCEL, type_text.STRING_MAX, "at most"),
        (WCEL, type_text.LIST_MAX, "at most"),
        (WCEL, type_text.MAP_MAX, "at most"),
        (WCEL, CASES_COUNT, "expressions"),
        (CONTRACTS, strict_json.DEPTH_MAX, "levels"),
        (CONTRACTS, package.FILES_MAX, "files"),
        (CONTRACTS, table.ROWS_MAX, "rows"),
        (CONTRACTS, load_work.WORK_MAX, "units"),
        (CONTRACTS, package.SIZE_MAX // 1_024, "KiB together"),
        (CONTRACTS, table.COLUMNS_MAX, "inputs"),
        (CONTRACTS, scenario_runner.TESTS_STEPS_MAX, "steps"),
        (CONTRACTS, scenario_runner.TESTS_GAS_MAX, "gas"),
        (CONTRACTS, offline_block.TIMERS_MAX, "fire in a block"),
    ],
)
def test_bounds_are_those_of_the_code(page: str, bound: int, unit: str) -> None:
    assert f"{bound:,} {unit}" in page


def test_limits_of_a_rule_are_those_of_the_code() -> None:
    assert f"`gas` ({manifest.GAS_MAX:,}) and `effects` ({manifest.EFFECTS_MAX})" in CONTRACTS
    assert cells.ANY_VALUE == "-"


def test_the_examples_of_the_page_make_a_package_whose_test_passes() -> None:
    rule, decision_table, test = map(json.loads, re.findall(r"```json\n(.*?)```", CONTRACTS, re.S))
    files: dict[str, Any] = template_files()
    files["rules/credit.json"] = json.dumps(rule).encode()
    files["tables/share.json"] = json.dumps(decision_table).encode()
    files["tests/credit.json"] = json.dumps(test).encode()

    (result,) = run_scenarios(load_package(files), files)

    assert result.problems == ()
    assert result.checks > 5
