"""`lotmark bench contracts`: what rules cost a node, an event at a time on one core."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from lotmark_contracts.backtesting.backtest import PastBlock, backtest
from lotmark_contracts.execution.block_execution import RulesOfBlock
from lotmark_contracts.execution.inputs import Ancestor, Circumstances, Event, Party
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.receipt import Status
from lotmark_contracts.execution.rule_book import ActivePackage, RuleBook
from lotmark_contracts.package.package import load_package
from lotmark_contracts.wcel.values import Value
from lotmark_node import collector
from lotmark_node.bench import machine, rules_cost
from lotmark_node.package_folder import shipped_files, shipped_names

NOW_MS = 1_766_448_000_000
LOT = "https://id.gs1.org/01/04012345000016/10/CU-20251223-07"
SAMPLES = 20  # in a window of telemetry
BEARERS = 6  # among whom a claim is split, so as many postings
ANCESTORS = 24  # in the closure of a claim
SUB_SUPPLIERS = [f"T3-{at}" for at in range(BEARERS)]
PARTIES = [Party(name, "supplier") for name in ("T1-STATOR", "T2-CU-JX", *SUB_SUPPLIERS)]
BACKTEST_EVENTS = 20_000
GAS_UNBOUNDED = 10**12  # a round is one block here, larger than any that a ledger makes


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much a run does."""

    events: int  # of each kind in a round
    rounds: int  # of which the median counts


FULL = Extent(events=20_000, rounds=15)
QUICK = Extent(events=4_000, rounds=7)


def run(*, quick: bool) -> dict[str, object]:
    """Run the bench and return its figures."""
    collector.settle()  # as a node's process does
    return {
        "machine": machine.machine(),
        "versions": machine.versions(),
        "load": machine.load(),
        **run_extent(QUICK if quick else FULL),
        **rules_cost.run_extent(rules_cost.QUICK if quick else rules_cost.FULL),
    }


def run_extent(extent: Extent) -> dict[str, float]:
    """Return what events and claims cost in microseconds, and how long a backtest takes."""
    rules = RuleBook([ActivePackage(load_package(shipped_files(name))) for name in shipped_names()])
    return {
        "us_no_listener": _event_us(rules, extent, _unheard, receipts=0),
        "us_rejected": _event_us(rules, extent, _telemetry, receipts=0),
        "us_claim": _event_us(rules, extent, _claim, receipts=2),
        "backtest_s": _backtest_s(rules),
    }


def _backtest_s(rules: RuleBook) -> float:
    """Return how long a package is tried on 20,000 events, a hundred a block, a tenth claims."""
    package = ActivePackage(load_package(shipped_files("lot-event")))
    history = []
    for height in range(2, 2 + BACKTEST_EVENTS // 100):
        number = height * 100
        events = [event for at in range(90) for event in _telemetry(number + at)]
        events += [event for at in range(5) for event in _claim(number + at)]
        circumstances = Circumstances(now_ms=NOW_MS + height, height=height, parties=PARTIES)
        history.append(PastBlock(circumstances=circumstances, events=events))
    start_s = time.perf_counter()
    report = backtest(history, old=[package], new=package, start=_state_with_terms(rules))
    took_s = time.perf_counter() - start_s
    if report.events != BACKTEST_EVENTS or report.changed_count:
        raise RuntimeError(f"{report.events} events and {report.changed_count} changed decisions")
    return round(took_s, 2)


def _event_us(
    rules: RuleBook, extent: Extent, make: Callable[[int], Sequence[Event]], *, receipts: int
) -> float:
    """Return the processor time of what is made, its making aside: the median of rounds."""
    took_us = []
    for _ in range(extent.rounds):
        state = _state_with_terms(rules)
        events = [event for number in range(extent.events) for event in make(number)]
        circumstances = Circumstances(now_ms=NOW_MS + 10, height=2, parties=PARTIES)
        done = 0
        start_s = time.process_time()
        block = RulesOfBlock(rules, circumstances, state, gas_max=GAS_UNBOUNDED)
        for event in events:
            for receipt in block.execute(event):
                done += receipt.status is Status.DONE
        took_us.append((time.process_time() - start_s) / extent.events * 1e6)
        if done != receipts * extent.events:
            raise RuntimeError(f"{done} receipts, and not {receipts} for each number")
    return round(median(took_us), 2)


def _state_with_terms(rules: RuleBook) -> MemoryState:
    """Return a state in which suppliers have agreed to what claims need."""
    terms: dict[str, Value] = {
        "supplier": "T2-CU-JX",
        "customer": "T1-STATOR",
        "starts": NOW_MS,
        "annual_cap": 10**15,
        "currency": "EUR",
    }
    share: dict[str, Value] = {
        "supplier": "T2-CU-JX",
        "share_bp_max": 10_000,
        "cap": 10**12,
        "currency": "EUR",
    }
    state = MemoryState()
    block = RulesOfBlock(rules, Circumstances(now_ms=NOW_MS, height=1, parties=PARTIES), state)
    block.execute(Event(id="terms", type="lot_terms", author="T2-CU-JX", fields=terms))
    for name in SUB_SUPPLIERS:
        block.execute(Event(id=name, type="lot_share_agreed", author=name, fields=share))
    return state


def _unheard(number: int) -> Sequence[Event]:
    return [Event(id=f"e{number}", type="measurement", author="T1-STATOR", fields={})]


def _telemetry(number: int) -> Sequence[Event]:
    window = Event(
        id=f"e{number}",
        type="sensor_window",
        author="OEM-A",
        fields={
            "warrantor": "OEM-A",
            "serial": f"VIN-{number}",
            "from_device": "edge-1",
            "sensor": "vibration",
            "capture": "MANUAL",
            "clock_synchronised": True,
            "at": NOW_MS,
            "uncertainty_ms": 2,
            "km": 1_000,
            "samples": [{"sequence": at, "value": 60_000 + at} for at in range(SAMPLES)],
        },
    )
    return [window]


def _claim(number: int) -> Sequence[Event]:
    """Return a failure that is split among six, and the statement that posts it."""
    closure = [
        Ancestor(
            item=LOT,
            depth=1,
            entry=entry,
            event_type="report_seal" if entry % 2 else "incoming_inspection",
            party="T2-CU-JX" if entry % 2 else "T1-STATOR",
            recorded_at_ms=NOW_MS - 1_000,
        )
        for entry in range(ANCESTORS)
    ]
    failure = Event(
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
            "liable": [{"party": name, "weight": 1 + at} for at, name in enumerate(SUB_SUPPLIERS)],
        },
        provenance=lambda: closure,
    )
    statement = Event(
        id=f"s{number}",
        type="lot_statement",
        author="T2-CU-JX",
        fields={"claim": f"L-{number}", "customer": "T1-STATOR", "undisputed": 1_438_383},
    )
    return [failure, statement]
