"""A small rule package for ledgers in memory: bills, their steps, and what must not be skipped."""

import json
from collections.abc import Mapping
from typing import Any

from lotmark.block_results import parse_results
from lotmark.entry import parse_rule_receipt
from lotmark_node.state_machine.transition import BlockEffects

MANIFEST: dict[str, Any] = {
    "format": "lotmark-package/1",
    "language": "wcel/1",
    "name": "bills",
    "version": 1,
    "title": "Bills among parties",
    "events": {"bill": {"number": "string(20)", "to": "string(64)", "amount": "int"}},
    "state": {"billed": {"type": "int", "default": 0}},
    "accounts": {"party": ["debit", "credit"]},
    "rules": ["post"],
}
POST: dict[str, Any] = {
    "title": "A bill is posted, and the sum of all bills is kept",
    "on": "bill",
    "once": "author + '/' + event.number",
    "read": {"billed": {"billed": "event.to"}},
    "let": [{"total": "billed + event.amount"}],
    "refuse": [{"if": "event.amount > 1000000", "reason": "TOO_MUCH"}],
    "then": [
        {"set": {"billed": "event.to"}, "value": "total"},
        {
            "pay": "event.amount",
            "currency": "'EUR'",
            "from": {"party": "event.to"},
            "to": {"party": "author"},
        },
    ],
}
GUARD: dict[str, Any] = {
    "title": "Nothing is shipped of which nobody has inspected what it was made of",
    "on": "shipment",
    "guard": True,
    "let": [
        {"inspected": "provenance.filter(p, p.event_type == 'incoming_inspection')"},
        {"missing": "size(inspected) > 0 ? [] : event.items.map(i, i.id)"},
    ],
    "refuse": [{"if": "size(missing) > 0", "reason": "STEP_MISSING"}],
}
SHIPMENT = {"items": "list(shipped, 64)", "receiver": "string(64)"}
SHIPPED = {"id": "string(128)"}
REMIND: dict[str, Any] = {
    "title": "A bill is due after a day",
    "on": "bill",
    "claim": "author + '/' + event.number",
    "once": "author + '/' + event.number",
    "then": [
        {
            "timer": "bill_due",
            "key": "author + '/' + event.number",
            "at": "now + days(1)",
            "with": {"number": "event.number", "to": "event.to"},
        }
    ],
}
DUE: dict[str, Any] = {
    "title": "Somebody is told that a bill is due",
    "on": "bill_due",
    "claim": "author + '/' + event.number",
    "once": "author + '/' + event.number",
    "then": [{"alert": "event.number + ' is due from ' + event.to", "level": "info"}],
}
WITH_TIMERS = {"timers": {"bill_due": {"number": "string(20)", "to": "string(64)"}}}


def package_files(
    manifest: Mapping[str, Any] | None = None, **rules: Mapping[str, Any]
) -> dict[str, bytes]:
    """Return the files of the package, with fields of its manifest and rules set otherwise."""
    named = {"post": POST, **rules}
    described = {**MANIFEST, "rules": list(named), **(manifest or {})}
    files = {"manifest.json": json.dumps(described).encode()}
    return files | {f"rules/{name}.json": json.dumps(rule).encode() for name, rule in named.items()}


def receipts_of(effects: BlockEffects) -> list[dict[str, Any]]:
    """Return the documents of a block's rule receipts."""
    parsed = parse_results(effects.results.encode()).receipts
    return [json.loads(parse_rule_receipt(each).document) for each in parsed]
