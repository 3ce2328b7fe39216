"""`lotmark bench contracts`: what rules cost a node, an event at a time on one core."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from lotmark_contracts.execution.inputs import Ancestor, Circumstances, Event
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.receipt import Status
from lotmark_contracts.execution.rule_book import RuleBook
from lotmark_contracts.package.package import load_package
from lotmark_contracts.wcel.values import Value
from lotmark_node.bench import machine
from lotmark_node.package_folder import shipped_files, shipped_names

NOW_MS = 1_766_448_000_000
LOT = "https://id.gs1.org/01/04012345000016/10/CU-20251223-07"
SAMPLES = 20  # in a window of telemetry
BEARERS = 6  # among whom a claim is split, so as many postings
ANCESTORS = 24  # in the closure of a claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much a run does."""

    events: int  # of each kind in a round
    rounds: int  # of which the median counts


FULL = Extent(events=20_000, rounds=15)
QUICK = Extent(events=4_000, rounds=7)


def run(*, quick: bool) -> dict[str, object]:
    """Run the bench and return its figures."""
    return {
        "machine": machine.machine(),
        "versions": machine.versions(),
        "load": machine.load(),
        **run_extent(QUICK if quick else FULL),
    }


def run_extent(extent: Extent) -> dict[str, float]:
    """Return what the three kinds of events cost, in microseconds."""
    rules = RuleBook([load_package(shipped_files(name)) for name in shipped_names()])
    return {
        "us_no_listener": _event_us(rules, extent, _unheard, receipts=0),
        "us_rejected": _event_us(rules, extent, _telemetry, receipts=0),
        "us_claim": _event_us(rules, extent, _claim, receipts=1),
    }


def _event_us(
    rules: RuleBook, extent: Extent, make: Callable[[int], Event], *, receipts: int
) -> float:
    """Return the processor time of an event, its making aside: the median of rounds."""
    took_us = []
    for _ in range(extent.rounds):
        state = _state_with_terms(rules)
        events = [make(number) for number in range(extent.events)]
        circumstances = Circumstances(now_ms=NOW_MS + 10, height=2)
        done = 0
        start_s = time.process_time()
        for event in events:
            for outcome in rules.execute(event, circumstances, state.read):
                state.write(outcome.writes)
                done += outcome.receipt.status is Status.DONE
        took_us.append((time.process_time() - start_s) / extent.events * 1e6)
        if done != receipts * extent.events:
            raise RuntimeError(f"{done} receipts, and not {receipts} for each event")
    return round(median(took_us), 2)


def _state_with_terms(rules: RuleBook) -> MemoryState:
    """Return a state in which a supplier has agreed to what claims need."""
    fields: dict[str, Value] = {
        "supplier": "T2-CU-JX",
        "customer": "T1-STATOR",
        "starts": NOW_MS,
        "annual_cap": 10**15,
        "currency": "EUR",
    }
    state = MemoryState()
    event = Event(id="terms", type="lot_terms", author="T2-CU-JX", fields=fields)
    for outcome in rules.execute(event, Circumstances(now_ms=NOW_MS, height=1), state.read):
        state.write(outcome.writes)
    return state


def _unheard(number: int) -> Event:
    return Event(id=f"e{number}", type="measurement", author="T1-STATOR", fields={})


def _telemetry(number: int) -> Event:
    return Event(
        id=f"e{number}",
        type="sensor_window",
        author="OEM-A",
        fields={
            "serial": f"VIN-{number}",
            "sensor": "vibration",
            "capture": "MANUAL",
            "calibrated": True,
            "clock_synchronised": True,
            "at": NOW_MS,
            "uncertainty_ms": 2,
            "km": 1_000,
            "samples": [{"sequence": at, "value": 60_000 + at} for at in range(SAMPLES)],
        },
    )


def _claim(number: int) -> Event:
    closure = [
        Ancestor(
            item=LOT,
            depth=1,
            entry=entry,
            event_type="report_seal",
            party="T2-CU-JX" if entry % 2 else "T1-STATOR",
            recorded_at_ms=NOW_MS - 1_000,
        )
        for entry in range(ANCESTORS)
    ]
    return Event(
        id=f"e{number}",
        type="lot_failure",
        author="T1-STATOR",
        fields={
            "claim": f"L-{number}",
            "lot": LOT,
            "supplier": "T2-CU-JX",
            "contract_year": 0,
            "inspected": 400,
            "defects": 9,
            "detected_at": NOW_MS,
            "handover_at": NOW_MS,
            "supplier_evidence": "OK_OUT",
            "supplier_entry": 1,
            "customer_evidence": "OK_IN",
            "customer_entry": 2,
            "items": {
                "sorting": 120_000,
                "scrap": 455_050,
                "rework": 33_333,
                "line_down": 800_000,
                "admin_8d": 30_000,
            },
            "liable": [{"party": f"T3-{at}", "weight": 1 + at} for at in range(BEARERS)],
        },
        provenance=closure,
    )
