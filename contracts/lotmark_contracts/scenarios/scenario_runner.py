"""Runs the tests inside a package, each from an empty state."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lotmark_contracts.execution.inputs import Circumstances
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.receipt import IssuedWorkOrder, RaisedAlert, RuleReceipt, Status
from lotmark_contracts.execution.rule_book import RuleBook
from lotmark_contracts.execution.state_keys import state_key
from lotmark_contracts.money import shown_amount
from lotmark_contracts.package.errors import PackageRefused, Problem
from lotmark_contracts.package.json_node import Node
from lotmark_contracts.package.package import Package
from lotmark_contracts.package.package_hash import TESTS_FOLDER
from lotmark_contracts.package.strict_json import parse_file
from lotmark_contracts.scenarios.scenario import EXPECTED_MAX, Scenario, Step, read_scenario
from lotmark_contracts.suggestion import suggest
from lotmark_contracts.wcel.currencies import EXPONENTS

_SHOWN_MAX = 120  # characters of a value in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """What became of a test."""

    path: str
    title: str
    checks: int  # expectations that were looked at
    problems: tuple[Problem, ...]  # of those that did not come true, or the test's own mistake


def run_scenarios(package: Package, files: Mapping[str, bytes]) -> tuple[ScenarioResult, ...]:
    """Return what became of all tests among a package's files, by path."""
    return tuple(
        _run(package, path, files[path]) for path in sorted(files) if path.startswith(TESTS_FOLDER)
    )


def _run(package: Package, path: str, data: bytes) -> ScenarioResult:
    try:
        scenario = read_scenario(parse_file(path, data))
        return _Run(package, scenario).result()
    except PackageRefused as refused:
        return ScenarioResult(path=path, title="", checks=0, problems=refused.problems)


class _Run:
    def __init__(self, package: Package, scenario: Scenario) -> None:
        self._package = package
        self._scenario = scenario
        self._rules = RuleBook([package])
        self._state = MemoryState()
        self._checks = 0
        self._problems: list[Problem] = []

    def result(self) -> ScenarioResult:
        """Execute every step, and compare."""
        for number, step in enumerate(self._scenario.steps, 1):
            circumstances = Circumstances(
                now_ms=step.now_ms, height=number, parties=self._scenario.parties
            )
            outcomes = self._rules.execute(step.event, circumstances, self._state.read)
            for outcome in outcomes:
                self._state.write(outcome.writes)
            assert not any(self._state.sums(self._package.name).values()), "accounts sum to zero"
            self._compare(step, [outcome.receipt for outcome in outcomes])
        return ScenarioResult(
            path=self._scenario.path,
            title=self._scenario.title,
            checks=self._checks,
            problems=tuple(self._problems),
        )

    def _compare(self, step: Step, receipts: Sequence[RuleReceipt]) -> None:
        expected = step.expected
        before = len(self._problems)
        self._expect_receipts(expected["receipts"], receipts)
        if len(self._problems) > before:
            return  # the rest follows from the receipts, and would only repeat that
        if "because" in expected:
            self._expect_because(expected["because"], receipts)
        if "balances" in expected:
            self._expect_balances(expected["balances"])
        if "state" in expected:
            self._expect_state(expected["state"])
        notices = [notice for receipt in receipts for notice in receipt.notices]
        for name, kind in (("alerts", RaisedAlert), ("work_orders", IssuedWorkOrder)):
            if name in expected:
                count = sum(isinstance(notice, kind) for notice in notices)
                self._expect(expected[name], name, count)

    def _expect_receipts(self, node: Node, receipts: Sequence[RuleReceipt]) -> None:
        got = {receipt.rule: _status(receipt) for receipt in receipts}
        members = node.members(EXPECTED_MAX)
        _check_known(members, [rule.name for rule in self._package.rules], "rule")
        for rule, each in members.items():
            self._expect(each, f"receipt of {rule}", got.pop(rule, "none"))
        for rule, status in got.items():
            self._checks += 1
            self._problems.extend(
                node.refused(f"{rule} has a receipt that is not expected: {status}").problems
            )

    def _expect_because(self, node: Node, receipts: Sequence[RuleReceipt]) -> None:
        steps = {
            receipt.rule: {reason.step: reason.value for reason in receipt.because}
            for receipt in receipts
        }
        for rule, each in node.members(EXPECTED_MAX).items():
            if rule not in steps:
                raise each.refused(f"{rule[:40]!r} has no receipt here{suggest(rule, steps)}")
            members = each.members(EXPECTED_MAX)
            _check_known(members, steps[rule], "step")
            for name, value in members.items():
                got = steps[rule][name]
                shown = "" if got is not None else "larger than a receipt keeps"
                self._expect(value, f"{rule}.{name}", got, shown=shown)

    def _expect_balances(self, node: Node) -> None:
        balances = self._state.balances(self._package.name)
        for name, each in node.members(EXPECTED_MAX).items():
            currency, _, account = name.partition(" ")
            is_family = account.partition(":")[0] in self._package.manifest.accounts
            if currency not in EXPONENTS or not is_family:
                raise each.refused(f"{name[:60]!r} is no account; write 'EUR supplier:T1-STATOR'")
            got = balances.get((currency, account), 0)
            self._expect(each, f"balance of {name}", got, shown=shown_amount(got, currency))

    def _expect_state(self, node: Node) -> None:
        state = self._package.manifest.state
        members = node.members(EXPECTED_MAX)
        _check_known(members, state, "state family")
        for family, values in members.items():
            for key, each in values.members(EXPECTED_MAX).items():
                got = self._state.read(state_key(self._package.name, family, key))
                self._expect(each, f"{family} {key}", state[family].default if got is None else got)

    def _expect(self, node: Node, what: str, got: object, *, shown: str = "") -> None:
        self._checks += 1
        expected = node.plain()
        if type(expected) is not type(got) or expected != got:
            is_shown = shown or _shown(got)
            self._problems.extend(
                node.refused(f"{what}: expected {_shown(expected)}, and it is {is_shown}").problems
            )


def _check_known(members: Mapping[str, Node], known: Collection[str], what: str) -> None:
    for name, node in members.items():
        if name not in known:
            raise node.refused(f"there is no {what} {name[:40]!r}{suggest(name, known)}")


def _status(receipt: RuleReceipt) -> str:
    if receipt.status is Status.REFUSED:
        return f"refused {receipt.reason}"
    if receipt.failure is not None:
        return f"failed {receipt.failure.code} at {receipt.failure.at}"
    return str(receipt.status)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
