"""What became of a rule for an event, with the reasons; every integer in its document is a text.

An int64 does not survive every JSON reader; its decimal digits do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from lotmark_contracts.execution.inputs import Evidence
from lotmark_contracts.execution.state_keys import StateKey
from lotmark_contracts.execution.timers import CancelTimer, SetTimer
from lotmark_contracts.package.rule import AlertLevel
from lotmark_contracts.wcel.values import Value

BECAUSE_SIZE_MAX = 100  # nodes of a step's value that is kept; larger ones can be computed again

NOTHING_WRITTEN: Final[Mapping[StateKey, Value]] = MappingProxyType({})


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


class KeptRead(NamedTuple):
    """A kept value that a rule has read, or what is read where there is none."""

    name: str
    family: str
    key: str
    value: Value | None  # None: larger than a receipt keeps

    def document(self) -> dict[str, object]:
        """Return the read for JSON."""
        document: dict[str, object] = {"name": self.name, "family": self.family, "key": self.key}
        if self.value is not None:
            document["value"] = with_text_integers(self.value)
        return document


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a rule failed, and where; never free text."""

    code: str
    at: str  # "let.share", "then[2].pay", "event.evidence[3].weight"
    offset: int  # in that expression


class RuleReceipt(NamedTuple):  # a frozen dataclass of as many fields takes three times as long
    """What became of a rule for an event."""

    package: str
    version: int
    package_hash: bytes
    rule: str
    event_id: str
    status: Status
    gas: int
    claim: str = ""  # that the event belongs to; empty: to none, or it is not known
    reads: tuple[KeptRead, ...] = ()
    evidence: tuple[Evidence, ...] = ()  # the provenance that the rule has seen, in its order
    because: tuple[Reason, ...] = ()
    postings: tuple[Posting, ...] = ()
    kept: tuple[tuple[str, str, Value], ...] = ()  # family, key, value
    notices: tuple[RaisedAlert | IssuedWorkOrder, ...] = ()
    timers: tuple[SetTimer | CancelTimer, ...] = ()  # in the order in which they are set
    reason: str = ""  # of a refusal
    first: str = ""  # the event for which it fired, of a duplicate
    failure: Failure | None = None

    @property
    def ending(self) -> str:
        """How the rule ended, and why: "done", "refused NEGATIVE", "failed overflow at then"."""
        if self.status is Status.REFUSED:
            return f"refused {self.reason}"
        if self.failure is not None:
            return f"failed {self.failure.code} at {self.failure.at}"
        return str(self.status)

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
        if self.reads:
            document["reads"] = [each.document() for each in self.reads]
        if self.evidence:
            document["evidence"] = [
                {"depth": str(depth), "entry": str(entry), "item": item}
                for depth, entry, item in self.evidence
            ]
        if self.claim:
            document["claim"] = self.claim
        if self.timers:
            document["timers"] = [_timer_document(each) for each in self.timers]
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


class Outcome(NamedTuple):
    """What came of asking a rule; what has to be written is written all of it, or nothing."""

    receipt: RuleReceipt | None  # None: the rule has nothing to say
    gas: int  # that was used, also where there is no receipt
    writes: Mapping[StateKey, Value] = NOTHING_WRITTEN
    owner: int = 0  # the other version of the package whose claim it is; 0: that is not why


def _timer_document(timer: SetTimer | CancelTimer) -> dict[str, object]:
    if isinstance(timer, CancelTimer):
        return {"cancel": timer.name, "key": timer.key}
    return {
        "timer": timer.name,
        "key": timer.key,
        "at": str(timer.due_ms),
        "with": with_text_integers(timer.fields),
    }


def with_text_integers(value: Value) -> object:
    """Return a value whose integers are decimal digits.

    Keys that are not ASCII would be sorted in one way by some and in another by others: values
    under such are a list of key and value, by code points.
    """
    if isinstance(value, list):
        return [with_text_integers(each) for each in value]
    if isinstance(value, dict):
        if not all(map(str.isascii, value)):
            return [[key, with_text_integers(value[key])] for key in sorted(value)]
        return {key: with_text_integers(value[key]) for key in sorted(value)}
    return str(value) if type(value) is int else value
