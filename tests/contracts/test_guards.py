"""Guards: rules that are asked before an event's outcome is fixed, and may refuse it."""

from typing import Any

import pytest

from lotmark_contracts.execution.block_execution import RulesOfBlock
from lotmark_contracts.execution.inputs import Ancestor, Circumstances, Event
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.receipt import RuleReceipt, Status
from lotmark_contracts.execution.rule_book import ActivePackage, RuleBook
from lotmark_contracts.execution.state_keys import value_key
from lotmark_contracts.package.errors import PackageRefused
from lotmark_contracts.package.package import load_package
from tests.contracts.packages import NOW_MS, Files, added, changed, scrap, template_files

MANIFEST, GUARD = "manifest.json", "rules/known.json"


def guarded_files(**changes: Any) -> Files:
    guard = {
        "title": "A supplier has an account before scrap is reported",
        "guard": True,
        "on": "scrap_reported",
        "when": "event.pieces > 0",
        "read": {"credited": {"credited": "event.supplier"}},
        "let": [{"known": "credited > 0"}],
        "refuse": [{"if": "!known", "reason": "UNKNOWN_SUPPLIER"}],
        **changes,
    }
    files = added(template_files(), GUARD, guard)
    return changed(files, MANIFEST, lambda document: document["rules"].insert(0, "known"))


def judge(files: Files, state: MemoryState | None = None, **fields: Any) -> list[RuleReceipt]:
    book = RuleBook([ActivePackage(load_package(files))])
    block = RulesOfBlock(book, Circumstances(now_ms=NOW_MS, height=1), state or MemoryState())
    event = Event(id="e", type="scrap_reported", author="OEM-A", fields=fields)
    return list(block.judge(event))


def test_a_guard_refuses_an_event_and_says_why() -> None:
    (receipt,) = judge(guarded_files(), **scrap())

    assert (receipt.status, receipt.reason) == (Status.REFUSED, "UNKNOWN_SUPPLIER")
    assert [each.step for each in receipt.because] == ["known"]


def test_a_guard_that_has_nothing_against_an_event_says_nothing() -> None:
    state = MemoryState()
    state.write({value_key("new-package", "credited", "T1-STATOR"): 1})

    assert judge(guarded_files(), state, **scrap()) == []
    assert judge(guarded_files(), **scrap(pieces=0)) == []


@pytest.mark.parametrize(
    ("changes", "fields", "code"),
    [
        ({}, {"cause": 7}, "input"),
        ({"let": [{"known": "1 / 0 == 1"}]}, {}, "division_by_zero"),
        ({"read": {"credited": {"credited": "''"}}}, {}, "bad_name"),
    ],
)
def test_a_guard_that_fails_refuses_the_event(
    changes: dict[str, Any], fields: dict[str, Any], code: str
) -> None:
    """As a class: whatever a guard fails with, nobody gets past it by making it fail."""
    (receipt,) = judge(guarded_files(**changes), **scrap(**fields))

    assert receipt.status is Status.FAILED
    assert receipt.failure is not None
    assert receipt.failure.code == code


def test_a_guard_is_not_executed_with_the_rules_that_do_something() -> None:
    book = RuleBook([ActivePackage(load_package(guarded_files()))])
    block = RulesOfBlock(book, Circumstances(now_ms=NOW_MS, height=1), MemoryState())
    event = Event(id="e", type="scrap_reported", author="OEM-A", fields=scrap())

    assert [receipt.rule for receipt in block.execute(event)] == ["credit"]


def test_a_guard_without_gas_left_in_the_block_refuses() -> None:
    book = RuleBook([ActivePackage(load_package(guarded_files()))])
    block = RulesOfBlock(book, Circumstances(now_ms=NOW_MS, height=1), MemoryState(), gas_max=5)

    (receipt,) = block.judge(Event(id="e", type="scrap_reported", author="A", fields=scrap()))

    assert receipt.failure is not None
    assert receipt.failure.code == "block_gas"
    assert block.gas_left == 5


def test_a_guard_costs_the_block_gas_also_where_it_says_nothing() -> None:
    book = RuleBook([ActivePackage(load_package(guarded_files()))])
    block = RulesOfBlock(book, Circumstances(now_ms=NOW_MS, height=1), MemoryState(), gas_max=999)

    block.judge(Event(id="e", type="scrap_reported", author="A", fields=scrap(pieces=0)))

    assert block.gas_left == 999 - 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"guard": False}, "a guard is true, and other rules leave it out"),
        ({"refuse": []}, "expected 1 to 32 items"),
        ({"then": [{"alert": "'x'", "level": "info"}]}, "unknown field 'then'"),
        ({"once": "'x'"}, "unknown field 'once'"),
        ({"claim": "'x'"}, "unknown field 'claim'"),
        ({"skip": "true"}, "unknown field 'skip'"),
    ],
)
def test_a_guard_may_refuse_and_nothing_else(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(PackageRefused) as refused:
        load_package(guarded_files(**changes))

    (problem,) = refused.value.problems
    assert words in problem.reason
    assert problem.position is not None


def test_provenance_is_asked_for_once_and_only_by_a_rule_that_goes_on() -> None:
    asked = []

    def provenance() -> list[Ancestor]:
        asked.append(1)
        return []

    files = guarded_files(let=[{"known": "size(provenance) > 0 || size(provenance) == 0"}])
    book = RuleBook([ActivePackage(load_package(files))])
    block = RulesOfBlock(book, Circumstances(now_ms=NOW_MS, height=1), MemoryState())

    def event(**fields: Any) -> Event:
        return Event(
            id="e",
            type="scrap_reported",
            author="A",
            fields=scrap(**fields),
            provenance=provenance,
        )

    block.judge(event(pieces=0))
    assert asked == []
    block.judge(event())
    assert asked == [1]


def test_of_an_event_of_the_ledgers_own_only_declared_fields_are_looked_at() -> None:
    block = RulesOfBlock(
        RuleBook([ActivePackage(load_package(template_files()))]),
        Circumstances(now_ms=NOW_MS, height=1),
        MemoryState(),
    )
    fields = scrap(another={"of": ["any", 1]})

    (own,) = block.execute(Event(id="1", type="scrap_reported", author="A", fields=fields))
    (native,) = block.execute(
        Event(id="2", type="scrap_reported", author="A", fields=fields, is_native=True)
    )

    assert (own.status, native.status) == (Status.FAILED, Status.DONE)
