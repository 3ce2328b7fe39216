"""Documents in the shapes of Catena-X, made up and small."""

import json
from typing import Any

TASK = "430f56d3-1234-4234-9234-abc123456789"
NUMBER = "%number%"  # marks a text that is written as the number in it, digit for digit


def number(digits: str) -> str:
    return f"{NUMBER}{digits}{NUMBER}"


def document(members: Any, **changes: Any) -> bytes:
    """Return JSON with members changed, or left out where a change is None."""
    told = {name: value for name, value in {**members, **changes}.items() if value is not None}
    text = json.dumps(told)
    return text.replace(f'"{NUMBER}', "").replace(f'{NUMBER}"', "").encode()


CLAIM = {
    "claimId": "C-1",
    "billingId": "B-1",
    "billingDate": "2025-12-01",
    "repairIndicator": "Regular",
    "recoveryGroupCode": "stator",
    "billedCurrency": "EUR",
    "billedAmount": number("24.01"),
    "billedTF": number("100"),
    "repairCostsTF100": number("24.01"),
    "materialCosts": number("12.340"),
    "laborCosts": number("11.67"),
    "otherCosts": number("0"),
    "hourlyRate": number("99.99"),
    "globalLaborCode": "27-100",
    "baseLaborTime": number("4.0"),
    "diagnosticLaborTime": number("3"),
    "totalTime": number("7"),
    "qualityTaskId": TASK,
    "anonymizedVIN": "VIN-1",
}
VERIFICATION = {
    "claimId": "C-1",
    "billingId": "B-1",
    "billingDate": "2025-12-01",
    "agreedTechnicalFactor": number("33.33"),
    "debitValueJustified": False,
    "billedCurrency": "EUR",
    "claimPlausible": number("8"),
    "claimImplausible": number("16.01"),
    "billingStatus": "disputed",
    "statementDate": "2025-12-20",
    "statementReason": "The factor is a third",
    "qualityTaskId": TASK,
    "bpnlProperty": "BPNL0123456789ZZ",
    "anonymizedVIN": "VIN-1",
}
ANALYSIS = {
    "componentManufacturerAnalysisID": "A-1",
    "anonymizedVIN": "VIN-1",
    "qualityTaskId": TASK,
    "partName": "Stator",
    "serialNumber": "ST-1",
    "isDefect": True,
    "status": "completed",
}


def analyses(*changes: dict[str, Any]) -> bytes:
    each = [json.loads(document(ANALYSIS, **change)) for change in changes]
    return document({"metaInformation": {}, "partsAnalyses": each})
