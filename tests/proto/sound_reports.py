"""Reports that have every field they need."""

import json
from collections.abc import Mapping
from typing import Any

ITEM = "https://id.gs1.org/01/04012345000016/10/CU-7"
TEST = "resistivity"
LABORATORY = "LAB-17025"

TEST_REPORT: Mapping[str, Any] = {
    "kind": "test",
    "laboratory": LABORATORY,
    "test": TEST,
    "verdict": "CONFORMING",
    "title": "Test report: resistivity",
    "laboratory_name": "LAB-17025",
    "laboratory_address": "Teststrasse 1, 12345 Musterstadt",
    "location_of_activities": "room R12",
    "report_number": "4711",
    "end_mark": "End of report 4711",
    "customer_name": "T2-CU-JX",
    "customer_address": "1 Wire Road",
    "method": "four terminals, direct current",
    "item_description": "copper wire, 1.2 mm, grösse ü",
    "item_identification": ITEM,
    "date_of_receipt": "2025-12-23",
    "date_of_performance": "2025-12-22/2025-12-23",
    "date_of_issue": "2025-12-23",
    "sampling": "drawn by the customer",
    "statement_on_items": "of the item tested only",
    "results": [{"characteristic": "resistivity at 20 C", "value": "17.241", "unit": "nOhm.m"}],
    "deviations": "none",
    "authoriser": "cred-7b20e4d19f63ac58",
    "external_provider_results": "none",
    "measurement_uncertainty": "0.004 nOhm.m, k = 2",
    "statement_of_conformity": "17.241 does not exceed 17.300",
    "decision_rule": "simple acceptance",
}

CALIBRATION_REPORT: Mapping[str, Any] = {
    **{
        name: value
        for name, value in TEST_REPORT.items()
        if name not in ("statement_of_conformity", "decision_rule")
    },
    "kind": "calibration",
    "verdict": "UNDETERMINED",
    "calibration_conditions": "20 C, 45 % relative humidity",
    "metrological_traceability": "to the national standard, by certificate 88-12",
}


def report_without(*names: str) -> dict[str, Any]:
    """Return the test report without some of its fields."""
    return {name: value for name, value in TEST_REPORT.items() if name not in names}


def report_with(**fields: object) -> dict[str, Any]:
    """Return the test report with other fields."""
    return {**TEST_REPORT, **fields}


def as_json(fields: Mapping[str, Any]) -> bytes:
    """Return a report as an ERP writes it."""
    return json.dumps(fields).encode()


def as_toml(fields: Mapping[str, Any]) -> bytes:
    """Return a report of texts and results as a person writes it."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items() if name != "results"]
    for result in fields["results"]:
        lines += [
            "[[results]]",
            *(f"{name} = {json.dumps(value)}" for name, value in result.items()),
        ]
    return "\n".join(lines).encode()
