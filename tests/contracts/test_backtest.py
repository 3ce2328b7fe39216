"""Backtests: what a package would have paid and decided otherwise, over a ledger's past."""

import hashlib
import json
import random
import time
from typing import Any

import pytest

from lotmark_contracts.backtesting.backtest import PastBlock, backtest
from lotmark_contracts.backtesting.decisions import CHANGED_SHOWN_MAX
from lotmark_contracts.backtesting.report import BacktestReport
from lotmark_contracts.execution.inputs import Circumstances, Event
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.rule_book import ActivePackage
from lotmark_contracts.execution.state_keys import account_key, value_key
from lotmark_contracts.package.package import Package, load_package
from tests.contracts.mixed_events import PARTIES, mixed_events
from tests.contracts.packages import (
    NOW_MS,
    changed,
    replaced,
    scrap,
    shipped_files,
    template_files,
)
from tests.contracts.test_timers import HOUR_MS, timer_files

TABLE, MANIFEST = "tables/share.json", "manifest.json"


def template(version: int = 1, budget: int = 100_000) -> ActivePackage:
    def declare(manifest: Any) -> None:
        manifest["version"] = version
        manifest["params"]["budget"] = budget

    return ActivePackage(load_package(changed(template_files(), MANIFEST, declare)))


def past(*blocks: list[dict[str, Any]], event_type: str = "scrap_reported") -> list[PastBlock]:
    history, count = [], 0
    for height, events in enumerate(blocks, 10):
        made = []
        for fields in events:
            count += 1
            made.append(Event(id=f"e{count}", type=event_type, author="OEM-A", fields=fields))
        circumstances = Circumstances(now_ms=NOW_MS + height * HOUR_MS, height=height)
        history.append(PastBlock(circumstances=circumstances, events=made))
    return history


REPORTS = past(
    [scrap(report="1"), scrap(report="2")],
    [scrap(report="2"), scrap(report="3", pieces=0)],
    [scrap(report="4", piece_price=-1), scrap(report="5", piece_price=2**62)],
)


def told(report: BacktestReport) -> Any:
    return json.loads(report.canonical())


def test_a_report_says_what_would_have_been_paid_and_decided_otherwise() -> None:
    old, new = template(1), template(2, budget=2_000)

    report = told(backtest(REPORTS, old=[old], new=new, start=MemoryState()))

    assert report["version"] == "2"
    assert report["hash"] == new.package.hash.hex()
    assert (report["old_version"], report["old_hash"]) == ("1", old.package.hash.hex())
    assert (report["first_height"], report["last_height"]) == ("10", "12")
    assert (report["blocks"], report["events"], report["heard"]) == ("3", "6", "6")
    assert report["paid"] == [
        {"currency": "EUR", "account": "oem:OEM-A", "before": "3334", "after": "2000"},
        {"currency": "EUR", "account": "supplier:T1-STATOR", "before": "-3334", "after": "-2000"},
    ]
    endings = {"done": "2", "duplicate": "1", "refused": "1", "failed": "1"}
    assert report["before"]["receipts"] == {"credit": endings}
    assert report["before"]["failures"] == {"overflow": "1"}
    assert report["changed_count"] == "1"
    (decision,) = report["changed"]
    assert (decision["event"], decision["rule"]) == ("e2", "credit")
    assert decision["before"][0]["net"][0] == {
        "currency": "EUR",
        "account": "oem:OEM-A",
        "minor": "1667",
    }
    assert decision["after"][0]["net"][0]["minor"] == "333"


def test_the_same_rules_change_nothing() -> None:
    old, new = template(1), template(2)

    report = backtest(REPORTS, old=[old], new=new, start=MemoryState())

    assert (report.changed_count, report.changed) == (0, ())
    assert report.before == report.after
    assert all(before == after for _, _, before, after in report.paid)


def test_a_new_package_stands_beside_nothing() -> None:
    report = backtest(REPORTS, old=[], new=template(), start=MemoryState())

    assert (report.old_version, report.old_hash) == (None, None)
    assert report.before.receipts == {}
    assert {each.before for each in report.paid} == {0}
    assert report.changed_count == 5
    assert "old_version" not in told(report)


def test_without_blocks_there_is_nothing_to_say() -> None:
    report = backtest([], old=[], new=template(), start=MemoryState())

    assert (report.blocks, report.first_height, report.last_height) == (0, 0, 0)
    assert report.paid == ()


def test_both_sides_begin_with_what_was_kept_and_leave_it_as_it_was() -> None:
    start = MemoryState()
    start.write(
        {
            value_key("new-package", "credited", "T1-STATOR"): 99_000,
            account_key("new-package", "EUR", "supplier:T1-STATOR"): -99_000,
            account_key("new-package", "EUR", "oem:OEM-A"): 99_000,
        }
    )
    kept = start.items()

    report = backtest(REPORTS, old=[template(1)], new=template(2, 100_500), start=start)

    assert [(each.before, each.after) for each in report.paid] == [(1_000, 1_500), (-1_000, -1_500)]
    assert start.items() == kept


def test_timers_fire_on_both_sides_and_a_later_time_is_no_other_decision() -> None:
    def package(version: int, hours: int) -> ActivePackage:
        files = timer_files(version)
        return ActivePackage(
            load_package(replaced(files, "rules/bill.json", "hours(1)", f"hours({hours})"))
        )

    bills = [{"claim": f"C{number}", "minor": number} for number in range(5)]
    history = past(bills, [], [], [], event_type="bill")

    later = backtest(history, old=[package(1, 1)], new=package(2, 3), start=MemoryState())
    never = backtest(history, old=[package(1, 1)], new=package(2, 9), start=MemoryState())

    assert later.after.receipts["consent"] == {"done": 5}
    assert later.changed_count == 0
    assert "consent" not in never.after.receipts
    assert [(each.rule, len(each.before), each.after) for each in never.changed] == [
        ("consent", 1, ())
    ] * 5


def test_a_report_names_the_first_hundred_changes_and_counts_all() -> None:
    events = [scrap(report=str(number)) for number in range(150)]

    report = backtest(past(events), old=[], new=template(), start=MemoryState())

    assert report.changed_count == 150
    assert [each.event_id for each in report.changed] == [
        f"e{number}" for number in range(1, CHANGED_SHOWN_MAX + 1)
    ]


def test_a_report_is_named_by_the_hash_of_its_canonical_bytes() -> None:
    report = backtest(REPORTS, old=[], new=template(), start=MemoryState())

    assert report.digest() == hashlib.sha256(report.canonical()).digest()
    json.loads(report.canonical(), parse_int=lambda digits: pytest.fail(f"{digits} is a number"))
    assert not report.canonical().endswith(b"\n")


def test_progress_is_told_of_each_block() -> None:
    heights: list[int] = []

    backtest(REPORTS, old=[], new=template(), start=MemoryState(), progress=heights.append)

    assert heights == [10, 11, 12]


def mixed_history(count: int) -> list[PastBlock]:
    events = list(mixed_events(random.Random(5), count))  # noqa: S311 - a seed makes it the same
    return [
        PastBlock(
            circumstances=Circumstances(now_ms=NOW_MS + at, height=at + 1, parties=PARTIES),
            events=events[at : at + 50],
        )
        for at in range(0, count, 50)
    ]


def shipped(name: str, version: int) -> Package:
    files = shipped_files(name)
    return load_package(changed(files, MANIFEST, lambda manifest: manifest.update(version=version)))


@pytest.mark.parametrize("name", ["technical-factor", "lot-event", "tiers-and-disputes"])
def test_a_backtest_comes_to_the_same_report_each_time(name: str) -> None:
    """As a class: events of all kinds, good and bad ones."""
    old, new = (ActivePackage(shipped(name, version)) for version in (1, 2))

    first, second = (
        backtest(mixed_history(2_000), old=[old], new=new, start=MemoryState()) for _ in range(2)
    )

    assert first.canonical() == second.canonical()
    assert first.changed_count == 0
    assert first.before.receipts


def test_a_history_of_20000_events_is_tried_in_seconds() -> None:
    old, new = (ActivePackage(shipped("lot-event", version)) for version in (1, 2))
    history = mixed_history(20_000)
    start_s = time.process_time()

    backtest(history, old=[old], new=new, start=MemoryState())

    assert time.process_time() - start_s < 10  # 0.3 s, and a busy machine
