"""What has come from a server and is not kept yet: bounded, in its order, every loss counted."""

import asyncio
from collections import deque
from collections.abc import Sequence

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

    What does not fit is dropped as it comes and becomes one gap in its place. Observations of one
    instant stay together: a measurement is never given without the part that it was made on.
    """

    def __init__(self, instance: str, *, items_max: int) -> None:
        self._instance = instance
        self._items_max = items_max
        self._items: deque[Sequence[Observation] | SourceGap | SourceRecord] = deque()
        self._size = 0  # of the items, an instant being as many as it has observations
        self._dropped: SourceGap | None = None  # behind all items
        self._has_more = asyncio.Event()

    def __len__(self) -> int:
        return self._size + (self._dropped is not None)

    async def wait(self) -> None:
        """Return as soon as there is something, or at `wake`."""
        if not len(self):
            self._has_more.clear()
            await self._has_more.wait()

    def wake(self) -> None:
        """Let whoever waits go on, though nothing has come."""
        self._has_more.set()

    def add_instant(self, observations: Sequence[Observation]) -> None:
        """Add the observations of one instant, one or more, or count all of them as dropped."""
        count = len(observations)
        if self._size + count <= self._items_max:
            self._close_dropped()
            self._append(observations)
        elif self._dropped is None:
            self._dropped = SourceGap(
                reason=GapReason.CLIENT_QUEUE,
                instance=self._instance,
                first=observations[0].sequence,
                last=observations[-1].sequence,
                count=count,
            )
        else:
            first = self._dropped.first or observations[0].sequence
            self._drop(first, observations[-1].sequence, count)
        self._has_more.set()

    def add_gap(self, gap: SourceGap) -> None:
        """Add a gap. Only where twice as much waits as may, it merges with what was dropped."""
        if self._size < 2 * self._items_max:
            self._close_dropped()
            self._append(gap)
        elif self._dropped is not None:
            self._drop(self._dropped.first, self._dropped.last, None)
        else:
            self._dropped = SourceGap(reason=GapReason.CLIENT_QUEUE, instance=self._instance)
        self._has_more.set()

    def add_record(self, record: SourceRecord) -> None:
        """Add a record, or a gap of one in its place."""
        if self._size < self._items_max:
            self._close_dropped()
            self._append(record)
            self._has_more.set()
        else:
            self.add_gap(SourceGap(reason=GapReason.CLIENT_QUEUE, signal=record.signal, count=1))

    def report(self, position: Position) -> Report:
        """Take out what makes one report: gaps lie before all else in it.

        It has `REPORT_ITEMS_MAX` items; more only where they are of one instant.

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
            count = len(observations) + len(records) + len(gaps)
            if isinstance(item, SourceGap):
                if observations or records or count >= REPORT_ITEMS_MAX:
                    break
                gaps.append(item)
                if item.reason is GapReason.CLIENT_QUEUE and item.last:
                    next_sequence = item.last + 1
            elif isinstance(item, SourceRecord):
                if count >= REPORT_ITEMS_MAX:
                    break
                records.append(item)
            else:
                goes_on = bool(observations) and observations[-1].made_us == item[0].made_us
                if count and count + len(item) > REPORT_ITEMS_MAX and not goes_on:
                    break
                observations += item
                next_sequence = item[-1].sequence + 1
                # Values read anew bear the times at which they were written, long before perhaps.
                last_made_us = max(last_made_us, item[0].made_us)
            self._items.popleft()
            self._size -= _size(item)
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
            self._append(self._dropped)
            self._dropped = None

    def _append(self, item: Sequence[Observation] | SourceGap | SourceRecord) -> None:
        self._items.append(item)
        self._size += _size(item)


def _size(item: Sequence[Observation] | SourceGap | SourceRecord) -> int:
    return 1 if isinstance(item, SourceGap | SourceRecord) else len(item)
