"""Events of all kinds by chance, good and bad ones, for all shipped packages at once.

Run as a program, with a seed and a count, it prints a digest of every receipt and of the state.
"""

import hashlib
import json
import random
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from lotmark_contracts.execution.inputs import Ancestor, Event, Party
from lotmark_contracts.execution.receipt import RuleReceipt, Status
from lotmark_contracts.package.package import load_package
from tests.contracts.packages import NOW_MS, SHIPPED, Desk, shipped_files

PARTIES = (
    Party("OEM", "oem"),
    Party("T1", "supplier"),
    Party("T2", "supplier"),
    Party("T3", "supplier"),
    Party("N", "notary"),
    Party("LAB", "laboratory"),
)
DAY_MS = 86_400_000
WITH_PROVENANCE = ("lot_failure", "model_promotion", "shipment")
LOT = "https://id.gs1.org/01/04012345000016/10/L"


def mixed_events(chance: random.Random, count: int) -> Iterator[Event]:
    """Yield events: a tenth has an author who may not, and some have a field of another kind."""
    makers = [value for name, value in sorted(globals().items()) if name.startswith("_make_")]
    for number in range(count):
        event_type, author, fields = chance.choice(makers)(chance, number)
        if chance.random() < 0.1:
            author = chance.choice(PARTIES).id
        if chance.random() < 0.03:
            fields[chance.choice(sorted(fields))] = chance.choice([1.5, None, "x" * 5_000, [], -1])
        provenance = _provenance(chance) if event_type in WITH_PROVENANCE else []
        yield Event(
            id=f"e{number}",
            type=event_type,
            author=author,
            fields=fields,
            provenance=partial(list, provenance),
        )


def _provenance(chance: random.Random) -> list[Ancestor]:
    return [
        Ancestor(
            item=LOT,
            depth=1,
            entry=entry,
            event_type=event_type,
            party=party,
            recorded_at_ms=NOW_MS + chance.randrange(-2, 2) * DAY_MS,
        )
        for entry, party, event_type in (
            (1, "T2", "report_seal"),
            (2, "T1", "incoming_inspection"),
            (3, "OEM", "report_seal"),
        )
        if chance.random() < 0.8
    ]


Made = tuple[str, str, dict[str, Any]]


def _some(chance: random.Random, prefix: str, count: int) -> str:
    return f"{prefix}{chance.randrange(count)}"


def _make_agreement(chance: random.Random, _number: int) -> Made:
    fields = {
        "supplier": "T1",
        "oem": "OEM",
        "family": _some(chance, "f", 3),
        "factor_bp": 3_333,
        "currency": chance.choice(["EUR", "JPY"]),
    }
    return "technical_factor_agreed", "T1", fields


def _make_claim(chance: random.Random, number: int) -> Made:
    return (
        "technical_factor_claim",
        "OEM",
        {
            "claim": _some(chance, "C", 3_000),
            "supplier": "T1",
            "family": _some(chance, "f", 4),
            "serial": f"S{number % 900}",
            "part": "P",
            "labour_code": "L",
            "repaired_at": NOW_MS - chance.randrange(400) * DAY_MS,
            "currency": chance.choice(["EUR", "JPY", "KWD", "XXX"]),
            "material": chance.randrange(100_000),
            "minutes": [chance.randrange(200) for _ in range(chance.randrange(4))],
            "hourly_rate": 9_999,
            "other": chance.randrange(-100, 1_000),
            "billed_tf_bp": chance.randrange(10_500),
        },
    )


def _make_release(chance: random.Random, number: int) -> Made:
    fields = {
        "claim": _some(chance, "C", 3_000),
        "claimant": "OEM",
        "serial": f"S{number % 900}",
        "part": "P",
        "labour_code": "L",
        "repaired_at": NOW_MS - chance.randrange(400) * DAY_MS,
    }
    return "technical_factor_release", "T1", fields


def _make_claim_statement(chance: random.Random, _number: int) -> Made:
    fields = {
        "claim": _some(chance, "C", 3_000),
        "claimant": "OEM",
        "factor_bp": 3_333,
        "currency": "EUR",
        "plausible": 0,
        "implausible": 0,
        "is_disputed": chance.random() < 0.5,
    }
    return "technical_factor_statement", "T1", fields


def _make_reversal(chance: random.Random, _number: int) -> Made:
    return (
        "technical_factor_reversal",
        "OEM",
        {"claim": _some(chance, "C", 3_000), "claimant": "OEM"},
    )


def _make_terms(chance: random.Random, _number: int) -> Made:
    fields = {
        "supplier": "T1",
        "oem": "OEM",
        "analysis_role": "laboratory",
        "ntf_share_bp": 5_000,
        "minimum": chance.randrange(3),
        "default_tf_bp": 3_000,
        "ntf_trigger_bp": 2_000,
        "currency": "EUR",
        "period_cap": chance.randrange(5_000),
    }
    return "market_terms", "T1", fields


def _make_analysis(chance: random.Random, _number: int) -> Made:
    fields = {
        "supplier": "T1",
        "oem": "OEM",
        "period": chance.randrange(50),
        "part": _some(chance, "P", 500),
        "result": chance.choice(["SUPPLIER", "OEM", "NTF", "MISUSE", "BROKEN"]),
    }
    return "part_analysed", "LAB", fields


def _make_close(chance: random.Random, _number: int) -> Made:
    return "period_close", "OEM", {"supplier": "T1", "period": chance.randrange(60)}


def _make_trueup(chance: random.Random, number: int) -> Made:
    costs = [
        {"claim": f"c{at:02}", "cost100": chance.randrange(1_000), "paid": 0}
        for at in range(chance.randrange(12))
    ]
    fields = {
        "supplier": "T1",
        "period": chance.randrange(60),
        "run": number,
        "currency": "EUR",
        "costs": costs,
    }
    return "period_trueup", "OEM", fields


def _make_cover(chance: random.Random, _number: int) -> Made:
    fields = {
        "serial": _some(chance, "V", 60),
        "sensor_party": "T2",
        "device": chance.choice(["edge", "edge", "edge-2"]),
        "owner": "O",
        "starts": NOW_MS - chance.randrange(1_500) * DAY_MS,
        "free_months": chance.randrange(13),
        "max_months": chance.randrange(10, 40),
        "free_km": 30_000,
        "max_km": 100_000,
        "cost": chance.randrange(100_000),
        "currency": "EUR",
    }
    return "cover_granted", "OEM", fields


def _make_calibration(chance: random.Random, _number: int) -> Made:
    fields = {
        "party": "T2",
        "device": "edge",
        "valid_from": NOW_MS - DAY_MS,
        "valid_until": NOW_MS + chance.randrange(2, 4) * DAY_MS,
    }
    return "sensor_calibrated", "LAB", fields


def _make_window(chance: random.Random, _number: int) -> Made:
    fields = {
        "warrantor": "OEM",
        "serial": _some(chance, "V", 60),
        "from_device": "edge",
        "sensor": chance.choice(["spindle_temp", "vibration"]),
        "capture": chance.choice(["SENSOR_DIRECT", "MANUAL"]),
        "clock_synchronised": chance.random() < 0.95,
        "at": NOW_MS + chance.randrange(DAY_MS),
        "uncertainty_ms": chance.randrange(100),
        "km": chance.randrange(120_000),
        "samples": [
            {"sequence": at + chance.randrange(50) // 49, "value": chance.randrange(84_000, 90_000)}
            for at in range(20)
        ],
    }
    return "sensor_window", "T2", fields


def _make_decision(chance: random.Random, _number: int) -> Made:
    return (
        "cover_decision",
        "N",
        {
            "warrantor": "OEM",
            "serial": _some(chance, "V", 60),
            "pay": chance.randrange(9_000),
        },
    )


def _make_lot_terms(chance: random.Random, _number: int) -> Made:
    fields = {
        "supplier": "T2",
        "customer": "T1",
        "starts": NOW_MS - DAY_MS,
        "annual_cap": chance.randrange(10**9),
        "currency": "EUR",
    }
    return "lot_terms", "T2", fields


def _make_lot(chance: random.Random, _number: int) -> Made:
    evidence = ["OK_IN", "OK_OUT", "MISSING", "MISMATCH"]
    names = ("sorting", "scrap", "rework", "line_down", "admin_8d")
    liable = [{"party": f"T{at}", "weight": chance.randrange(9)} for at in (2, 3)]
    fields = {
        "claim": _some(chance, "L", 1_000),
        "lot": LOT,
        "supplier": "T2",
        "contract_year": 0,
        "inspected": chance.randrange(600),
        "defects": chance.randrange(12),
        "detected_at": NOW_MS,
        "handover_at": NOW_MS + DAY_MS,
        "supplier_evidence": chance.choice(evidence),
        "supplier_entry": 1,
        "customer_evidence": chance.choice(evidence),
        "customer_entry": 2,
        "items": {name: chance.randrange(10**6) for name in names},
        "liable": liable if chance.random() < 0.3 else [],
    }
    return "lot_failure", "T1", fields


def _make_lot_share(chance: random.Random, _number: int) -> Made:
    fields = {
        "supplier": "T2",
        "share_bp_max": chance.randrange(5_000, 10_001),
        "cap": chance.randrange(10**9),
        "currency": "EUR",
    }
    return "lot_share_agreed", "T3", fields


def _make_lot_statement(chance: random.Random, _number: int) -> Made:
    fields = {
        "claim": _some(chance, "L", 1_000),
        "customer": "T1",
        "undisputed": chance.randrange(10**5),
    }
    return "lot_statement", "T2", fields


def _make_lot_ruling(chance: random.Random, _number: int) -> Made:
    fields = {
        "claim": _some(chance, "L", 1_000),
        "customer": "T1",
        "outcome_bp": chance.randrange(10_001),
    }
    return "lot_ruling", "LAB", fields


def _make_rate(chance: random.Random, _number: int) -> Made:
    fields = {
        "from": "EUR",
        "to": "CNY",
        "num": chance.randrange(700_000, 800_000),
        "den": 100_000,
        "effective_at": NOW_MS - chance.randrange(10) * DAY_MS,
    }
    return "exchange_rate", "N", fields


def _make_billing(chance: random.Random, _number: int) -> Made:
    fields = {
        "claimant": "OEM",
        "amount_max": chance.randrange(10**8),
        "currency": chance.choice(["EUR", "CNY"]),
    }
    return "billing_terms", "T1", fields


def _make_bill(chance: random.Random, _number: int) -> Made:
    fields = {
        "claim": _some(chance, "B", 500),
        "supplier": "T1",
        "amount": chance.randrange(10**7),
        "currency": "EUR",
        "billing_currency": chance.choice(["EUR", "CNY"]),
        "occurred_at": NOW_MS - chance.randrange(DAY_MS),
        "uncertainty_ms": chance.randrange(10_000_000),
    }
    return "bill_filed", "OEM", fields


def _make_statement(chance: random.Random, _number: int) -> Made:
    fields = {
        "claim": _some(chance, "B", 500),
        "claimant": "OEM",
        "undisputed": chance.randrange(10**6),
    }
    return "bill_statement", "T1", fields


def _make_ruling(chance: random.Random, _number: int) -> Made:
    fields = {
        "claim": _some(chance, "B", 500),
        "claimant": "OEM",
        "outcome_bp": chance.randrange(10_001),
    }
    return "bill_ruling", "N", fields


def _make_tier(chance: random.Random, _number: int) -> Made:
    lower = chance.choice(["T2", "T3"])
    fields = {
        "upper": "T1" if lower == "T2" else "T2",
        "pass_bp": chance.randrange(10_001),
        "cap": 250_000,
        "currency": "EUR",
        "starts": NOW_MS - chance.randrange(DAY_MS),
        "ends": NOW_MS + DAY_MS,
    }
    return "tier_terms", lower, fields


def _make_taken(chance: random.Random, _number: int) -> Made:
    upper, lower = chance.choice([("T1", "T2"), ("T2", "T3"), ("T3", "T1")])
    return "tier_taken", upper, {"lower": lower}


def _make_recourse(chance: random.Random, _number: int) -> Made:
    return "recourse_filed", "T1", {"claim": _some(chance, "B", 500), "claimant": "OEM"}


def _make_window_decision(chance: random.Random, _number: int) -> Made:
    fields = {
        "claim": _some(chance, "B", 500),
        "claimant": "OEM",
        "is_in_window": chance.random() < 0.5,
    }
    return "recourse_decision", "N", fields


def _make_taking_back(chance: random.Random, _number: int) -> Made:
    event_type, author = chance.choice([("bill_reversal", "OEM"), ("recourse_reversal", "T1")])
    return event_type, author, {"claim": _some(chance, "B", 500), "claimant": "OEM"}


def _make_promotion(chance: random.Random, _number: int) -> Made:
    fields = {
        "model": _some(chance, "m", 3),
        "version": _some(chance, "v", 50),
        "baseline_f1_ppm": 900_000,
        "reporter": "T2",
        "mse_ppm": chance.randrange(22_000),
        "mse_entry": 1,
        "rework_bp": chance.randrange(160),
        "rework_entry": 3,
    }
    return "model_promotion", "OEM", fields


def _make_hour(chance: random.Random, number: int) -> Made:
    fields = {
        "owner": "OEM",
        "model": _some(chance, "m", 3),
        "hour": number // 100,
        "labels": chance.randrange(100, 1_000),
        "true_positives": chance.randrange(60, 90),
        "false_positives": chance.randrange(30),
        "false_negatives": chance.randrange(30),
    }
    return "model_hour", "T2", fields


def _make_plan(chance: random.Random, _number: int) -> Made:
    steps = chance.choice([[], ["report_seal"], ["measurement", "report_seal"]])
    return "process_plan", "OEM", {"maker": "T2", "prefix": "https:", "steps": steps}


def _make_shipment(chance: random.Random, _number: int) -> Made:
    items = [{"id": LOT}, {"id": "pallet"}][: chance.randrange(3)]
    return "shipment", "T2", {"receiver": "OEM", "items": items}


def _receipts(desk: Desk, events: Iterable[Event]) -> Iterator[RuleReceipt]:
    for event in events:
        yield from desk.execute(event)
    yield from desk.wait(NOW_MS + 100 * DAY_MS)


def run(seed: int, count: int) -> tuple[Desk, str, dict[str, int]]:
    """Execute events by chance; return the desk, a digest of all receipts and the state, counts."""
    chance = random.Random(seed)  # noqa: S311 - a seed makes it the same each time
    desk = Desk(*(load_package(shipped_files(name)) for name in SHIPPED), parties=PARTIES)
    digest = hashlib.sha256()
    counts = dict.fromkeys(map(str, Status), 0)
    for receipt in _receipts(desk, mixed_events(chance, count)):
        counts[str(receipt.status)] += 1
        digest.update(json.dumps(receipt.document(), sort_keys=True).encode())
    digest.update(json.dumps(desk.state.items(), sort_keys=True).encode())
    return desk, digest.hexdigest(), counts


if __name__ == "__main__":
    sys.stdout.write(run(int(sys.argv[1]), int(sys.argv[2]))[1] + "\n")
