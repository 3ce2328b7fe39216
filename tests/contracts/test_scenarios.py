"""Tests inside packages: what does not come true is told at its place in the file."""

from typing import Any

import pytest

from lotmark_contracts.money import shown_amount
from lotmark_contracts.package.package import load_package
from lotmark_contracts.scenarios.scenario_runner import (
    TESTS_GAS_MAX,
    TESTS_STEPS_MAX,
    ScenarioResult,
    run_scenarios,
)
from tests.contracts.packages import Files, added, changed, replaced, template_files
from tests.contracts.test_timers import HOUR_MS, timer_files

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


def silence_files(*steps: Any, **changes: Any) -> Files:
    """Return the package in which silence is consent, with a test of these steps."""
    test = {"title": "Silence", "steps": list(steps), **changes}
    return added(timer_files(), "tests/silence.json", test)


def bill(claim: str, now: int = 0, expect: Any = None) -> Any:
    expected = expect or {"receipts": {"bill": "done"}}
    data = {"claim": claim, "minor": 7}
    return {"event": "bill", "author": "OEM-A", "now": now, "data": data, "expect": expected}


def waiting(until: int, receipts: Any, **expect: Any) -> Any:
    return {"wait_until": until, "expect": {"receipts": receipts, **expect}}


def test_a_step_may_wait_until_timers_are_due() -> None:
    files = silence_files(
        bill("C"),
        waiting(HOUR_MS - 1, {}),
        waiting(HOUR_MS, {"consent": "done"}, state={"agreed": {"C": 7}}),
        waiting(HOUR_MS, {}),
    )

    assert result_of(files).problems == ()


def test_what_is_due_fires_before_the_event_of_a_step() -> None:
    both = {"receipts": {"bill": "done", "consent": "done"}, "state": {"agreed": {"C": 7, "D": 0}}}
    files = silence_files(bill("C"), bill("D", HOUR_MS, both))

    assert result_of(files).problems == ()


def test_several_receipts_of_a_rule_are_expected_in_a_list() -> None:
    files = silence_files(bill("C"), bill("D"), waiting(HOUR_MS, {"consent": ["done", "done"]}))
    assert result_of(files).problems == ()

    (problem,) = result_of(
        silence_files(bill("C"), bill("D"), waiting(HOUR_MS, {"consent": "done"}))
    ).problems
    assert "expected 'done', and it is ['done', 'done']" in problem.reason
    (problem,) = result_of(silence_files(bill("C"), bill("D"), waiting(HOUR_MS, {}))).problems
    assert "consent has a receipt that is not expected: done, done" in problem.reason


def test_at_most_64_timers_fire_in_a_step() -> None:
    bills = [bill(f"C{number}") for number in range(65)]
    files = silence_files(
        *bills,
        waiting(HOUR_MS, {"consent": ["done"] * 64}),
        waiting(HOUR_MS, {"consent": "done"}),
        waiting(HOUR_MS, {}),
    )

    assert result_of(files).problems == ()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"wait_until": -1, "expect": {"receipts": {}}}, "expected a number from 0"),
        ({"wait_until": 9, "now": 9, "expect": {"receipts": {}}}, "unknown field 'now'"),
        ({"wait_until": 9}, "'expect' is missing"),
        ({"wait_until": 4, "expect": {"receipts": {}}}, "ledger time never goes back"),
    ],
)
def test_a_step_that_waits_wrongly_is_refused_at_its_place(step: Any, words: str) -> None:
    (problem,) = result_of(silence_files(bill("C", 5), step)).problems

    assert words in problem.reason
    assert problem.position is not None


def test_a_guard_that_refuses_is_all_that_becomes_of_an_event() -> None:
    guard = {
        "title": "Of known claims alone",
        "guard": True,
        "on": "bill",
        "refuse": [{"if": "event.claim == 'no'", "reason": "UNKNOWN"}],
    }
    refused = {"receipts": {"known": "refused UNKNOWN"}}
    files = silence_files(bill("no", expect=refused), bill("yes"))
    files = added(files, "rules/known.json", guard)
    files = changed(files, "manifest.json", lambda manifest: manifest["rules"].append("known"))

    assert result_of(files).problems == ()


def test_who_has_approved_may_be_said_and_others_are_not_bound() -> None:
    accounts = {"supplier": ["debit", "party"], "oem": ["credit", "party"]}
    files = changed(template_files(), "manifest.json", lambda m: m.update(accounts=accounts))
    parties = [{"id": "OEM-A", "role": "oem"}, {"id": "T1-STATOR", "role": "supplier"}]

    def problems(**told: Any) -> list[str]:
        said = changed(files, TEST, lambda test: test.update(parties=parties, **told))
        return [problem.reason for problem in result_of(said).problems]

    assert problems() == []
    assert problems(approved_by=["OEM-A", "T1-STATOR"]) == []
    assert "failed not_bound at then[2].from" in problems(approved_by=["OEM-A"])[0]
    (unknown,) = problems(approved_by=["OEM-B"])
    assert "'OEM-B' is no party; did you mean 'OEM-A'?" in unknown


def test_all_tests_together_have_so_many_steps_and_no_more() -> None:
    steps = [waiting(0, {}) for _ in range(500)]
    files = timer_files()
    for number in range(5):
        test = {"title": "Waits", "steps": steps[: 500 if number < 4 else 1]}
        files = added(files, f"tests/t{number}.json", test)

    results = run_scenarios(load_package(files), files)

    assert [len(result.problems) for result in results] == [0, 0, 0, 0, 1]
    (problem,) = results[4].problems
    assert f"more than {TESTS_STEPS_MAX:,} steps" in problem.reason
    assert problem.position is not None


def test_the_gas_of_all_tests_together_is_bounded() -> None:
    """As a class: dear events, each within what a rule and a block may cost."""
    expression = "sum(event.many.map(a, sum(event.many.map(b, a * b))))"
    rule = {
        "title": "Dear",
        "on": "dear",
        "once": "string(height)",
        "let": [{"total": expression}],
        "then": [{"alert": "'x'", "level": "info"}],
    }
    manifest = {
        "events": {"dear": {"many": "list(int, 50)"}},
        "rules": [f"r{n}" for n in range(20)],
    }
    files = changed(template_files(), "manifest.json", lambda document: document.update(manifest))
    del files["rules/credit.json"], files[TEST]
    for number in range(20):
        files = added(files, f"rules/r{number}.json", rule)
    receipts = {f"r{number}": "done" for number in range(20)}
    step = {
        "event": "dear",
        "now": 0,
        "data": {"many": [1] * 50},
        "expect": {"receipts": receipts},
    }
    for number in range(2):
        files = added(files, f"tests/t{number}.json", {"title": "Dear", "steps": [step] * 100})

    results = run_scenarios(load_package(files), files)

    problems = [problem for result in results for problem in result.problems]
    assert problems
    assert f"more than {TESTS_GAS_MAX:,} gas" in problems[-1].reason
    assert problems[-1].position is not None


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
