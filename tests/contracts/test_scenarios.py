"""Tests inside packages: what does not come true is told at its place in the file."""

from typing import Any

import pytest

from lotmark_contracts.money import shown_amount
from lotmark_contracts.package.package import load_package
from lotmark_contracts.scenarios.scenario_runner import ScenarioResult, run_scenarios
from tests.contracts.packages import Files, changed, replaced, template_files

TEST = "tests/credit.json"


def result_of(files: Files) -> ScenarioResult:
    (result,) = run_scenarios(load_package(files), files)
    return result


def test_a_test_that_holds_has_no_problems() -> None:
    result = result_of(template_files())

    assert result.problems == ()
    assert result.checks == 11


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"due": 1667', '"due": 1668', "credit.due: expected 1668, and it is 1667"),
        ('-1667, "EUR oem', '-1, "EUR oem', "expected -1, and it is -16.67 EUR"),
        ('"credit": "duplicate"', '"credit": "done"', "expected 'done', and it is 'duplicate'"),
        ('"alerts": 1', '"alerts": 2', "alerts: expected 2, and it is 1"),
        ('"cause": "burr"', '"cause": 1', "and it is 'failed input at event.cause'"),
        ('"credit": "duplicate"', '"crdit": "duplicate"', "did you mean 'credit'?"),
        ('"due": 1667', '"deu": 1667', "did you mean 'due'?"),
        ('"EUR oem:OEM-A"', '"EUR OEM-A"', "is no account"),
        ('"EUR oem:OEM-A"', '"EUX oem:OEM-A"', "is no account"),
        ('"now": 1766448000000', '"now": 1766448060001', "ledger time never goes back"),
        ('"expect"', '"expects"', "did you mean 'expect'?"),
        ('"now": 1766448000000', '"now": "today"', "expected a whole number"),
    ],
)
def test_what_does_not_come_true_is_told_at_its_place(old: str, new: str, words: str) -> None:
    files = replaced(template_files(), TEST, old, new)

    problem = result_of(files).problems[0]

    assert words in problem.reason
    assert problem.path == TEST
    assert problem.position is not None
    assert "^" in problem.caret


def test_a_receipt_that_nobody_expects_is_a_problem() -> None:
    def silent(test: Any) -> None:
        test["steps"] = test["steps"][:1]
        test["steps"][0]["expect"] = {"receipts": {}}

    (problem,) = result_of(changed(template_files(), TEST, silent)).problems

    assert "credit has a receipt that is not expected: done" in problem.reason


def test_a_receipt_that_is_missing_is_a_problem() -> None:
    def quiet(test: Any) -> None:
        test["steps"] = test["steps"][:1]
        test["steps"][0]["data"]["pieces"] = 0
        test["steps"][0]["expect"] = {"receipts": {"credit": "done"}}

    (problem,) = result_of(changed(template_files(), TEST, quiet)).problems

    assert "receipt of credit: expected 'done', and it is 'none'" in problem.reason


def test_a_step_too_large_for_a_receipt_is_said_to_be_so() -> None:
    files = changed(
        template_files(),
        "rules/credit.json",
        lambda rule: rule["let"].append({"many": "[" + ", ".join("0" * 100) + "]"}),
    )

    def expecting(test: Any) -> None:
        test["steps"][0]["expect"]["because"]["credit"]["many"] = [0]

    problem = result_of(changed(files, TEST, expecting)).problems[0]

    assert "credit.many: expected [0], and it is larger than a receipt keeps" in problem.reason


def test_values_that_are_kept_can_be_expected() -> None:
    def keeping(test: Any) -> None:
        test["steps"][0]["expect"]["state"] = {"credited": {"T1-STATOR": 1_667, "T2": 0}}

    assert result_of(changed(template_files(), TEST, keeping)).problems == ()


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (123_405, "EUR", "1,234.05 EUR"),
        (-5, "EUR", "-0.05 EUR"),
        (500, "JPY", "500 JPY"),
        (1_234, "KWD", "1.234 KWD"),
        (7, "XXX", "7 minor units of XXX"),
    ],
)
def test_amounts_are_shown_with_the_decimals_of_their_currency(
    minor: int, currency: str, shown: str
) -> None:
    assert shown_amount(minor, currency) == shown
