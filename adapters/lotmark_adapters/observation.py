"""What the sources of a shop floor tell, whichever protocol they speak, and to whom.

A source is a server or agent; each of its *signals* is one value that changes over time. A source
gives *reports*: observations, records, and the gaps between them. Whoever takes one keeps it with
the position that it ends at, or nothing; so after any stop the source goes on exactly there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Quality(StrEnum):
    """How good the source says a value is."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"  # then there may be no value


class GapReason(StrEnum):
    """Why observations are missing."""

    OVERRUN = "overrun"  # the source's buffer had gone on
    INSTANCE_CHANGED = "instance_changed"  # the source was started anew
    STREAM_LOST = "stream_lost"  # no connection
    OVERFLOW_BIT = "overflow_bit"  # the source says that its queue was too short
    SUBSCRIPTION_RECREATED = "subscription_recreated"
    COUNTER_JUMP = "counter_jump"  # a counter of the machine has gone on by more than one
    TIME_JUMP = "time_jump"  # between two values lies more than they should be apart
    CLIENT_QUEUE = "client_queue"  # they came faster than they could be kept
    DISK_FULL = "disk_full"  # there was no room to keep them
    SITE_RESTARTED = "site_restarted"  # nobody was there to take them
    UNREADABLE = "unreadable"  # they came in no form that can be kept


@dataclass(frozen=True, slots=True)
class Observation:
    """One value as its source told it."""

    signal: str  # within its source, such as a node id or a data item's id
    sequence: int  # in the source's instance, from 1, without holes but where there are gaps
    made_us: int  # Unix time by the source's clock
    captured_us: int  # Unix time by this machine's clock
    value: str | None  # a decimal or text; None: the source had none
    quality: Quality = Quality.GOOD
    status: str = ""  # the source's own word for it, where it is not simply good
    unit: str = ""  # UCUM or UN/ECE, as the source says; "": it says none


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceGap:
    """Observations that are missing for good."""

    reason: GapReason
    signal: str = ""  # "": any of the source may be concerned
    instance: str = ""  # of the source, whose numbers `first` and `last` are
    next_instance: str = ""  # "": the same
    first: int = 0  # 0: not known
    last: int = 0  # 0: not known; with a first one, all from that on
    count: int | None = None  # None: not counted
    last_seen_us: int | None = None  # when the last observation before it was made
    resumed_us: int | None = None  # when the first one behind it was


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """Something that a source told as a whole, such as an asset or a vision system's result."""

    kind: str  # "mtconnect_asset", "vision_result"
    record: str  # its id in the source
    signal: str  # by which anchoring policies name it
    made_us: int
    media_type: str
    content: bytes
    is_conforming: bool | None = None  # None: it states no verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a source has come."""

    instance: str  # as the source names itself since it was started; "" where it has no such name
    next_sequence: int  # of the observation that comes next
    last_made_us: int = 0  # of the last observation; 0: there was none


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a source told at once. Gaps lie before the observations, in their order."""

    position: Position  # behind all of it
    observations: Sequence[Observation] = ()
    gaps: Sequence[SourceGap] = ()
    records: Sequence[SourceRecord] = ()


class ReportTaker(Protocol):
    """Whoever keeps what sources tell."""

    async def take(self, report: Report) -> None:
        """Keep a report; it is on disk when this returns. A source waits for that."""


class Source(Protocol):
    """A server or agent that is watched."""

    async def run(self, taker: ReportTaker) -> None:
        """Give all that the source tells, until cancelled.

        It connects again and again where it has to, and raises only what no retry can mend.

        Raises:
            AdapterError: The settings do not fit the source, or it is not to be trusted.
        """
