"""Claims: each goes on under the version of its package that opened it."""

import itertools
from typing import Any

import pytest

from lotmark_contracts.execution.block_execution import RulesOfBlock
from lotmark_contracts.execution.inputs import Circumstances, Event
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.receipt import RuleReceipt, Status
from lotmark_contracts.execution.rule_book import ActivePackage, RuleBook
from lotmark_contracts.execution.state_keys import claim_key
from lotmark_contracts.package.package import Package, load_package
from tests.contracts.packages import NOW_MS, added, changed, template_files

MANIFEST, RULE = "manifest.json", "rules/credit.json"


COST = {"claim": "string(40)", "minor": "int"}


def claims_package(version: int, cost: Any = None, types: Any = None) -> Package:
    """Return a package with a rule on claims, and one that has to do with none."""

    def declare(document: Any) -> None:
        document.update(
            version=version,
            types=types or {},
            events={"cost": cost or COST},
            state={"last": {"type": "int", "default": 0}},
            rules=["add", "count"],
        )

    add = {
        "title": "Adds",
        "on": "cost",
        "claim": "event.claim",
        "once": "event.claim + string(event.minor)",
        "then": [{"set": {"last": "event.claim"}, "value": str(version)}],
    }
    count = {
        "title": "Counts",
        "on": "cost",
        "once": "string(height)",
        "then": [{"alert": "'seen'", "level": "info"}],
    }
    files = changed(template_files(), MANIFEST, declare)
    del files[RULE], files["tests/credit.json"]
    for name, rule in (("add", add), ("count", count)):
        files = added(files, f"rules/{name}.json", rule)
    return load_package(files)


class Ledger:
    """Executes events under whatever versions rule, on one state."""

    def __init__(self) -> None:
        self.state = MemoryState()
        self.height = 0

    def send(self, versions: list[Package], **fields: Any) -> list[RuleReceipt]:
        self.height += 1
        book = RuleBook(list(map(ActivePackage, versions)))
        circumstances = Circumstances(now_ms=NOW_MS, height=self.height)
        event = Event(id=str(self.height), type="cost", author="OEM-A", fields=fields)
        return list(RulesOfBlock(book, circumstances, self.state).execute(event))


def told(receipts: list[RuleReceipt]) -> list[tuple[str, int, str]]:
    return [(each.rule, each.version, str(each.status)) for each in receipts]


def test_a_claim_is_opened_by_the_version_in_force_and_names_its_event() -> None:
    ledger = Ledger()

    receipts = ledger.send([claims_package(1)], claim="C", minor=1)

    assert told(receipts) == [("add", 1, "done"), ("count", 1, "done")]
    assert [each.claim for each in receipts] == ["C", ""]
    assert receipts[0].document()["claim"] == "C"
    kept = ledger.state.read(claim_key("new-package", "C"))
    assert kept == {"version": 1, "opened_by": "1"}


def test_an_open_claim_goes_on_under_its_version_and_a_new_one_under_the_newest() -> None:
    ledger, one, two = Ledger(), claims_package(1), claims_package(2)
    ledger.send([one], claim="old", minor=1)

    old = ledger.send([one, two], claim="old", minor=2)
    new = ledger.send([one, two], claim="new", minor=2)

    assert told(old) == [("add", 1, "done"), ("count", 2, "done")]
    assert told(new) == [("add", 2, "done"), ("count", 2, "done")]
    assert ledger.state.read(claim_key("new-package", "old")) == {"version": 1, "opened_by": "1"}


def test_of_any_order_of_claims_and_versions_each_claim_keeps_its_version() -> None:
    """As a class: whichever claims are open when a version comes, and how events follow."""
    for opened in itertools.product((1, 2, 3), repeat=3):
        ledger = Ledger()
        packages = [claims_package(version) for version in (1, 2, 3)]
        for version in (1, 2, 3):
            for claim, opens_at in enumerate(opened):
                if opens_at <= version:
                    receipts = ledger.send(packages[:version], claim=str(claim), minor=version)
                    (add,) = [each for each in receipts if each.rule == "add"]
                    assert (add.version, add.status) == (opens_at, Status.DONE)


def test_a_claim_whose_version_rules_no_more_goes_on_under_the_version_in_force() -> None:
    ledger = Ledger()
    ledger.send([claims_package(1)], claim="old", minor=1)

    receipts = ledger.send([claims_package(3)], claim="old", minor=2)

    assert told(receipts)[0] == ("add", 3, "done")


@pytest.mark.parametrize("claim", ["", "x" * 257])
def test_a_claim_has_1_to_256_characters(claim: str) -> None:
    receipts = Ledger().send(
        [claims_package(1, {**COST, "claim": "string(300)"})], claim=claim, minor=1
    )

    assert receipts[0].failure is not None
    assert (receipts[0].failure.code, receipts[0].failure.at) == ("bad_name", "claim")


def test_a_refused_or_failed_rule_opens_no_claim() -> None:
    ledger = Ledger()

    ledger.send([claims_package(1)], claim="C", minor="x")

    assert ledger.state.items() == []


@pytest.mark.parametrize("is_nested", [False, True])
def test_an_old_version_does_not_see_fields_that_came_later(is_nested: bool) -> None:
    old: Any
    new: Any
    cost: Any
    newer: Any
    told_then: Any
    told_now: Any
    if is_nested:
        old, new = {"part": {"id": "int"}}, {"part": {"id": "int", "note?": "string"}}
        cost, newer = {**COST, "part": "part"}, {**COST, "part": "part"}
        told_then, told_now = {"part": {"id": 1}}, {"part": {"id": 1, "note": "new"}}
    else:
        old, new = {}, {}
        cost, newer = COST, {**COST, "note?": "string"}
        told_then, told_now = {}, {"note": "new"}
    ledger, one, two = Ledger(), claims_package(1, cost, old), claims_package(2, newer, new)
    ledger.send([one], claim="old", minor=1, **told_then)

    receipts = ledger.send([one, two], claim="old", minor=2, **told_now)

    assert told(receipts) == [("add", 1, "done"), ("count", 2, "done")]


def test_the_version_in_force_refuses_fields_that_nobody_declares() -> None:
    receipts = Ledger().send([claims_package(1), claims_package(2)], claim="C", minor=2, note="x")

    assert told(receipts) == [("add", 2, "failed"), ("count", 2, "failed")]


def test_what_an_old_version_cannot_read_is_told_only_where_the_claim_is_its_own() -> None:
    ledger, one = Ledger(), claims_package(1, {**COST, "claim": "string(4)", "why?": "string(4)"})
    two = claims_package(2, {**COST, "why?": "string(40)"})
    ledger.send([one], claim="old", minor=1)

    of_another = ledger.send([one, two], claim="a long name", minor=2)
    of_its_own = ledger.send([one, two], claim="old", minor=3, why="too long")
    of_nobody = ledger.send([one, two], claim="old", minor="x")

    assert told(of_another)[0] == ("add", 2, "done")
    assert told(of_its_own)[0] == ("add", 1, "failed")
    assert of_its_own[0].failure is not None
    assert of_its_own[0].failure.at == "event.why"
    assert told(of_nobody) == [("add", 2, "failed"), ("count", 2, "failed")]
