"""What rules in force make of a ledger's events: guards, timers, evidence, failures, money."""

from typing import Any

import pytest

from lotmark.outcome import Outcome
from lotmark.rule_value import RuleValue
from lotmark.state_rows import Table
from lotmark.v1 import quality_pb2
from lotmark_contracts.execution.offline_block import TIMERS_MAX
from lotmark_node.state_machine.block_rules import SUSPENDED_RETRY_MS
from lotmark_node.state_machine.contract_rows import parse_balance
from lotmark_node.state_machine.item_evidence import ancestors_of
from lotmark_node.state_machine.state import StateChanges
from tests.node.governance_events import DAY_MS
from tests.node.ledger_in_memory import LedgerInMemory, event, measurement, transformation
from tests.node.package_events import (
    ERP,
    approval,
    bring_into_force,
    contract_event,
    hash_of,
    proposing,
    put,
)
from tests.node.ruled_ledger import (
    DUE,
    GUARD,
    MANIFEST,
    POST,
    REMIND,
    SHIPMENT,
    SHIPPED,
    WITH_TIMERS,
    package_files,
    receipts_of,
)
from tests.node.state_machine.reading import event_outcomes, rows, usage
from tests.node.state_machine.test_packages import bill, named

MES = "T1-STATOR/mes"
SUBJECT, USED = 1, 6


def ruled(files: dict[str, bytes]) -> LedgerInMemory:
    ledger = LedgerInMemory()
    bring_into_force(ledger, files)
    return ledger


def with_guard() -> LedgerInMemory:
    events = {**MANIFEST["events"], "shipment": SHIPMENT}
    return ruled(package_files({"events": events, "types": {"shipped": SHIPPED}}, guard=GUARD))


def with_timers() -> LedgerInMemory:
    return ruled(package_files(WITH_TIMERS, remind=REMIND, due=DUE))


def shipment(nonce: str, *items: str) -> bytes:
    body = quality_pb2.Shipment(receiver="OEM-A", despatch_advice="DA-1")
    return event(nonce=nonce, items=[(item, SUBJECT) for item in items], shipment=body)


def inspection(item: str, number: int = 0) -> bytes:
    body = quality_pb2.IncomingInspection(
        plan="P", sample_count=5, verdict=quality_pb2.VERDICT_CONFORMING
    )
    return event(
        nonce=f"inspect {item} {number}", items=[(item, SUBJECT)], incoming_inspection=body
    )


def statuses(receipts: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["rule"], each["status"]) for each in receipts]


def balances(ledger: LedgerInMemory) -> list[int]:
    return [parse_balance(value) for value in rows(ledger, Table.ACCOUNT).values()]


def test_a_guard_refuses_an_event_and_says_what_is_missing() -> None:
    ledger = with_guard()
    effects = ledger.block([ledger.batch(MES, [shipment("1", "U-1", "U-2")])])

    assert event_outcomes(effects) == [Outcome.RULE_REFUSED]
    (receipt,) = receipts_of(effects)
    assert (receipt["status"], receipt["reason"]) == ("refused", "STEP_MISSING")
    assert {"step": "missing", "value": ["U-1", "U-2"]} in receipt["because"]
    assert effects.results.close.refused_event_count == 1
    assert effects.results.close.receipt_count == 1


def test_what_a_lot_was_inspected_for_counts_for_the_unit_made_of_it() -> None:
    ledger = with_guard()
    put(ledger, inspection("LOT-1"), holder=MES)
    put(ledger, transformation("draw", ["LOT-1"], ["WIRE-1"]), holder=MES)
    put(ledger, transformation("wind", ["WIRE-1"], ["U-1"]), holder=MES)

    assert event_outcomes(ledger.block([ledger.batch(MES, [shipment("1", "U-1")])])) == [0]
    refused = ledger.block([ledger.batch(MES, [shipment("2", "U-2")])])
    assert event_outcomes(refused) == [Outcome.RULE_REFUSED]


def test_what_stands_earlier_in_the_same_block_counts() -> None:
    ledger = with_guard()
    made = [inspection("LOT-1"), transformation("wind", ["LOT-1"], ["U-1"]), shipment("1", "U-1")]

    assert event_outcomes(ledger.block([ledger.batch(MES, made)])) == [0, 0, 0]


def test_a_refused_event_leaves_no_evidence_and_no_edge() -> None:
    ledger = with_guard()
    before = rows(ledger, Table.EVIDENCE, Table.PARENT)
    ledger.block([ledger.batch(MES, [shipment("1", "U-1")])])

    assert rows(ledger, Table.EVIDENCE, Table.PARENT) == before


def test_a_timer_fires_in_the_first_block_of_its_time_even_an_empty_one() -> None:
    ledger = with_timers()
    put(ledger, bill("1"))
    due_ms = ledger.state.next_due_ms
    assert due_ms == ledger.state.time_ms + DAY_MS

    assert not receipts_of(ledger.block(time_ms=due_ms - 1))
    effects = ledger.block(time_ms=due_ms)

    (receipt,) = receipts_of(effects)
    assert (receipt["rule"], receipt["status"]) == ("due", "done")
    assert receipt["notices"] == [{"alert": "1 is due from T1-STATOR", "level": "info"}]
    assert effects.results.close.batch_count == 0
    assert ledger.state.next_due_ms is None
    assert not rows(ledger, Table.TIMER, Table.TIMER_PLACE)


def test_more_timers_than_a_block_fires_wait_for_the_next() -> None:
    ledger = with_timers()
    put(ledger, *[bill(f"B{at}") for at in range(TIMERS_MAX + 5)])
    due_ms = ledger.state.next_due_ms
    assert due_ms is not None

    fired = [len(receipts_of(ledger.block(time_ms=due_ms))) for _ in range(3)]

    assert fired == [TIMERS_MAX, 5, 0]


def test_timers_of_a_stopped_package_wait() -> None:
    ledger = with_timers()
    put(ledger, bill("1"))
    due_ms = ledger.state.next_due_ms
    assert due_ms is not None
    stop = named("bills", "suspend")(ledger)
    put(ledger, proposing(ledger, stop), approval(ledger, hash_of(ledger, stop), "T1-STATOR"))

    assert not receipts_of(ledger.block(time_ms=due_ms))
    assert ledger.state.next_due_ms == due_ms + SUSPENDED_RETRY_MS

    resume = named("bills", "resume")(ledger)
    hashed = hash_of(ledger, resume)
    approvals = [approval(ledger, hashed, party) for party in ("T1-STATOR", "LAB-17025")]
    put(ledger, proposing(ledger, resume), *approvals)
    fired = receipts_of(ledger.block(time_ms=due_ms + SUSPENDED_RETRY_MS))
    assert statuses(fired) == [("due", "done")]


def test_the_receipts_of_a_claim_are_found_by_its_name() -> None:
    ledger = with_timers()
    effects = ledger.block([ledger.batch(ERP, [bill("1")])])
    index = effects.results.first_receipt_index
    receipts = receipts_of(effects)

    assert statuses(receipts) == [("post", "done"), ("remind", "done")]
    (key,) = rows(ledger, Table.CLAIM_RECEIPT)
    assert key.endswith(b"OEM-A/1\x00\x08" + (index + 1).to_bytes(8))


HOSTILE: dict[str, dict[str, RuleValue]] = {
    "nothing": {},
    "a number as text": {"number": "1", "to": "T1-STATOR", "amount": "100"},
    "an unknown field": {"number": "1", "to": "T1-STATOR", "amount": 1, "also": 1},
    "a list of 1,900": {"number": "1", "to": "T1-STATOR", "amount": [0] * 1_900},
    "a record 14 deep": {"number": "1", "to": "T1-STATOR", "amount": {}},
    "a text too long": {"number": "1" * 21, "to": "T1-STATOR", "amount": 1},
    "an amount below zero": {"number": "1", "to": "T1-STATOR", "amount": -1},
}
_deep: RuleValue = 1
for _ in range(14):
    _deep = {"in": _deep}
HOSTILE["a record 14 deep"]["amount"] = _deep


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_event_gives_a_failed_receipt_and_moves_nothing(name: str) -> None:
    ledger = ruled(package_files())
    contract_rows = (Table.RULE_VALUE, Table.ONCE, Table.ACCOUNT, Table.CLAIM, Table.TIMER)
    before = rows(ledger, *contract_rows)

    effects = ledger.block([ledger.batch(ERP, [contract_event("bill", **HOSTILE[name])])])

    assert event_outcomes(effects) == [0]
    assert statuses(receipts_of(effects)) == [("post", "failed")]
    assert rows(ledger, *contract_rows) == before


def test_money_sums_to_zero_after_every_block() -> None:
    ledger = ruled(package_files())
    for at in range(5):
        ledger.block([ledger.batch(ERP, [bill(f"{at}-{n}", 10**at + n) for n in range(20)])])
        assert balances(ledger)
        assert sum(balances(ledger)) == 0


def test_a_party_that_has_not_approved_is_not_debited() -> None:
    accounts = {"party": ["debit", "credit", "party"]}
    ledger = ruled(package_files({"accounts": accounts}))
    effects = ledger.block([ledger.batch(ERP, [bill("1", to="T2-CU-JX"), bill("2")])])

    first, second = receipts_of(effects)
    assert (first["status"], first["failure"]["code"]) == ("failed", "not_bound")
    assert second["status"] == "done"


def test_rules_are_executed_for_no_event_that_is_refused_otherwise() -> None:
    ledger = ruled(package_files())
    batch = ledger.batch(ERP, [bill("1"), bill("1")])
    effects = ledger.block([batch])

    assert event_outcomes(effects) == [0, Outcome.EVENT_DUPLICATE]
    assert statuses(receipts_of(effects)) == [("post", "done")]


def test_rows_that_rules_make_are_billed_to_the_author() -> None:
    ledger = ruled(package_files())
    before = usage(ledger, "OEM-A").state_keys
    ledger.block([ledger.batch(ERP, [bill("1")])], time_ms=ledger.state.time_ms)

    assert usage(ledger, "OEM-A").state_keys - before >= 4, "a value, a once-key, two accounts"


def test_a_block_s_gas_is_bounded_and_what_it_lacks_for_can_be_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lotmark_node.state_machine.block_rules.BLOCK_GAS_MAX", 2_000)
    ledger = ruled(package_files())
    effects = ledger.block([ledger.batch(ERP, [bill(f"{at}") for at in range(10)])])

    found = receipts_of(effects)
    failed = [each["failure"]["code"] for each in found if each["status"] == "failed"]
    assert 1 <= len(failed) < 10
    assert set(failed) == {"block_gas"}
    last = contract_event("bill", "again", number="9", to="T1-STATOR", amount=100)
    assert statuses(receipts_of(ledger.block([ledger.batch(ERP, [last])]))) == [("post", "done")]


def test_once_a_block_has_no_gas_each_event_has_one_receipt_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else they would be as many as events times rules, and nothing would pay for them."""
    monkeypatch.setattr("lotmark_node.state_machine.block_rules.BLOCK_GAS_MAX", 2_000)
    ledger = ruled(package_files({}, **{f"also_{at}": POST for at in range(8)}))
    effects = ledger.block([ledger.batch(ERP, [bill(f"{at}") for at in range(20)])])

    lacking: dict[str, int] = {}
    for each in receipts_of(effects):
        if each["status"] == "failed":
            lacking[each["event"]] = lacking.get(each["event"], 0) + 1
    first = effects.results.first_index + 1
    last_events = [str(index) for index in range(first + 10, first + 20)]
    assert [lacking.get(event) for event in last_events] == [1] * 10
    assert effects.results.close.receipt_count == len(effects.results.receipts)


def test_an_event_of_packages_cannot_have_the_name_of_the_ledger_s_own() -> None:
    ledger = ruled(package_files())
    effects = ledger.block([ledger.batch(ERP, [contract_event("shipment", receiver="x")])])

    assert event_outcomes(effects) == [Outcome.FIELD_INVALID]


def test_several_packages_are_executed_in_the_order_of_their_names() -> None:
    ledger = ruled(package_files())
    bring_into_force(ledger, package_files({"name": "a-bills"}, post={**POST, "title": "First"}))
    effects = ledger.block([ledger.batch(ERP, [bill("1")])])

    assert [each["package"] for each in receipts_of(effects)] == ["a-bills", "bills"]


def evidence(ledger: LedgerInMemory, item: str) -> list[tuple[int, str]]:
    found = ancestors_of(StateChanges(ledger.rows), [item]).ancestors
    return [(each.entry, each.party) for each in found]


def test_of_an_item_the_first_eight_entries_of_each_party_and_type_are_kept() -> None:
    ledger = LedgerInMemory()
    for number in range(10):
        put(ledger, inspection("LOT-1", number), holder=MES)
    put(ledger, inspection("LOT-1", 10))

    kept = evidence(ledger, "LOT-1")
    assert [party for _, party in kept] == ["T1-STATOR"] * 8 + ["OEM-A"]
    assert kept == sorted(kept)


def test_of_types_that_a_package_asks_for_the_first_entry_is_kept_and_of_others_none() -> None:
    ledger = ruled(package_files({"evidence": ["measurement"]}))
    put(ledger, measurement(1, item="U-1"), measurement(2, item="U-1"), holder=MES)
    put(ledger, shipment("1", "U-1"), holder=MES)
    assert len(evidence(ledger, "U-1")) == 1

    without = LedgerInMemory()
    put(without, measurement(1, item="U-1"), holder=MES)
    assert not evidence(without, "U-1")


def test_what_was_only_used_has_no_evidence_of_it() -> None:
    ledger = LedgerInMemory()
    body = quality_pb2.IncomingInspection(
        plan="P", sample_count=5, verdict=quality_pb2.VERDICT_CONFORMING
    )
    items = [("LOT-1", SUBJECT), ("GAUGE-7", USED)]
    put(ledger, event(nonce="used", items=items, incoming_inspection=body), holder=MES)

    assert evidence(ledger, "LOT-1")
    assert not evidence(ledger, "GAUGE-7")
