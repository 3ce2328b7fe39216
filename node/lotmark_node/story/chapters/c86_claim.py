"""The bad weld's lot fails in series: a claim is divided by what was on record, and paid out."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from lotmark.client import ContractReader
from lotmark.client.new_event import item, new_event
from lotmark.governing_events import GoverningEvents
from lotmark.package_change import archive_parts, change_bytes, change_hash, encode_archive
from lotmark.rule_value import RuleValue, record_of
from lotmark.v1 import contracts_pb2, event_pb2
from lotmark_contracts.money import shown_amount
from lotmark_contracts.package.package import load_package
from lotmark_node.package_folder import shipped_files
from lotmark_node.story.chapters.c40_report import SUPPLIERS_SEAL
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.line import WIRE_LOT
from lotmark_node.story.stage import Stage
from lotmark_node.story.trial_ledger import TrialLedger
from lotmark_node.story.welds import COLD_WELD, STATOR

TITLE = "claim"
PACKAGE = "lot-event"
CUSTOMER, SUPPLIER, LABORATORY = "T1-STATOR/erp", "T2-CU-JX/erp", "LAB-17025/lims"
CLAIM = "C-1"
CURRENCY = "EUR"
ITEMS = {  # in cents, 18,400.00 together
    "sorting": 240_000,
    "scrap": 760_000,
    "rework": 330_000,
    "line_down": 480_000,
    "admin_8d": 30_000,
}
HELD = 400_000
RULING_BP = 6_000

_DAY_MS = 86_400_000


def run(stage: Stage) -> str:
    """Agree on rules, file a claim, state what is not disputed, rule on the rest."""
    ledger = stage.ledger
    _agree_on_rules(ledger)
    now_ms = time.time_ns() // 1_000_000
    customer, supplier = (each.partition("/")[0] for each in (CUSTOMER, SUPPLIER))
    _tell(
        ledger, SUPPLIER, "lot_terms",
        supplier=supplier, customer=customer, starts=now_ms - 30 * _DAY_MS,
        annual_cap=5_000_000, currency=CURRENCY,
    )  # fmt: skip
    review = ledger.tellings["review"].events[0]  # of the weld whose trace leads to the lot
    _tell(
        ledger, CUSTOMER, "lot_failure", (WIRE_LOT, STATOR),
        claim=CLAIM, lot=WIRE_LOT, supplier=supplier, contract_year=0, inspected=412, defects=9,
        detected_at=review.event.time.end_ms, handover_at=now_ms,
        supplier_evidence="OK_IN", supplier_entry=ledger.tellings[SUPPLIERS_SEAL].events[0].index,
        customer_evidence="OK_IN",
        customer_entry=ledger.tellings["incoming-inspection"].events[0].index,
        items={**ITEMS}, liable=[],
    )  # fmt: skip
    reader = ContractReader(ledger.session(CUSTOMER))
    share = _share(reader, customer)
    about: Mapping[str, RuleValue] = {"claim": CLAIM, "customer": customer}
    _tell(ledger, SUPPLIER, "lot_statement", **about, undisputed=share - HELD)
    _tell(ledger, LABORATORY, "lot_ruling", **about, outcome_bp=RULING_BP)
    reader = ContractReader(ledger.session(CUSTOMER))
    claims = list(reader.claims(PACKAGE))
    balances = list(reader.balances(PACKAGE))
    paid = sum(each.minor for each in balances if each.account == f"customer:{customer}")
    total = sum(ITEMS.values())
    expected = share - HELD + HELD * RULING_BP // 10_000
    left_over = sum(each.minor for each in balances)
    if len(claims) != 1 or paid != expected or left_over:
        raise StoryFailed(f"{paid} was posted, {expected} is what the rules say: {balances}")
    stage.facts |= {"claims": 1, "posted_minor": paid, "accounts_sum": left_over}
    stage.next_commands.append(
        ("contract", "explain", f"{customer}/{CLAIM}", "--as",
         str(ledger.network.client_file(CUSTOMER)))
    )  # fmt: skip
    return (
        f"{CLAIM}: weld {COLD_WELD}, reviewed in entry {review.index}, leads to a lot that both had"
        f" on record as good: {_money(total)} → {supplier}"
        f" {100 * share // total} %, {customer} the rest; {_money(share - HELD)} posted,"
        f" {_money(HELD)} held, ruled, {100 * RULING_BP // 10_000} % of it released to {customer}."
        f" Posted {_money(paid)}; all accounts sum to 0.00"
    )


def _money(minor: int) -> str:
    return shown_amount(minor, CURRENCY)


def _agree_on_rules(ledger: TrialLedger) -> None:
    """Let every party approve the package."""
    files = shipped_files(PACKAGE)
    package = load_package(files)
    parts = archive_parts(encode_archive(files))
    now_ms = time.time_ns() // 1_000_000
    change = contracts_pb2.PackageChange(
        expires_ms=now_ms + _DAY_MS,
        activate=contracts_pb2.PackageActivation(
            name=package.name,
            version=package.manifest.version,
            package=package.hash,
            parts=[hashlib.sha256(part).digest() for part in parts],
        ),
    )
    made = GoverningEvents(ledger.chain_id, now_ms=now_ms)
    hashed = change_hash(ledger.chain_id, change_bytes(change))
    first, *others = [party.id for party in ledger.founded.genesis.parties]
    events = [made.propose_package(change, first, [ledger.root(first)])]
    events += [made.bring_package_part(part) for part in parts]
    events += [made.approve_package(hashed, party, [ledger.root(party)]) for party in others]
    ledger.tell(PACKAGE, CUSTOMER, [event_pb2.Event.FromString(each) for each in events])


def _share(reader: ContractReader, customer: str) -> int:
    """Return what the rules charge to the supplier, in cents."""
    (receipt,) = reader.claim(PACKAGE, f"{customer}/{CLAIM}").receipts
    if receipt.document["status"] != "done":
        raise StoryFailed(f"the claim was not taken: {receipt.document}")
    steps = {each["step"]: each["value"] for each in receipt.document["because"]}
    return int(steps["supplier"])


def _tell(
    ledger: TrialLedger,
    client: str,
    name: str,
    lots: Sequence[str] = (),
    /,
    **fields: RuleValue,
) -> None:
    """Put an event on record that the package reads."""
    raw = new_event(
        contracts_pb2.ContractEvent(name=name, fields=record_of(fields)),
        device="erp",
        capture=event_pb2.CAPTURE_MODE_MANUAL,
        time=datetime.now(UTC),
        uncertainty_us=2_000,
        items=[item(lot) for lot in lots],
    )
    ledger.tell(name, client, [event_pb2.Event.FromString(raw)])
