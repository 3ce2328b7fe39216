"""What waits in the outbox, who wants to hear of it, and the bounds that callers wait at.

The one record that the client's threads share: callers put events in, the writer takes them to the
disk, the sender tells what became of them.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from lotmark.batch import Batch
from lotmark.client.delivery import Delivery
from lotmark.client.errors import ClientClosed, OutboxFull, SubmissionRefused
from lotmark.client.submission import EventResult
from lotmark.merkle import leaf_hash
from lotmark.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxBounds:
    """How much may wait in an outbox: beyond it, callers wait."""

    events_max: int = 200_000
    size_max: int = 1 << 30  # bytes of events


@dataclass(slots=True)
class Group:
    """Events that came together and are stored together."""

    events: list[bytes]  # those that were not waiting already
    new: list[Delivery]
    deliveries: list[Delivery]  # of all that were submitted, in order
    stored: "Future[None]" = field(default_factory=Future)


class Waiting:
    """Events from their submission to their acknowledgement; any thread may call it.

    Attributes:
        lock: Guards everything here, and what the writer and the sender say to each other.
        work: Notified when the writer has something to do.
        batches: Notified when the sender has something to do.
        trouble: Why nothing is acknowledged at present; "" where all is well.
    """

    def __init__(
        self,
        outbox: Path,
        bounds: OutboxBounds,
        new_delivery: Callable[[bytes], Delivery],
        kept: Iterable[bytes],
    ) -> None:
        """Begin with the events that an outbox holds already."""
        self.lock = threading.Lock()
        self.work = threading.Condition(self.lock)
        self.batches = threading.Condition(self.lock)
        self._changed = threading.Condition(self.lock)
        self.closing = False
        self.trouble = ""
        self._outbox = outbox
        self._bounds = bounds
        self._new_delivery = new_delivery
        self._incoming: list[Group] = []
        self._deliveries: dict[bytes, Delivery | None] = {}  # None: nobody has asked yet
        self._size = 0
        for event in kept:
            self._deliveries[leaf_hash(event)] = None
            self._size += len(event)

    @property
    def count(self) -> int:
        """How many events wait."""
        return len(self._deliveries)

    def still_waiting(self, events: Iterable[bytes]) -> list[tuple[bytes, Delivery]]:
        """Return those of some events that wait, each once, with its delivery.

        The outbox forgets an event a little later than it is acknowledged. One that is returned
        has no answer yet, and its delivery gets it, however soon that comes.
        """
        by_id = {leaf_hash(event): event for event in events}
        found: list[tuple[bytes, Delivery]] = []
        with self.lock:
            for event_id, event in by_id.items():
                if event_id in self._deliveries:
                    delivery = self._deliveries[event_id] or self._new_delivery(event_id)
                    self._deliveries[event_id] = delivery
                    found.append((event, delivery))
        return found

    # Callers

    def enter(self, events: Sequence[bytes], *, room_s: float) -> Group:
        """Put events in, waiting for room; they are stored when the group says so.

        An event that waits already is not put in again: its delivery is shared.

        Raises:
            OutboxFull: There was no room within `room_s`.
            ClientClosed: The client was closed.
        """
        ids = [leaf_hash(event) for event in events]
        size = sum(map(len, events))
        with self.lock:
            has_room = self._changed.wait_for(
                lambda: self.closing or self._fits(len(events), size), room_s
            )
            if self.closing:
                raise ClientClosed(f"the client was closed; open {self._outbox} anew to send more")
            if not has_room:
                raise self._full(room_s)
            group = Group([], [], [])
            for event_id, event in zip(ids, events, strict=True):
                delivery = self._deliveries.get(event_id)
                if delivery is None:
                    delivery = self._new_delivery(event_id)
                    if event_id not in self._deliveries:
                        group.events.append(event)
                        group.new.append(delivery)
                        self._size += len(event)
                    self._deliveries[event_id] = delivery
                group.deliveries.append(delivery)
            self._incoming.append(group)
            self.work.notify()
        return group

    def _fits(self, count: int, size: int) -> bool:
        return not self._deliveries or (
            self.count + count <= self._bounds.events_max
            and self._size + size <= self._bounds.size_max
        )

    def _full(self, room_s: float) -> OutboxFull:
        why = f": {self.trouble}" if self.trouble else ", so it is slower than its caller"
        return OutboxFull(
            f"{self._outbox} holds {self.count} events of {self._size} bytes; at most"
            f" {self._bounds.events_max} and {self._bounds.size_max} may wait, and for {room_s:g} s"
            f" there was no room. Nothing is lost; submit the event again later. The ledger has"
            f" not acknowledged what waits{why}"
        )

    def wait_empty(self, timeout_s: float) -> int:
        """Wait until nothing waits, and return how many events still do."""
        with self.lock:
            self._changed.wait_for(lambda: not self._deliveries, timeout_s)
            return self.count

    def why(self) -> str:
        """Say what an event waits for."""
        trouble = self.trouble or "the ledger has not answered"
        return f"the event waits in {self._outbox} and sending goes on: {trouble}"

    # The writer

    def take(self, events_max: int = sys.maxsize) -> list[Group]:
        """Return the groups that came in first; the caller holds the lock.

        Args:
            events_max: No further group once these have so many events.
        """
        count = event_count = 0
        while count < len(self._incoming) and event_count < events_max:
            event_count += len(self._incoming[count].events)
            count += 1
        taken = self._incoming[:count]
        del self._incoming[:count]
        return taken

    @property
    def has_incoming(self) -> bool:
        """Whether groups came in; the caller holds the lock."""
        return bool(self._incoming)

    def not_stored(self, groups: Sequence[Group], error: Exception) -> None:
        """Take back groups that could not be stored, and say why."""
        with self.lock:
            for group in groups:
                for event, delivery in zip(group.events, group.new, strict=True):
                    self._deliveries.pop(delivery.event_id, None)
                    self._size -= len(event)
            self._changed.notify_all()
        for group in groups:
            for delivery in group.new:
                delivery.settle(error)
            group.stored.set_exception(error)

    # The sender

    def settle(self, batch: Batch, results: Sequence[EventResult]) -> None:
        """Tell what became of a batch's events, which wait no longer."""
        told: list[tuple[Delivery, EventResult]] = []
        with self.lock:
            for event, result in zip(batch.events, results, strict=True):
                if result.event_id not in self._deliveries:
                    continue  # its batch was sent and acknowledged twice
                self._size -= len(event)
                delivery = self._deliveries.pop(result.event_id)
                if delivery is not None:
                    told.append((delivery, result))
            self._changed.notify_all()
        for delivery, result in told:
            if result.index is not None and not _is_refusal(result):
                delivery.settle(result)
            else:
                delivery.settle(SubmissionRefused(result))

    def fail_all(self, make_error: Callable[[bytes], Exception]) -> None:
        """Tell everybody that waits why nothing comes now; the events wait on.

        Whoever submits such an event again hears of it again.
        """
        with self.lock:
            told = [delivery for delivery in self._deliveries.values() if delivery is not None]
            self._deliveries = dict.fromkeys(self._deliveries)
        for delivery in told:
            delivery.settle(make_error(delivery.event_id))

    def close(self) -> None:
        """Take nothing more, and wake whoever waits."""
        with self.lock:
            self.closing = True
            for condition in (self.work, self.batches, self._changed):
                condition.notify_all()

    def sleep(self, seconds: float) -> None:
        """Wait that long, or until the client is closed."""
        end_s = time.monotonic() + seconds
        with self.lock:
            while not self.closing and (left_s := end_s - time.monotonic()) > 0:
                self.batches.wait(left_s)


def _is_refusal(result: EventResult) -> bool:
    return result.outcome not in (Outcome.ACCEPTED, Outcome.EVENT_DUPLICATE)
