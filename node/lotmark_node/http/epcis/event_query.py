"""What a simple event query asks for: conditions on an event, and what an index can do for them.

The index only names candidates. Whether one is meant is decided here, on the event as it is shown.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from lotmark_node.http.epcis.event_fields import Event

Condition: TypeAlias = Callable[[Event], bool]


class OrderBy(StrEnum):
    """By what events are ordered."""

    RECORD_TIME = "recordTime"  # the ledger's own order
    EVENT_TIME = "eventTime"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexConditions:
    """What every event that is meant has in the index; a bound of 0 or nothing: no condition."""

    items: tuple[str, ...] = ()  # canonical names, of which it names one at least
    hashes: tuple[bytes, ...] = ()  # CBV 2.0 hashes, of which it may have one
    from_ms: int = 0  # of the event's own time
    to_ms: int = 0  # not included
    recorded_from_ms: int = 0
    recorded_to_ms: int = 0  # not included

    def and_also(self, other: "IndexConditions") -> "IndexConditions":
        """Return the conditions that both state."""
        return IndexConditions(
            # One list of items is enough to find candidates, and the shorter one finds fewer.
            items=min((each for each in (self.items, other.items) if each), key=len, default=()),
            hashes=self.hashes or other.hashes,
            from_ms=max(self.from_ms, other.from_ms),
            to_ms=_earlier(self.to_ms, other.to_ms),
            recorded_from_ms=max(self.recorded_from_ms, other.recorded_from_ms),
            recorded_to_ms=_earlier(self.recorded_to_ms, other.recorded_to_ms),
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What one parameter asks for."""

    holds: Condition
    index: IndexConditions = field(default_factory=IndexConditions)
    by_id: bool = False  # whether it looks at ids of the event


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleEventQuery:
    """A simple event query."""

    conditions: tuple[Condition, ...] = ()  # all of them
    index: IndexConditions = field(default_factory=IndexConditions)
    order_by: OrderBy | None = None  # None: as the ledger has them, newest first
    descending: bool = True
    event_count_limit: int | None = None  # only the first so many
    max_event_count: int | None = None  # more of them are no answer
    by_id: bool = False  # whether a condition looks at the events' ids

    def matches(self, event: Event) -> bool:
        """Tell whether an event is one that is asked for."""
        return all(holds(event) for holds in self.conditions)

    def and_also(self, asked: Asked) -> "SimpleEventQuery":
        """Return the query that asks for something more."""
        return replace(
            self,
            conditions=(*self.conditions, asked.holds),
            index=self.index.and_also(asked.index),
            by_id=self.by_id or asked.by_id,
        )

    @property
    def newest_first(self) -> bool:
        """Whether the ledger is to be read from its end."""
        return self.order_by is None or self.descending


def _earlier(one_ms: int, other_ms: int) -> int:
    return min((each for each in (one_ms, other_ms) if each), default=0)
