"""What has come from a server and is not kept yet: bounded, in its order, every loss counted."""

import asyncio
from collections import deque

from lotmark_adapters.observation import (
    GapReason,
    Observation,
    Position,
    Report,
    SourceGap,
    SourceRecord,
)

ITEMS_MAX = 50_000  # about 15 MB; at 3,000 a second, what a disk may be behind by 16 s
REPORT_ITEMS_MAX = 1_000


class Arrivals:
    """The queue between a subscription, which cannot wait, and a taker, which may.

    What does not fit is dropped as it comes and becomes one gap in its place.
    """

    def __init__(self, instance: str, *, items_max: int) -> None:
        self._instance = instance
        self._items_max = items_max
        self._items: deque[Observation | SourceGap | SourceRecord] = deque()
        self._dropped: SourceGap | None = None  # behind all items
        self._has_more = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items) + (self._dropped is not None)

    async def wait(self) -> None:
        """Return as soon as there is something, or at `wake`."""
        if not len(self):
            self._has_more.clear()
            await self._has_more.wait()

    def wake(self) -> None:
        """Let whoever waits go on, though nothing has come."""
        self._has_more.set()

    def add_observation(self, observation: Observation) -> None:
        """Add an observation, or count it as dropped."""
        if len(self._items) < self._items_max:
            self._close_dropped()
            self._items.append(observation)
        elif self._dropped is None:
            self._dropped = SourceGap(
                reason=GapReason.CLIENT_QUEUE,
                instance=self._instance,
                first=observation.sequence,
                last=observation.sequence,
                count=1,
            )
        else:
            first = self._dropped.first or observation.sequence
            self._drop(first, observation.sequence, 1)
        self._has_more.set()

    def add_gap(self, gap: SourceGap) -> None:
        """Add a gap. Only where twice as much waits as may, it merges with what was dropped."""
        if len(self._items) < 2 * self._items_max:
            self._close_dropped()
            self._items.append(gap)
        elif self._dropped is not None:
            self._drop(self._dropped.first, self._dropped.last, None)
        else:
            self._dropped = SourceGap(reason=GapReason.CLIENT_QUEUE, instance=self._instance)
        self._has_more.set()

    def add_record(self, record: SourceRecord) -> None:
        """Add a record, or a gap of one in its place."""
        if len(self._items) < self._items_max:
            self._close_dropped()
            self._items.append(record)
            self._has_more.set()
        else:
            self.add_gap(SourceGap(reason=GapReason.CLIENT_QUEUE, signal=record.signal, count=1))

    def report(self, position: Position) -> Report:
        """Take out what makes one report: gaps lie before all else in it.

        Args:
            position: Where the report before this one ended.
        """
        gaps = list[SourceGap]()
        observations = list[Observation]()
        records = list[SourceRecord]()
        next_sequence, last_made_us = position.next_sequence, position.last_made_us
        while self._items or self._dropped:
            if not self._items:
                self._close_dropped()
            item = self._items[0]
            if len(observations) + len(records) + len(gaps) >= REPORT_ITEMS_MAX:
                break
            if isinstance(item, SourceGap):
                if observations or records:
                    break
                gaps.append(item)
                if item.reason is GapReason.CLIENT_QUEUE and item.last:
                    next_sequence = item.last + 1
            elif isinstance(item, Observation):
                observations.append(item)
                next_sequence = item.sequence + 1
                # Values read anew bear the times at which they were written, long before perhaps.
                last_made_us = max(last_made_us, item.made_us)
            else:
                records.append(item)
            self._items.popleft()
        return Report(
            position=Position(
                instance=self._instance, next_sequence=next_sequence, last_made_us=last_made_us
            ),
            observations=observations,
            gaps=gaps,
            records=records,
        )

    def _drop(self, first: int, last: int, count: int | None) -> None:
        """Widen what was dropped; without a count it has none from then on."""
        assert self._dropped is not None
        before = self._dropped.count
        self._dropped = SourceGap(
            reason=GapReason.CLIENT_QUEUE,
            instance=self._instance,
            first=first,
            last=last,
            count=None if before is None or count is None else before + count,
        )

    def _close_dropped(self) -> None:
        if self._dropped is not None:
            self._items.append(self._dropped)
            self._dropped = None
