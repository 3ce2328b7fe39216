"""Timers: what a rule wants to be asked about later, at a ledger time."""

from dataclasses import dataclass

from lotmark_contracts.execution.inputs import Event
from lotmark_contracts.wcel.values import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer:
    """Sets a timer, or sets it anew. One that is due already fires in the next block that looks."""

    name: str
    key: str
    due_ms: int  # ledger time
    fields: dict[str, Value]


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Takes a timer back; where there is none, nothing happens."""

    name: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTimer:
    """A timer whose time has come."""

    package: str
    name: str
    key: str
    due_ms: int
    fields: dict[str, Value]
    author: str  # of the event that set it
    event_id: str  # of the event that set it

    def event(self) -> Event:
        """Return the timer as rules see it: by the author of the event that set it."""
        return Event(id=self.event_id, type=self.name, author=self.author, fields=self.fields)
