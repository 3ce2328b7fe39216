"""Settlement files: what the rules entitle whom to, line by line, and net of each pair.

No bank takes an instruction from it as it is: it says who is entitled to what, so that the parties'
own systems pay, once for each instruction id.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from lotmark.client.contract_records import FoundPosting, Statement
from lotmark.settlement import instruction_id
from lotmark_contracts.money import shown_amount

FORMAT = "lotmark-settlement/1"
NATURE = "entitlement, not a payment"

_FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")
_COLUMNS = (
    "line", "instruction_id", "entry", "posting", "event_entry", "height", "time_ms", "package",
    "version", "rule", "claim", "from", "to", "currency", "minor", "amount", "memo", "nature",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Net:
    """What one account owes another after all postings between the two."""

    debtor: str
    creditor: str
    currency: str
    minor: int  # 0: they are even


def net_of(postings: Sequence[FoundPosting]) -> list[Net]:
    """Return what is left between each pair of accounts in each currency, in order of their names.

    Accounts of the same name in several packages count as one here.
    """
    sums: dict[tuple[str, str, str], int] = {}
    for each in postings:
        if each.debit == each.credit:
            continue
        low, high = sorted((each.debit, each.credit))
        key = low, high, each.currency
        sums[key] = sums.get(key, 0) + (each.minor if each.debit == low else -each.minor)
    return [
        Net(low, high, currency, minor) if minor >= 0 else Net(high, low, currency, -minor)
        for (low, high, currency), minor in sorted(sums.items())
    ]


def settlement_document(statement: Statement, chain_id: bytes) -> dict[str, object]:
    """Return the settlement of a statement for JSON; integers of 64 bits are texts of digits."""
    return {
        "format": FORMAT,
        "nature": NATURE,
        "chain_id": chain_id.hex(),
        "height": str(statement.height),
        "postings": [_posting_document(each, chain_id) for each in statement.postings],
        "net": [
            {
                "from": each.debtor,
                "to": each.creditor,
                "currency": each.currency,
                "minor": str(each.minor),
                "amount": shown_amount(each.minor, each.currency),
            }
            for each in net_of(statement.postings)
        ],
    }


def settlement_csv(statement: Statement, chain_id: bytes) -> str:
    """Return the settlement of a statement as CSV (RFC 4180).

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, restval="")
    writer.writeheader()
    for each in statement.postings:
        row = {"line": "posting", **_posting_document(each, chain_id), "nature": NATURE}
        writer.writerow(_cells(row))
    for net in net_of(statement.postings):
        row = {
            "line": "net",
            "from": net.debtor,
            "to": net.creditor,
            "currency": net.currency,
            "minor": str(net.minor),
            "amount": shown_amount(net.minor, net.currency),
            "nature": NATURE,
        }
        writer.writerow(_cells(row))
    return out.getvalue()


def _posting_document(posting: FoundPosting, chain_id: bytes) -> dict[str, object]:
    made = instruction_id(
        chain_id=chain_id, receipt_index=posting.receipt_index, number=posting.number
    )
    return {
        "instruction_id": made.hex(),
        "entry": str(posting.receipt_index),
        "posting": posting.number,
        "event_entry": str(posting.event_index),
        "height": str(posting.height),
        "time_ms": str(posting.time_ms),
        "package": posting.package,
        "version": posting.version,
        "rule": posting.rule,
        "claim": posting.claim,
        "from": posting.debit,
        "to": posting.credit,
        "currency": posting.currency,
        "minor": str(posting.minor),
        "amount": shown_amount(posting.minor, posting.currency),
        "memo": posting.memo,
    }


def _cells(row: dict[str, object]) -> dict[str, str]:
    cells = {name: str(value) for name, value in row.items()}
    return {
        name: f"'{cell}" if cell.startswith(_FORMULA_BEGINNINGS) else cell
        for name, cell in cells.items()
    }
