"""Runs the tests inside a package, each from an empty state."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lotmark_contracts.execution.inputs import Circumstances
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.offline_block import execute_block
from lotmark_contracts.execution.receipt import IssuedWorkOrder, RaisedAlert, RuleReceipt
from lotmark_contracts.execution.rule_book import ActivePackage, RuleBook
from lotmark_contracts.execution.state_keys import account_key, value_key
from lotmark_contracts.money import shown_amount
from lotmark_contracts.package.errors import PackageRefused, Problem
from lotmark_contracts.package.json_node import Node
from lotmark_contracts.package.package import Package
from lotmark_contracts.package.package_hash import TESTS_FOLDER
from lotmark_contracts.package.strict_json import parse_file
from lotmark_contracts.scenarios.scenario import EXPECTED_MAX, Scenario, Step, read_scenario
from lotmark_contracts.suggestion import suggest
from lotmark_contracts.wcel.currencies import EXPONENTS

TESTS_STEPS_MAX = 2_000  # in all tests of a package
TESTS_GAS_MAX = 20_000_000  # of all tests of a package

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
    budget = _Budget()
    paths = [path for path in sorted(files) if path.startswith(TESTS_FOLDER)]
    return tuple(_run(package, path, files[path], budget) for path in paths)


@dataclass(slots=True)
class _Budget:
    """What all tests of a package together may still cost: every node runs them."""

    steps_left: int = TESTS_STEPS_MAX
    gas_left: int = TESTS_GAS_MAX

    def take_steps(self, scenario: Scenario) -> None:
        """Pay for a test's steps.

        Raises:
            PackageRefused: There are too many.
        """
        self.steps_left -= len(scenario.steps)
        if self.steps_left < 0:
            raise scenario.node.refused(
                f"all tests together have more than {TESTS_STEPS_MAX:,} steps: leave some out"
            )

    def take_gas(self, step: Step, gas: int) -> None:
        """Pay for what a step has cost.

        Raises:
            PackageRefused: It was too much.
        """
        self.gas_left -= gas
        if self.gas_left < 0:
            raise step.node.refused(
                f"all tests together cost more than {TESTS_GAS_MAX:,} gas up to here:"
                " leave some out"
            )


def _run(package: Package, path: str, data: bytes, budget: _Budget) -> ScenarioResult:
    try:
        scenario = read_scenario(parse_file(path, data))
        budget.take_steps(scenario)
        return _Run(package, scenario, budget).result()
    except PackageRefused as refused:
        return ScenarioResult(path=path, title="", checks=0, problems=refused.problems)


class _Run:
    def __init__(self, package: Package, scenario: Scenario, budget: _Budget) -> None:
        self._package = package
        self._scenario = scenario
        self._budget = budget
        self._rules = RuleBook([ActivePackage(package, scenario.approved_by)])
        self._state = MemoryState()
        self._checks = 0
        self._problems: list[Problem] = []

    def result(self) -> ScenarioResult:
        """Execute every step, and compare."""
        for number, step in enumerate(self._scenario.steps, 1):
            self._compare(step, self._execute(step, number))
        assert not any(self._state.sums(self._package.name).values()), "accounts sum to zero"
        return ScenarioResult(
            path=self._scenario.path,
            title=self._scenario.title,
            checks=self._checks,
            problems=tuple(self._problems),
        )

    def _execute(self, step: Step, height: int) -> list[RuleReceipt]:
        circumstances = Circumstances(
            now_ms=step.now_ms, height=height, parties=self._scenario.parties
        )
        events = () if step.event is None else (step.event,)
        receipts, gas = execute_block(self._rules, circumstances, self._state, events)
        self._budget.take_gas(step, gas)
        return receipts

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
        got: dict[str, str | list[str]] = {}
        for receipt in receipts:
            before, status = got.get(receipt.rule), receipt.ending
            if before is None:
                got[receipt.rule] = status
            else:  # of timers: several in a block
                got[receipt.rule] = [*([before] if isinstance(before, str) else before), status]
        members = node.members(EXPECTED_MAX)
        _check_known(members, [rule.name for rule in self._package.rules], "rule")
        for rule, each in members.items():
            self._expect(each, f"receipt of {rule}", got.pop(rule, "none"))
        for rule, left in got.items():
            self._checks += 1
            self._problems.extend(
                node.refused(f"{rule} has a receipt that is not expected: {_plain(left)}").problems
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
        for name, each in node.members(EXPECTED_MAX).items():
            currency, _, account = name.partition(" ")
            is_family = account.partition(":")[0] in self._package.manifest.accounts
            if currency not in EXPONENTS or not is_family:
                raise each.refused(f"{name[:60]!r} is no account; write 'EUR supplier:T1-STATOR'")
            got = self._state.read(account_key(self._package.name, currency, account)) or 0
            assert isinstance(got, int), "a balance is a number"
            self._expect(each, f"balance of {name}", got, shown=shown_amount(got, currency))

    def _expect_state(self, node: Node) -> None:
        state = self._package.manifest.state
        members = node.members(EXPECTED_MAX)
        _check_known(members, state, "state family")
        for family, values in members.items():
            for key, each in values.members(EXPECTED_MAX).items():
                got = self._state.read(value_key(self._package.name, family, key))
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


def _plain(status: str | list[str]) -> str:
    return status if isinstance(status, str) else ", ".join(status)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
