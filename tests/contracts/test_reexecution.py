"""Re-execution: a receipt, its event and its package are enough to come to the receipt again."""

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

import pytest

from lotmark_contracts.execution.block_execution import RulesOfBlock
from lotmark_contracts.execution.inputs import Ancestor, Circumstances, Event
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.receipt import (
    KeptRead,
    RaisedAlert,
    RuleReceipt,
    Status,
    with_text_integers,
)
from lotmark_contracts.execution.reexecution import CannotReexecute, reexecute
from lotmark_contracts.execution.rule_book import ActivePackage, RuleBook
from lotmark_contracts.package.package import Package, load_package
from lotmark_contracts.package.rule import AlertLevel, Rule
from lotmark_contracts.package.strict_json import parse_file
from lotmark_contracts.scenarios.scenario import read_scenario
from tests.contracts.mixed_events import PARTIES, mixed_events
from tests.contracts.packages import (
    NOW_MS,
    SHIPPED,
    changed,
    due_timers,
    scrap,
    shipped_files,
    template_files,
)

Told = tuple[Package, RuleReceipt, Event, Circumstances]


def rule_of(package: Package, receipt: RuleReceipt) -> Rule:
    (rule,) = [rule for rule in package.rules if rule.name == receipt.rule]
    return rule


def again(told: Told) -> RuleReceipt | None:
    package, receipt, event, circumstances = told
    return reexecute(package, rule_of(package, receipt), receipt, event, circumstances)


def scenario_receipts(name: str) -> Iterator[Told]:
    files = shipped_files(name)
    package = load_package(files)
    for path in sorted(files):
        if not path.startswith("tests/"):
            continue
        scenario = read_scenario(parse_file(path, files[path]))
        book, state = RuleBook([ActivePackage(package)]), MemoryState()
        for height, step in enumerate(scenario.steps, 1):
            circumstances = Circumstances(
                now_ms=step.now_ms, height=height, parties=scenario.parties
            )
            block = RulesOfBlock(book, circumstances, state)
            events = [
                (timer.event(), block.fire(timer)) for timer in due_timers(state, step.now_ms)
            ]
            if step.event is not None:
                events.append((step.event, block.judge(step.event) or block.execute(step.event)))
            for event, receipts in events:
                for receipt in receipts:
                    yield package, receipt, event, circumstances


@pytest.mark.parametrize("name", SHIPPED)
def test_every_receipt_of_a_shipped_packages_tests_is_come_to_again(name: str) -> None:
    checked = 0
    for told in scenario_receipts(name):
        if told[1].status is Status.DUPLICATE:
            with pytest.raises(CannotReexecute, match="came first"):
                again(told)
        elif told[1].failure is not None and told[1].failure.code == "overdrawn":
            with pytest.raises(CannotReexecute, match="overdrawn"):
                again(told)
        else:
            assert again(told) == told[1]
            checked += 1

    assert checked > 0


def test_receipts_of_events_by_chance_are_come_to_again() -> None:
    """As a class: good and bad events for all packages at once."""
    packages = {
        package.name: package for package in (load_package(shipped_files(each)) for each in SHIPPED)
    }
    book, state = RuleBook(list(map(ActivePackage, packages.values()))), MemoryState()
    checked = dict.fromkeys(Status, 0)
    for height, event in enumerate(mixed_events(random.Random(7), 5_000), 1):  # noqa: S311 - seeded
        circumstances = Circumstances(now_ms=NOW_MS + height, height=height, parties=PARTIES)
        for receipt in RulesOfBlock(book, circumstances, state).execute(event):
            try:
                found = again((packages[receipt.package], receipt, event, circumstances))
            except CannotReexecute:
                continue
            assert found == receipt
            checked[receipt.status] += 1

    assert all(checked[each] > 50 for each in (Status.DONE, Status.REFUSED, Status.FAILED))
    assert checked[Status.DUPLICATE] == 0


def template_receipt(**changes: Any) -> Told:
    package = load_package(template_files())
    circumstances = Circumstances(now_ms=NOW_MS, height=1)
    event = Event(id="e", type="scrap_reported", author="OEM-A", fields=scrap(**changes))
    block = RulesOfBlock(RuleBook([ActivePackage(package)]), circumstances, MemoryState())
    (receipt,) = block.execute(event)
    return package, receipt, event, circumstances


@pytest.mark.parametrize(
    "change",
    [
        {"gas": 1},
        {"postings": ()},
        {"notices": (RaisedAlert(AlertLevel.INFO, "nothing"),)},
        {"kept": ()},
        {"because": ()},
        {"reads": ()},
        {"reads": (KeptRead("credited", "credited", "T1-STATOR", 99_000),)},
        {"status": Status.REFUSED, "reason": "NEGATIVE"},
        {"event_id": "another"},
        {"version": 2},
        {"claim": "C"},
    ],
)
def test_a_receipt_that_was_changed_is_not_come_to_again(change: dict[str, Any]) -> None:
    package, receipt, event, circumstances = template_receipt()
    forged = receipt._replace(**change)

    assert again((package, forged, event, circumstances)) != forged


@pytest.mark.parametrize("value", ["99000", True, 2**63, [0]])
def test_a_read_that_no_state_can_have_kept_is_not_relied_on(value: Any) -> None:
    package, receipt, event, circumstances = template_receipt()
    reads = (KeptRead("credited", "credited", "T1-STATOR", value),)
    forged = receipt._replace(reads=reads)

    with pytest.raises(CannotReexecute, match="'credited' is said to be what 'credited' cannot"):
        again((package, forged, event, circumstances))


def test_where_a_rule_has_nothing_to_say_there_is_no_receipt() -> None:
    package, receipt, event, circumstances = template_receipt()
    silent = dataclasses.replace(event, fields=scrap(pieces=0))

    assert again((package, receipt, silent, circumstances)) is None


def large_read_files() -> dict[str, bytes]:
    def declare(manifest: Any) -> None:
        manifest["state"]["many"] = {"type": "list(int, 200)", "default": [0] * 150}

    def read(rule: Any) -> None:
        rule["read"]["many"] = {"many": "'all'"}

    return changed(changed(template_files(), "manifest.json", declare), "rules/credit.json", read)


def test_a_read_that_a_receipt_could_not_keep_is_said_to_be_missing() -> None:
    package = load_package(large_read_files())
    circumstances = Circumstances(now_ms=NOW_MS, height=1)
    event = Event(id="e", type="scrap_reported", author="OEM-A", fields=scrap())
    block = RulesOfBlock(RuleBook([ActivePackage(package)]), circumstances, MemoryState())
    (receipt,) = block.execute(event)

    assert receipt.reads[1] == KeptRead("many", "many", "all", None)
    assert receipt.document()["reads"] == [
        {"name": "credited", "family": "credited", "key": "T1-STATOR", "value": "0"},
        {"name": "many", "family": "many", "key": "all"},
    ]
    with pytest.raises(CannotReexecute, match="'many' was larger than what a receipt keeps"):
        again((package, receipt, event, circumstances))


def test_the_provenance_that_a_rule_has_seen_is_in_its_receipt() -> None:
    def look(rule: Any) -> None:
        rule["let"].append({"entries": "size(provenance)"})

    package = load_package(changed(template_files(), "rules/credit.json", look))
    ancestors = [
        Ancestor(item="lot", depth=1, entry=entry, event_type="t", party="p", recorded_at_ms=NOW_MS)
        for entry in (9, 4)
    ]
    event = Event(
        id="e",
        type="scrap_reported",
        author="OEM-A",
        fields=scrap(),
        provenance=lambda: ancestors,
    )
    circumstances = Circumstances(now_ms=NOW_MS, height=1)
    block = RulesOfBlock(RuleBook([ActivePackage(package)]), circumstances, MemoryState())
    (receipt,) = block.execute(event)

    assert receipt.evidence == ((1, 4, "lot"), (1, 9, "lot"))
    assert receipt.document()["evidence"] == [
        {"depth": "1", "entry": "4", "item": "lot"},
        {"depth": "1", "entry": "9", "item": "lot"},
    ]
    assert again((package, receipt, event, circumstances)) == receipt
    other = dataclasses.replace(event, provenance=lambda: ancestors[:1])
    assert again((package, receipt, other, circumstances)) != receipt


def test_keys_that_are_not_ascii_are_told_in_a_list() -> None:
    """Canonical JSON sorts keys by UTF-16, Python by code points: for ASCII it is the same."""
    value = {"ü": 1, "a": [{"\U0001f600": 2, "\uffff": 3}], "b": {"c": 4}}

    assert with_text_integers(value) == [  # type: ignore[arg-type]  # a map of mixed values
        ["a", [[["\uffff", "3"], ["\U0001f600", "2"]]]],
        ["b", {"c": "4"}],
        ["ü", "1"],
    ]
