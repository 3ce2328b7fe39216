"""Backtests on snapshots: a package over what a ledger holds, beside the rules in force."""

import io
from typing import Any

import pytest

from lotmark.v1 import quality_pb2
from lotmark.verify.report import FaultFound
from lotmark_contracts.package.package import load_package
from lotmark_node.backtest_history import backtest_snapshot, kept_by
from lotmark_node.state_machine.contract_rows import parse_balance
from lotmark_node.state_machine.tables import Table
from tests.node.ledger_in_memory import LedgerInMemory, event, transformation
from tests.node.package_events import bring_into_force, contract_event, put
from tests.node.ruled_ledger import (
    DUE,
    POST,
    REMIND,
    WITH_TIMERS,
    package_files,
)
from tests.node.snapshot_source import snapshot_of
from tests.node.state_machine.reading import rows

MES = "T1-STATOR/mes"
DEARER = {**POST, "then": [POST["then"][0], {**POST["then"][1], "pay": "event.amount * 2"}]}


def bill(number: int, amount: int) -> bytes:
    return contract_event("bill", number=str(number), to="T1-STATOR", amount=amount)


def tried(ledger: LedgerInMemory, files: dict[str, bytes], *, first_height: int = 1) -> Any:
    file = io.BytesIO(snapshot_of(ledger, first_height=first_height))
    return backtest_snapshot(file, load_package(files), chain_id=ledger.chain_id)


def test_a_new_package_is_tried_on_what_was_there_before_it() -> None:
    ledger = LedgerInMemory()
    put(ledger, bill(1, 100))
    put(ledger, bill(2, 50))

    report = tried(ledger, package_files())

    assert (report.old_version, report.heard, report.changed_count) == (None, 2, 2)
    assert report.after.receipts == {"post": {"done": 2}}
    assert [(each.account, each.before, each.after) for each in report.paid] == [
        ("party:OEM-A", 0, 150),
        ("party:T1-STATOR", 0, -150),
    ]


def test_the_next_version_is_tried_beside_the_one_in_force() -> None:
    ledger = LedgerInMemory()
    bring_into_force(ledger, package_files())
    put(ledger, bill(1, 100))

    report = tried(ledger, package_files({"version": 2}, post=DEARER))

    assert (report.old_version, report.changed_count) == (1, 1)
    assert [(each.account, each.before, each.after) for each in report.paid] == [
        ("party:OEM-A", 100, 200),
        ("party:T1-STATOR", -100, -200),
    ]
    assert [each.event_id for each in report.changed] == [str(ledger.size - 3)]


def test_the_version_in_force_itself_changes_nothing() -> None:
    ledger = LedgerInMemory()
    bring_into_force(ledger, package_files())
    for at in range(4):
        put(ledger, *[bill(10 * at + n, n + 1) for n in range(5)])

    report = tried(ledger, package_files())

    assert report.changed_count == 0
    before = {each.account: each.before for each in report.paid}
    posted = [parse_balance(value) for value in rows(ledger, Table.ACCOUNT).values()]
    assert sorted(before.values()) == sorted(posted), "what it says was paid is what was paid"


def test_a_range_begins_with_what_was_kept() -> None:
    ledger = LedgerInMemory()
    bring_into_force(ledger, package_files(WITH_TIMERS, remind=REMIND, due=DUE))
    put(ledger, bill(1, 100))
    start_height = ledger.height
    kept = kept_by(ledger.rows, "bills")
    again = contract_event("bill", "again", number="1", to="T1-STATOR", amount=100)
    put(ledger, again, bill(2, 30))

    report = tried(
        ledger,
        package_files({"version": 2, **WITH_TIMERS}, remind=REMIND, due=DUE),
        first_height=start_height + 1,
    )

    assert report.first_height == start_height + 1
    assert report.after.receipts["post"] == {"done": 1, "duplicate": 1}
    assert len(kept.timers()) == 1


def test_equal_ledgers_give_equal_reports() -> None:
    digests = set()
    for _ in range(2):
        ledger = LedgerInMemory()
        bring_into_force(ledger, package_files())
        put(ledger, bill(1, 100), bill(2, 20))
        digests.add(tried(ledger, package_files({"version": 2}, post=DEARER)).digest())

    assert len(digests) == 1


def test_evidence_that_the_package_asks_for_is_there_although_the_ledger_kept_none() -> None:
    ledger = LedgerInMemory()
    reading = quality_pb2.Maintenance(order="WO-1", work="nozzle")
    put(ledger, event(nonce="m", items=[("LOT-1", 1)], maintenance=reading), holder=MES)
    put(ledger, transformation("wind", ["LOT-1"], ["U-1"]), holder=MES)
    put(ledger, contract_event("bill", "b", [("U-1", 1)], number="1", to="T1-STATOR", amount=5))
    counting = {**POST, "then": [POST["then"][0], {**POST["then"][1], "pay": "size(provenance)"}]}

    with_it = tried(ledger, package_files({"evidence": ["maintenance"]}, post=counting))
    without = tried(ledger, package_files(post=counting))

    assert [each.after for each in with_it.paid] == [1, -1]
    assert not without.paid


def test_a_snapshot_that_was_tampered_with_is_no_base_for_a_report() -> None:
    ledger = LedgerInMemory()
    put(ledger, bill(1, 100))
    raw = snapshot_of(ledger).replace(b"T1-STATOR", b"T1-STATOX")

    with pytest.raises(FaultFound):
        backtest_snapshot(io.BytesIO(raw), load_package(package_files()), chain_id=ledger.chain_id)
