"""What became of a rule for an event, with the reasons; every integer in its document is a text.

An int64 does not survive every JSON reader; its decimal digits do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from lotmark_contracts.package.rule import AlertLevel
from lotmark_contracts.wcel.values import Value

BECAUSE_SIZE_MAX = 100  # nodes of a step's value that is kept; larger ones can be computed again


class Status(StrEnum):
    """How a rule ended."""

    DONE = "done"
    REFUSED = "refused"  # by the rule, for a reason that it names
    DUPLICATE = "duplicate"  # it has fired under this once-key
    FAILED = "failed"  # nothing was done, and the once-key is unused


class Posting(NamedTuple):  # a tuple, as is `Reason`: a claim makes many, and it is twice as quick
    """An amount that went from one account to another."""

    debit: str
    credit: str
    minor: int  # above 0, in minor units
    currency: str
    memo: str

    def document(self) -> dict[str, object]:
        """Return the posting for JSON."""
        return {
            "from": self.debit,
            "to": self.credit,
            "minor": str(self.minor),
            "currency": self.currency,
            "memo": self.memo,
        }


@dataclass(frozen=True, slots=True)
class RaisedAlert:
    """Something that somebody has to know."""

    level: AlertLevel
    text: str

    def document(self) -> dict[str, object]:
        """Return the alert for JSON."""
        return {"alert": self.text, "level": str(self.level)}


@dataclass(frozen=True, slots=True)
class IssuedWorkOrder:
    """Something that somebody has to do."""

    text: str
    assignee: str

    def document(self) -> dict[str, object]:
        """Return the work order for JSON."""
        return {"work_order": self.text, "assign": self.assignee}


class Reason(NamedTuple):
    """A step of a decision: its name, its value, and the row if a table decided."""

    step: str
    value: Value | None  # None: larger than a receipt keeps
    table: str = ""
    row: int = 0  # from 1; 0: what the table says else

    def document(self) -> dict[str, object]:
        """Return the step for JSON."""
        document: dict[str, object] = {"step": self.step}
        if self.value is not None:
            document["value"] = with_text_integers(self.value)
        if self.table:
            document |= {"table": self.table, "row": str(self.row)}
        return document


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a rule failed, and where; never free text."""

    code: str
    at: str  # "let.share", "then[2].pay", "event.evidence[3].weight"
    offset: int  # in that expression


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleReceipt:
    """What became of a rule for an event."""

    package: str
    version: int
    package_hash: bytes
    rule: str
    event_id: str
    status: Status
    gas: int
    because: tuple[Reason, ...] = ()
    postings: tuple[Posting, ...] = ()
    kept: tuple[tuple[str, str, Value], ...] = ()  # family, key, value
    notices: tuple[RaisedAlert | IssuedWorkOrder, ...] = ()
    reason: str = ""  # of a refusal
    first: str = ""  # the event for which it fired, of a duplicate
    failure: Failure | None = None

    def document(self) -> dict[str, object]:
        """Return the receipt for JSON."""
        document: dict[str, object] = {
            "package": self.package,
            "version": str(self.version),
            "package_hash": self.package_hash.hex(),
            "rule": self.rule,
            "event": self.event_id,
            "status": str(self.status),
            "gas": str(self.gas),
            "because": [each.document() for each in self.because],
            "postings": [each.document() for each in self.postings],
            "kept": [
                {"family": family, "key": key, "value": with_text_integers(value)}
                for family, key, value in self.kept
            ],
            "notices": [each.document() for each in self.notices],
        }
        if self.reason:
            document["reason"] = self.reason
        if self.first:
            document["first"] = self.first
        if self.failure is not None:
            document["failure"] = {
                "code": self.failure.code,
                "at": self.failure.at,
                "offset": str(self.failure.offset),
            }
        return document


@dataclass(frozen=True, slots=True)
class Outcome:
    """A receipt, and what has to be written with it: all of it, or nothing."""

    receipt: RuleReceipt
    writes: Mapping[str, Value]


def with_text_integers(value: Value) -> object:
    """Return a value whose integers are decimal digits."""
    if isinstance(value, list):
        return [with_text_integers(each) for each in value]
    if isinstance(value, dict):
        return {key: with_text_integers(value[key]) for key in sorted(value)}
    return str(value) if type(value) is int else value
