"""A ledger with two packages in force in whose blocks rules do all that they can do.

For those who read or verify one: rows of every table that rules have, and a rule receipt of every
kind and status.
"""

from functools import cache
from pathlib import Path

import lotmark_contracts
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2, quality_pb2
from tests.node.governance_events import DAY_MS
from tests.node.ledger_in_memory import LedgerInMemory, event, transformation
from tests.node.package_events import (
    ERP,
    activation,
    bring_into_force,
    contract_event,
    parts_of,
    proposing,
    put,
)
from tests.node.ruled_ledger import (
    DUE,
    GUARD,
    MANIFEST,
    REMIND,
    SHIPMENT,
    SHIPPED,
    WITH_TIMERS,
    package_files,
)
from tests.node.state_machine.reading import event_outcomes

MES = "T1-STATOR/mes"
EVENTS = {**MANIFEST["events"], "shipment": SHIPMENT}
DECLARED = {**WITH_TIMERS, "events": EVENTS, "types": {"shipped": SHIPPED}}
BILLS = package_files(DECLARED, guard=GUARD, remind=REMIND, due=DUE)
BILLS_2 = package_files({**DECLARED, "version": 2}, guard=GUARD, remind=REMIND, due=DUE)
UNSOUND = package_files({"name": "unsound", "unknown": 1})
RULED_HEIGHT = 11
_SHIPPED_PACKAGES = Path(lotmark_contracts.__file__).parent / "shipped"
_SUBJECT = event_pb2.ITEM_ROLE_SUBJECT


def shipped_package(name: str) -> dict[str, bytes]:
    """Return the files of a package that ships."""
    folder = _SHIPPED_PACKAGES / name
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.json")
    }


def bill(number: str, amount: int = 100, nonce: str = "") -> bytes:
    return contract_event("bill", nonce, number=number, to="T1-STATOR", amount=amount)


def shipment(item: str) -> bytes:
    body = quality_pb2.Shipment(receiver="OEM-A")
    return event(nonce=f"ship {item}", items=[(item, _SUBJECT)], shipment=body)


def _inspection(item: str) -> bytes:
    body = quality_pb2.IncomingInspection(
        plan="P", sample_count=5, verdict=quality_pb2.VERDICT_CONFORMING
    )
    return event(nonce=f"inspect {item}", items=[(item, _SUBJECT)], incoming_inspection=body)


@cache
def ruled_history() -> LedgerInMemory:
    """Return the ledger, which callers leave as it is."""
    ledger = LedgerInMemory()
    bring_into_force(ledger, shipped_package("technical-factor"))
    bring_into_force(ledger, BILLS)
    _charge(ledger)
    _bill(ledger)
    _wait(ledger)
    _propose_unsound(ledger)
    ledger.block([ledger.batch(ERP, [bill("5", 5)])])
    assert ledger.height == RULED_HEIGHT, f"the ledger has height {ledger.height}"
    return ledger


def _charge(ledger: LedgerInMemory) -> None:
    """Have a supplier agree to a factor, and a claim charged by it."""
    agreed = contract_event(
        "technical_factor_agreed",
        supplier="T1-STATOR",
        oem="OEM-A",
        family="stator",
        factor_bp=3_333,
        currency="EUR",
        cap=100_000,
    )
    put(ledger, agreed, holder=MES)
    claim = contract_event(
        "technical_factor_claim",
        claim="C-1",
        supplier="T1-STATOR",
        family="stator",
        serial="S1",
        part="P1",
        labour_code="L1",
        repaired_at=ledger.state.time_ms - 1_000,
        currency="EUR",
        material=1_234,
        minutes=[7],
        hourly_rate=9_999,
        other=0,
        billed_tf_bp=3_333,
    )
    put(ledger, claim)


def _bill(ledger: LedgerInMemory) -> None:
    """Have bills posted, refused, sent twice and malformed, and one shipment refused."""
    made = [
        bill("1"),
        bill("1", 7),
        bill("2", 2_000_000),
        contract_event("bill", number="3"),
        _inspection("LOT-1"),
        transformation("wind", ["LOT-1"], ["U-1"]),
        shipment("U-1"),
        shipment("U-2"),
    ]
    outcomes = event_outcomes(ledger.block([ledger.batch(ERP, made)]))
    assert outcomes == [0] * 7 + [Outcome.RULE_REFUSED]


def _wait(ledger: LedgerInMemory) -> None:
    """Let timers fire without an event, then leave one set, and a version that is proposed."""
    due_ms = ledger.state.next_due_ms
    assert due_ms is not None, "a bill is due after a day"
    ledger.block(time_ms=due_ms)
    change = activation(ledger, BILLS_2, lifetime_ms=7 * DAY_MS)
    put(ledger, proposing(ledger, change), *parts_of(BILLS_2), bill("4"))


def _propose_unsound(ledger: LedgerInMemory) -> None:
    """Have a package proposed that every node refuses once it is whole."""
    change = activation(ledger, UNSOUND)
    made = [proposing(ledger, change), *parts_of(UNSOUND)]
    outcomes = event_outcomes(ledger.block([ledger.batch(ERP, made)]))
    assert outcomes == [0, Outcome.PACKAGE_INVALID]
