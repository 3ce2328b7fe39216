"""Compares what two sides have decided of the same events."""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from lotmark_contracts.execution.receipt import RuleReceipt

CHANGED_SHOWN_MAX = 100  # changed decisions that a report names


class Side(IntEnum):
    """The rules in force, or those that are tried."""

    BEFORE = 0
    AFTER = 1


class NetPosting(NamedTuple):
    """What an account got, or gave, by one decision."""

    currency: str
    account: str
    minor: int

    def document(self) -> dict[str, object]:
        """Return it for JSON."""
        return {"currency": self.currency, "account": self.account, "minor": str(self.minor)}


class Decision(NamedTuple):
    """How a rule ended for an event, and what it moved."""

    ending: str
    net: tuple[NetPosting, ...]  # by currency and account

    def document(self) -> dict[str, object]:
        """Return the decision for JSON."""
        return {"ending": self.ending, "net": [each.document() for each in self.net]}


class ChangedDecision(NamedTuple):
    """What a rule decided otherwise; a rule on timers may have decided more than once."""

    event_id: str
    rule: str
    before: tuple[Decision, ...]
    after: tuple[Decision, ...]

    def document(self) -> dict[str, object]:
        """Return both decisions for JSON."""
        return {
            "event": self.event_id,
            "rule": self.rule,
            "before": [each.document() for each in self.before],
            "after": [each.document() for each in self.after],
        }


class Decisions:
    """The decisions in which two sides differ so far, by event and rule.

    A timer may fire in different blocks, so a difference can still go away.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], tuple[list[Decision], list[Decision]]] = {}
        self._touched: set[tuple[str, str]] = set()

    def add(self, side: Side, receipts: Sequence[RuleReceipt]) -> None:
        """Add what one side has decided in a block."""
        for receipt in receipts:
            place = receipt.event_id, receipt.rule
            self._touched.add(place)
            decided = self._open.setdefault(place, ([], []))
            decided[side].append(Decision(receipt.ending, _net(receipt)))

    def drop_unchanged(self) -> None:
        """Forget what both sides have decided alike by now."""
        for place in sorted(self._touched):
            before, after = self._open[place]
            if before == after:
                del self._open[place]
        self._touched.clear()

    @property
    def changed_count(self) -> int:
        """How many decisions differ."""
        return len(self._open)

    def changed(self) -> tuple[ChangedDecision, ...]:
        """Return the first ones that differ, in the order in which they were decided."""
        shown = list(self._open)[:CHANGED_SHOWN_MAX]
        return tuple(ChangedDecision(*place, *map(tuple, self._open[place])) for place in shown)


def _net(receipt: RuleReceipt) -> tuple[NetPosting, ...]:
    moved: dict[tuple[str, str], int] = {}
    for posting in receipt.postings:
        for account, minor in ((posting.debit, -posting.minor), (posting.credit, posting.minor)):
            place = posting.currency, account
            moved[place] = moved.get(place, 0) + minor
    return tuple(NetPosting(*place, moved[place]) for place in sorted(moved) if moved[place])
