"""What a backtest has found: bytes that a party can approve a package by."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lotmark_contracts.backtesting.decisions import ChangedDecision

FORMAT = "lotmark-backtest/1"


class PaidAccount(NamedTuple):
    """By how much an account's balance has changed, in minor units."""

    currency: str
    account: str
    before: int
    after: int

    def document(self) -> dict[str, object]:
        """Return it for JSON."""
        return {
            "currency": self.currency,
            "account": self.account,
            "before": str(self.before),
            "after": str(self.after),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SideReport:
    """What came of one side's rules."""

    receipts: Mapping[str, Mapping[str, int]]  # by rule and status
    failures: Mapping[str, int]  # by code
    gas_max: int  # of a rule receipt
    block_gas_max: int

    def document(self) -> dict[str, object]:
        """Return it for JSON."""
        return {
            "receipts": {rule: _texts(counts) for rule, counts in self.receipts.items()},
            "failures": _texts(self.failures),
            "gas_max": str(self.gas_max),
            "block_gas_max": str(self.block_gas_max),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestReport:
    """What a package would have made of a ledger's past, beside the rules in force."""

    package: str
    version: int
    package_hash: bytes
    old_version: int | None  # None: there was no version in force
    old_hash: bytes | None
    first_height: int  # 0, as the last one, where there was no block
    last_height: int
    blocks: int
    events: int
    heard: int  # events that a rule of either side listens to
    before: SideReport
    after: SideReport
    paid: tuple[PaidAccount, ...]  # by currency and account, those that changed on either side
    changed_count: int
    changed: tuple[ChangedDecision, ...]  # the first ones

    def document(self) -> dict[str, object]:
        """Return the report for JSON; every integer is a text of digits."""
        document: dict[str, object] = {
            "format": FORMAT,
            "package": self.package,
            "version": str(self.version),
            "hash": self.package_hash.hex(),
            "first_height": str(self.first_height),
            "last_height": str(self.last_height),
            "blocks": str(self.blocks),
            "events": str(self.events),
            "heard": str(self.heard),
            "before": self.before.document(),
            "after": self.after.document(),
            "paid": [each.document() for each in self.paid],
            "changed_count": str(self.changed_count),
            "changed": [each.document() for each in self.changed],
        }
        if self.old_version is not None and self.old_hash is not None:
            document |= {"old_version": str(self.old_version), "old_hash": self.old_hash.hex()}
        return document

    def canonical(self) -> bytes:
        """Return the report's canonical JSON (RFC 8785): all keys are ASCII, and no number is."""
        text = json.dumps(
            self.document(), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return text.encode()

    def digest(self) -> bytes:
        """Return SHA-256 over the canonical JSON: what names the report."""
        return hashlib.sha256(self.canonical()).digest()


def _texts(counts: Mapping[str, int]) -> dict[str, object]:
    return {name: str(count) for name, count in counts.items()}
