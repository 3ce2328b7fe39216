"""What one member, or an older version, must not be able to do to rules of all."""

from typing import Any

import pytest

from lotmark.event import EventRefused, check_event
from lotmark.state_rows import Table
from lotmark.v1 import quality_pb2
from lotmark_contracts.execution.offline_block import TIMERS_MAX
from lotmark_node.state_machine.item_evidence import ROWS_MAX, ancestors_of
from lotmark_node.state_machine.state import StateChanges
from tests.node.ledger_in_memory import LedgerInMemory, event, transformation
from tests.node.package_events import ERP, bring_into_force, contract_event, put
from tests.node.ruled_ledger import (
    DUE,
    MANIFEST,
    POST,
    REMIND,
    WITH_TIMERS,
    package_files,
    receipts_of,
)
from tests.node.state_machine.reading import event_outcomes, rows, usage
from tests.node.state_machine.test_packages import bill

MES = "T1-STATOR/mes"
SUBJECT, PARENT, CHILD = 1, 4, 5
DAY_MS = 86_400_000
EVENTS: dict[str, Any] = MANIFEST["events"]


def done(effects: Any, package: str = "bills") -> list[tuple[str, str]]:
    receipts = [each for each in receipts_of(effects) if each["package"] == package]
    return [(each["rule"], each["status"]) for each in receipts]


# Timers

TIMED: dict[str, Any] = {
    "events": {**EVENTS, "go": {"n": "string(20)"}, "stop": {"n": "string(20)"}},
    "timers": {"first": {}, "second": {}},
}
GO: dict[str, Any] = {
    "title": "Two timers",
    "on": "go",
    "once": "event.n",
    "then": [
        {"timer": "first", "key": "'k'", "at": "now + 1000"},
        {"timer": "second", "key": "'k'", "at": "now + 2000"},
    ],
}
SECOND: dict[str, Any] = {
    "title": "It pays",
    "on": "second",
    "once": "string(now)",
    "then": [POST["then"][1] | {"pay": "100", "from": {"party": "'T1-STATOR'"}}],
}


@pytest.mark.parametrize(
    ("action", "later"),
    [
        ({"cancel": "second", "key": "'k'"}, []),
        ({"timer": "second", "key": "'k'", "at": "now + 100000"}, [("pays", "done")]),
    ],
)
def test_a_timer_that_one_before_it_in_the_block_has_changed_does_not_fire(
    action: dict[str, Any], later: list[tuple[str, str]]
) -> None:
    first = {"title": "It changes it", "on": "first", "once": "string(now)", "then": [action]}
    ledger = LedgerInMemory()
    bring_into_force(ledger, package_files(TIMED, go=GO, first=first, pays=SECOND))
    put(ledger, contract_event("go", n="1"))
    start_ms = ledger.state.time_ms

    assert done(ledger.block(time_ms=start_ms + 5_000)) == [("first", "done")]
    assert len(rows(ledger, Table.TIMER)) == len(rows(ledger, Table.TIMER_PLACE)) == len(later)
    assert done(ledger.block(time_ms=start_ms + 200_000)) == later


ASK: dict[str, Any] = {
    "title": "Its author says when",
    "on": "ask",
    "once": "event.n",
    "then": [{"timer": "again", "key": "event.n", "at": "event.at", "with": {"n": "event.n"}}],
}
TOLD: dict[str, Any] = {
    "title": "Told",
    "on": "again",
    "once": "event.n",
    "then": [{"alert": "'told'", "level": "info"}],
}
ASKING: dict[str, Any] = {
    "name": "asks",
    "events": {**EVENTS, "ask": {"n": "string(20)", "at": "int"}},
    "timers": {"again": {"n": "string(20)"}},
}


def test_nobody_puts_his_timers_before_those_of_others() -> None:
    ledger = LedgerInMemory()
    bring_into_force(ledger, package_files(WITH_TIMERS, remind=REMIND, due=DUE))
    bring_into_force(ledger, package_files(ASKING, ask=ASK, told=TOLD))
    put(ledger, bill("1"))

    fired: list[tuple[str, str]] = []
    for day in range(3):
        asks = [contract_event("ask", n=f"{day}-{at}", at=0) for at in range(TIMERS_MAX)]
        time_ms = ledger.state.time_ms + DAY_MS
        fired += done(ledger.block([ledger.batch(MES, asks)], time_ms=time_ms))

    assert fired == [("due", "done")]


def test_timers_for_which_a_block_has_no_gas_wait_for_the_next() -> None:
    numbers = ",".join(["1"] * 12)
    costly = f"size([{numbers}].map(a, [{numbers}].map(b, [{numbers}].map(c, a + b + c))))"
    heavy = TOLD | {"once": "string(height) + event.n", "let": [{"x": costly}]}
    ledger = LedgerInMemory()
    bring_into_force(ledger, package_files(WITH_TIMERS, remind=REMIND, due=DUE))
    files = package_files(ASKING, ask=ASK, **{f"h{at}": heavy for at in range(20)})
    bring_into_force(ledger, files)
    put(ledger, bill("1"))
    before_ms = ledger.state.time_ms + 1_000_000
    put(ledger, *[contract_event("ask", n=str(at), at=before_ms) for at in range(63)])

    fired: list[tuple[str, str]] = []
    for _ in range(4):
        fired += done(ledger.block(time_ms=before_ms + DAY_MS))

    assert fired == [("due", "done")]
    assert not rows(ledger, Table.TIMER)


# Evidence


def inspection(item: str, number: int = 0) -> bytes:
    body = quality_pb2.IncomingInspection(
        plan="P", sample_count=5, verdict=quality_pb2.VERDICT_CONFORMING
    )
    return event(nonce=f"{item} {number}", items=[(item, SUBJECT)], incoming_inspection=body)


def packed(action: int, unit: str, *parts: str) -> bytes:
    body = quality_pb2.Aggregation(action=quality_pb2.RelationAction.ValueType(action))
    items = [(unit, PARENT), *[(part, CHILD) for part in parts]]
    return event(nonce=f"{action} {unit} {parts[0]}", items=items, aggregation=body)


def inspected_unit() -> LedgerInMemory:
    ledger = LedgerInMemory()
    put(ledger, inspection("LOT-1"))
    put(ledger, transformation("wind", ["LOT-1"], ["U-1"]))
    return ledger


def seen(ledger: LedgerInMemory) -> set[tuple[str, str]]:
    found = ancestors_of(StateChanges(ledger.rows), ["U-1"]).ancestors
    return {(each.item, each.party) for each in found}


def test_nobody_takes_out_what_a_transformation_has_consumed() -> None:
    ledger = inspected_unit()
    put(ledger, packed(quality_pb2.RELATION_ACTION_DELETE, "U-1", "LOT-1"), holder=MES)

    assert seen(ledger) == {("LOT-1", "OEM-A")}


def test_parts_that_come_later_do_not_hide_those_that_were_there() -> None:
    ledger = inspected_unit()
    for at in range(6):
        parts = [f"0{at}{part:02}" for part in range(60)]
        put(ledger, packed(quality_pb2.RELATION_ACTION_ADD, "U-1", *parts), holder=MES)
        for number in range(4):
            put(ledger, *[inspection(part, number) for part in parts[:10]], holder=MES)

    assert ("LOT-1", "OEM-A") in seen(ledger)


def test_a_closure_looks_at_a_bounded_number_of_rows() -> None:
    ledger = LedgerInMemory()
    for at in range(40):
        parts = [f"P{at}-{part}" for part in range(60)]
        put(ledger, packed(quality_pb2.RELATION_ACTION_ADD, "U-1", *parts), holder=MES)

    assert ancestors_of(StateChanges(ledger.rows), ["U-1"]).row_count == ROWS_MAX


def test_an_item_is_the_same_to_a_rule_under_each_of_its_names() -> None:
    link, urn = "https://id.gs1.org/01/04012345678901/21/S1", "urn:epc:id:sgtin:4012345.067890.S1"
    guard = {
        "title": "No unit of this product is shipped",
        "on": "shipment",
        "guard": True,
        "refuse": [
            {
                "if": "event.items.exists(i, i.id.startsWith('https://id.gs1.org/01/04012345678901'))",
                "reason": "HELD_BACK",
            }
        ],
    }
    events = {**EVENTS, "shipment": {"items": "list(named, 64)"}}
    files = package_files({"events": events, "types": {"named": {"id": "string(128)"}}}, held=guard)
    ledger = LedgerInMemory()
    bring_into_force(ledger, files)
    body = quality_pb2.Shipment(receiver="OEM-A", despatch_advice="D")
    shipments = [event(nonce=name, items=[(name, SUBJECT)], shipment=body) for name in (link, urn)]

    outcomes = event_outcomes(ledger.block([ledger.batch(MES, shipments)]))
    assert outcomes[0] == outcomes[1] != 0


# What signed an event


def test_capture_and_device_are_those_of_the_event_and_not_what_its_author_writes() -> None:
    fields = {**EVENTS["bill"], "capture": "string(20)", "from_device": "string(64)"}
    telling = POST | {"let": [{"total": "billed"}, {"told": "event.capture + event.from_device"}]}
    ledger = LedgerInMemory()
    bring_into_force(ledger, package_files({"events": {"bill": fields}}, post=telling))
    effects = ledger.block([ledger.batch(ERP, [bill("1")])])

    (receipt,) = receipts_of(effects)
    steps = {each["step"]: each["value"] for each in receipt["because"]}
    assert steps["told"] == "SENSOR_DIRECTW07"
    for name in ("capture", "from_device"):
        with pytest.raises(EventRefused, match=name):
            check_event(contract_event("bill", **{name: "SENSOR_DIRECT"}))


# Versions


def test_an_older_version_reads_what_a_newer_one_has_kept_as_it_declares_it() -> None:
    record = {"n": "int"}
    opening = {
        "title": "A claim is opened",
        "on": "open",
        "claim": "event.n",
        "once": "event.n",
        "then": [{"alert": "'opened'", "level": "info"}],
    }
    reading = {
        "title": "What is kept is kept again",
        "on": "again",
        "claim": "event.n",
        "once": "event.n",
        "read": {"kept": {"kept": "'k'"}},
        "then": [{"set": {"kept": "'k'"}, "value": "kept"}],
    }
    filling = {
        "title": "Something is kept",
        "on": "fill",
        "once": "event.n",
        "then": [{"set": {"kept": "'k'"}, "value": {"n": "7"}}],
    }
    named = {"n": "string(20)"}
    base: dict[str, Any] = {
        "events": {**EVENTS, "open": named, "again": named, "fill": named},
        "state": {**MANIFEST["state"], "kept": {"type": "record", "default": {"n": 0}}},
    }
    rules: dict[str, Any] = {"open": opening, "again": reading}
    ledger = LedgerInMemory()
    bring_into_force(
        ledger, package_files({**base, "types": {"record": record}}, **rules, fill=filling)
    )
    put(ledger, contract_event("open", n="C"))
    wider: dict[str, Any] = {**base, "version": 2, "types": {"record": {**record, "more?": "int"}}}
    more = filling | {"then": [{"set": {"kept": "'k'"}, "value": {"n": "7", "more": "8"}}]}
    bring_into_force(ledger, package_files(wider, **rules, fill=more))
    put(ledger, contract_event("fill", n="F"))

    (receipt,) = receipts_of(ledger.block([ledger.batch(ERP, [contract_event("again", n="C")])]))
    assert (receipt["version"], receipt["status"]) == ("1", "done")


def test_rows_by_which_a_claims_receipts_are_found_are_billed() -> None:
    ledger = LedgerInMemory()
    bring_into_force(ledger, package_files(WITH_TIMERS, remind=REMIND, due=DUE))
    put(ledger, bill("1"))
    before = usage(ledger, "OEM-A").state_keys
    again = contract_event("bill", "again", number="1", to="T1-STATOR", amount=100)
    effects = ledger.block([ledger.batch(ERP, [again])], time_ms=ledger.state.time_ms)

    assert done(effects) == [("post", "duplicate"), ("remind", "duplicate")]
    assert usage(ledger, "OEM-A").state_keys == before + 1
