"""The writer: stores what callers submit, cuts it into batches and signs them, on its own thread.

One transaction a round: events that came in, batches that were cut of them, and batches that were
acknowledged and can go. So many callers share one wait for the disk, and the more come at once, the
fewer waits there are. Where a whole batch comes in at once it is stored as a batch right away; what
is left over is stored as events, and becomes a batch when its linger time is over.

Nothing is signed before a node has shown where the lane stands: only then is it known that this
outbox is no old copy, which would sign numbers a second time.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from secrets import randbits

from lotmark.batch import BATCH_EVENTS_MAX, ZERO_HASH, Batch, sign_batch
from lotmark.client.clock import Clock
from lotmark.client.errors import OutboxUnusable, thread_failed
from lotmark.client.outbox import READ_BATCHES_MAX, Lane, Outbox, StoredBatch
from lotmark.client.submission import cut_batches
from lotmark.client.waiting import Group, Waiting
from lotmark.ed25519 import PrivateKey

logger = logging.getLogger(__name__)

ROUND_EVENTS_MAX = 4_096  # taken from callers, and from the outbox into batches, in one round
FORGET_S = 1.0  # acknowledged batches leave the outbox so late, if nothing else is written
RETRY_S = 1.0  # after the disk has refused a round


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """What every batch of a client is signed with."""

    key: PrivateKey
    chain_id: bytes
    party: str
    clock: Clock
    seen: Callable[[], tuple[int, bytes]]  # newest checkpoint that a node has shown: size, root

    def sign(self, events: Sequence[bytes], lane: Lane, replaces: bytes = ZERO_HASH) -> Batch:
        """Return the next batch of a lane."""
        seen_size, seen_root = self.seen()
        now = self.clock.read()
        return sign_batch(
            self.key,
            events,
            chain_id=self.chain_id,
            lane=lane.number,
            sequence=lane.sequence + 1,
            previous=lane.batch_id,
            replaces=replaces,
            created_at_ms=now.time_ms,
            clock=now.state,
            clock_uncertainty_us=now.uncertainty_us,
            seen_size=seen_size,
            seen_root=seen_root,
            party=self.party,
        )


class Writer:
    """Writes an outbox; the only one that does."""

    def __init__(
        self, outbox: Outbox, waiting: Waiting, signer: Signer, *, linger_s: float
    ) -> None:
        self._outbox = outbox
        self._waiting = waiting
        self._signer = signer
        self._linger_s = linger_s
        self._turn = threading.Lock()  # to change the outbox and the lane
        self._lane = outbox.lane(signer.key.public) or self._new_lane()
        self._may_sign = False
        self._has_stored = bool(outbox.events(count_max=1))  # events in no batch
        self._cut_at_s = 0.0  # when these go into a batch, however few they are
        self._settled: list[int] = []  # guarded by the lock of `waiting`
        self._forget_at_s = 0.0
        self._not_before_s = 0.0
        self._thread = threading.Thread(target=self._run, name="lotmark-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait until all that came in is stored; the waiting record was closed before."""
        self._thread.join()
        with suppress(OutboxUnusable):  # then they are sent once more, which does no harm
            self.forget_now()

    # For the sender

    @property
    def lane(self) -> Lane:
        """The lane that is signed in, and its newest batch."""
        return self._lane

    def allow_signing(self) -> None:
        """Take note that the lane stands where a node says, too."""
        with self._waiting.lock:
            self._may_sign = True
            self._waiting.work.notify()

    def forget(self, places: Sequence[int]) -> None:
        """Drop acknowledged batches with the next round."""
        with self._waiting.lock:
            if not self._settled:
                self._forget_at_s = time.monotonic() + FORGET_S
            self._settled += places
            self._waiting.work.notify()

    def forget_now(self) -> None:
        """Drop acknowledged batches.

        Raises:
            OutboxUnusable: It could not be written; they are sent again, which does no harm.
        """
        with self._turn:
            if settled := self._take_settled():
                self._outbox.write(settled=settled)

    def leave_lane(self, *, sign_again: bool) -> None:
        """Go on in a new lane, as nothing more can be signed in this one.

        Args:
            sign_again: Sign what waits again there, too, each batch naming the one it replaces;
                else it is only what is new that goes there.

        Raises:
            OutboxUnusable: It could not be written, or not all of it.
        """
        with self._turn:
            lane = self._new_lane()
            logger.warning(
                "another lane is begun",
                extra={"left": self._lane.number, "begun": lane.number, "sign_again": sign_again},
            )
            self._write_batches([], lane, settled=self._take_settled())
            end = self._outbox.newest_batch if sign_again else 0
            # A few at a time, in order; where it ends early, the rest is refused and comes next.
            while olds := self._oldest_up_to(end):
                self._replace(olds, self._lane)

    def _oldest_up_to(self, end: int) -> list[StoredBatch]:
        found = self._outbox.batches(count_max=READ_BATCHES_MAX)
        return [each for each in found if each.place <= end]

    def sign_again(self, old: StoredBatch) -> None:
        """Sign a batch's events again at the end of the lane, as its number was used up.

        Raises:
            OutboxUnusable: It could not be written; nothing has changed.
        """
        with self._turn:
            self._replace([old], self._lane)

    def set_aside(self, batch: StoredBatch, detail: str) -> None:
        """Keep a batch for people that can never be accepted.

        Raises:
            OutboxUnusable: It could not be written; nothing has changed.
        """
        with self._turn:
            self._outbox.write(settled=[batch.place], refused=[(batch.batch, detail)])

    def _replace(self, olds: Sequence[StoredBatch], lane: Lane) -> None:
        batches = []
        for old in olds:
            batch = self._signer.sign(old.batch.events, lane, old.batch.batch_id)
            lane = _after(lane, batch)
            batches.append(batch)
        self._write_batches(batches, lane, settled=[old.place for old in olds])

    def _write_batches(
        self,
        batches: Sequence[Batch],
        lane: Lane,
        *,
        settled: Sequence[int] = (),
        events: Sequence[bytes] = (),
        batched_up_to: int = 0,
    ) -> None:
        changed = lane if lane != self._lane else None
        self._outbox.write(
            events=events,
            batched_up_to=batched_up_to,
            batches=batches,
            settled=settled,
            lane=changed,
        )
        self._lane = lane
        if batches:
            with self._waiting.lock:
                self._waiting.batches.notify_all()

    def _new_lane(self) -> Lane:
        # By chance: whoever has lost an outbox does not know which lanes its key has used.
        return Lane(self._signer.key.public, randbits(32))

    # The thread

    def _run(self) -> None:
        waiting = self._waiting
        groups: list[Group] = []
        try:
            closing = False
            while not closing:
                with waiting.lock:
                    while not self._is_due() and not waiting.closing:
                        waiting.work.wait(self._due_in_s())
                    groups = waiting.take(ROUND_EVENTS_MAX)
                    closing = waiting.closing and not waiting.has_incoming
                with self._turn:
                    self._round(groups, cut_all=closing)
                groups = []
        except BaseException as error:  # nobody shall wait for a thread that is gone
            waiting.close()
            with waiting.lock:
                groups += waiting.take()
            failed = thread_failed("writer", error)
            waiting.not_stored(groups, failed(b""))
            waiting.fail_all(failed)
            raise

    def _is_due(self) -> bool:
        return self._waiting.has_incoming or self._due_in_s() == 0.0

    def _due_in_s(self) -> float | None:
        """Return in how many seconds there is something to write; None: when something comes."""
        due_s = []
        if self._has_stored and self._may_sign:
            due_s.append(self._cut_at_s)
        if self._settled:
            due_s.append(self._forget_at_s)
        if not due_s:
            return None
        return max(0.0, max(min(due_s), self._not_before_s) - time.monotonic())

    def _round(self, groups: Sequence[Group], *, cut_all: bool) -> None:
        fresh = [event for group in groups for event in group.events]
        settled = self._take_settled()
        now_s = time.monotonic()
        try:
            self._store(fresh, settled, cut_all=cut_all or now_s >= self._cut_at_s)
        except OutboxUnusable as error:
            logger.warning("the outbox cannot be written", extra={"reason": str(error)})
            with self._waiting.lock:
                self._settled = settled + self._settled
            self._not_before_s = now_s + RETRY_S
            self._waiting.not_stored(groups, error)
            return
        for group in groups:
            group.stored.set_result(None)

    def _take_settled(self) -> list[int]:
        with self._waiting.lock:
            settled, self._settled = self._settled, []
        return settled

    def _store(self, fresh: list[bytes], settled: list[int], *, cut_all: bool) -> None:
        """Store events, and cut batches of them and of those that were stored before."""
        may_sign = self._may_sign  # the sender may allow it meanwhile
        stored = (
            self._outbox.events(count_max=ROUND_EVENTS_MAX) if self._has_stored and may_sign else []
        )
        is_all = len(stored) < ROUND_EVENTS_MAX and (may_sign or not self._has_stored)
        # In the order in which they came: new ones only once every older one is at hand.
        events = [each.raw for each in stored] + (fresh if is_all else [])
        all_of_them = (cut_all and bool(stored)) or not is_all
        cut = _cut(events, all_of_them=all_of_them) if may_sign else []
        batches, lane = [], self._lane
        for group in cut:
            batch = self._signer.sign(group, lane)
            lane = _after(lane, batch)
            batches.append(batch)
        cut_count = sum(map(len, cut))
        stored_cut_count = min(cut_count, len(stored))
        left = fresh[cut_count - stored_cut_count :]
        self._write_batches(
            batches,
            lane,
            settled=settled,
            events=left,
            batched_up_to=stored[stored_cut_count - 1].place if stored_cut_count else 0,
        )
        had_left = self._has_stored and stored_cut_count == 0
        self._has_stored = bool(left) or not is_all or stored_cut_count < len(stored)
        if self._has_stored and not had_left:
            self._cut_at_s = time.monotonic() + (self._linger_s if is_all else 0.0)


def _cut(events: Sequence[bytes], *, all_of_them: bool) -> list[Sequence[bytes]]:
    """Return the batches to make of events: the full ones, and the last where it is time."""
    cut = list(cut_batches(events))
    if cut and not all_of_them and len(cut[-1]) < BATCH_EVENTS_MAX:
        cut.pop()
    return cut


def _after(lane: Lane, batch: Batch) -> Lane:
    return replace(lane, sequence=batch.header.sequence, batch_id=batch.batch_id)
