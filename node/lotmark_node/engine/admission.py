"""Admission: the ledger's rules asked early, and an answer for every batch.

Everything here runs on the event loop's thread. Only batches that the log would refuse without
taking their number are refused here; all others go on record, with their outcomes. What is on
record is acknowledged again to whoever asks again, whatever became of its key and lane since.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from lotmark.admission import AdmissionAnswer
from lotmark.batch import BATCH_SIZE_MAX, ZERO_HASH, Batch, BatchHeader, parse_one_batch
from lotmark.errors import MalformedError
from lotmark.outcome import CONSUMES_NUMBER_FROM, MEANINGS, Outcome
from lotmark_node.engine.checkpoints import SignedCheckpoint
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.refusal_log import RefusalLog
from lotmark_node.engine.stored_block import PlacedBatch
from lotmark_node.engine.traffic import Traffic
from lotmark_node.state_machine.batch_rules import (
    judge_place,
    judge_signer,
    judge_usage,
    lane_row,
    signer_row,
)
from lotmark_node.state_machine.ledger_state import LedgerState
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.tables import LaneRow, Table, parse_usage, row_key
from lotmark_node.state_machine.transition import MINUTE_MS

logger = logging.getLogger(__name__)

WAITING_EVENTS_MAX = 16_000  # events admitted and not applied
WAITING_SIZE_MAX = 32 << 20
SEQUENCES_AHEAD_MAX = 64
HELD_BATCHES_MAX = 1_024
HELD_SIZE_MAX = 32 << 20
HELD_S = 10.0
DUE_MS = 10_000

Answer = Callable[[AdmissionAnswer, str], None]  # unsigned, and its reason in words
Acknowledge = Callable[[PlacedBatch], None]


@dataclass(frozen=True, slots=True)
class Submission:
    """A batch, whether its signature holds, and whom to tell what became of it."""

    batch: Batch
    signature_holds: bool
    answer: Answer
    acknowledge: Acknowledge


@dataclass(slots=True)
class _Lane:
    """A lane while batches of it are on their way."""

    row: LaneRow  # as it will be once all of them are applied
    waiting: dict[bytes, int] = field(default_factory=dict)  # batch id -> sequence
    held: dict[int, tuple[Submission, asyncio.TimerHandle]] = field(default_factory=dict)


class Admission:
    """Judges batches, answers, and hands the good ones to the block cutter."""

    def __init__(
        self,
        state: LedgerState,
        reader: LogReader,
        *,
        node: str,
        push: Callable[[PreparedBatch], None],
        now_ms: Callable[[], int],
        checkpoint: Callable[[], SignedCheckpoint | None],
        on_closed: Callable[[Outcome | None], None],
        traffic: Traffic,
    ) -> None:
        self._state = state
        self._reader = reader
        self._node = node
        self._push = push
        self._now_ms = now_ms
        self._checkpoint = checkpoint
        self._lanes: dict[tuple[bytes, int], _Lane] = {}
        self._acknowledge: dict[bytes, list[Acknowledge]] = defaultdict(list)
        self._traffic = traffic
        self._taken_s: dict[bytes, float] = {}  # when each of these batches was admitted
        self._waiting_events = 0
        self._waiting_size = 0
        self._held_count = 0
        self._held_size = 0
        self._room = asyncio.Event()
        self._room.set()
        self._refusals = RefusalLog(logger, "batch refused")
        self._on_closed = on_closed
        self._closed: Outcome | None = None

    @property
    def closed(self) -> Outcome | None:
        """STORAGE_FULL, NO_LEADER or STOPPING while nothing is taken."""
        return self._closed

    @closed.setter
    def closed(self, outcome: Outcome | None) -> None:
        if outcome != self._closed:
            self._closed = outcome
            self._on_closed(outcome)

    @property
    def waiting_events(self) -> int:
        """Events admitted and not applied."""
        return self._waiting_events

    @property
    def waiting_size(self) -> int:
        """Bytes of the batches admitted and not applied."""
        return self._waiting_size

    @property
    def held_count(self) -> int:
        """Batches that wait for their predecessors."""
        return self._held_count

    async def room(self) -> None:
        """Wait until the queue has room: callers read their next message only then."""
        await self._room.wait()

    def parse(self, raw: bytes, answer: Answer) -> Batch | None:
        """Return a batch, or refuse what is none."""
        if len(raw) > BATCH_SIZE_MAX:
            self._refuse(ZERO_HASH, answer, Outcome.BATCH_OVERSIZE, f"{len(raw)} bytes")
            return None
        try:
            return parse_one_batch(raw)
        except MalformedError as error:
            self._refuse(ZERO_HASH, answer, Outcome.BATCH_MALFORMED, str(error))
            return None

    def submit(self, submission: Submission) -> None:
        """Judge one batch: it is answered once, and after an acceptance acknowledged once."""
        batch = submission.batch
        header = batch.header
        if self.closed is not None:
            self._refuse_batch(submission, self.closed)
            return
        row = signer_row(self._state.reader, header)
        outcome = judge_signer(
            header,
            self._state.chain_id,
            row,
            height=self._state.height + 1,
            time_ms=self._block_time_ms(),
        )
        if outcome:
            if not self._acknowledge_again(submission):
                self._refuse_batch(submission, outcome)
            return
        lane = self._lane(header.signer, header.lane)
        outcome = judge_place(header, lane.row)
        if outcome == Outcome.SEQUENCE_REUSED:
            self._place_again(submission, lane)
        elif outcome == Outcome.SEQUENCE_AHEAD:
            self._hold(submission, lane)
        elif outcome:
            if not self._acknowledge_again(submission):
                self._refuse_batch(submission, outcome)
        else:
            self._admit(submission, lane)
            self._release(lane)
        self._forget_idle(lane, header.signer, header.lane)

    def _admit(self, submission: Submission, lane: _Lane) -> None:
        """Take the batch that is next in its lane."""
        batch = submission.batch
        prepared = PreparedBatch(batch, signature_holds=submission.signature_holds)
        outcome = self._judge_prepared(prepared)
        if outcome:
            self._refuse_batch(submission, outcome)
            return
        header = batch.header
        lane.row = LaneRow(sequence=header.sequence, batch_id=batch.batch_id)
        lane.waiting[batch.batch_id] = header.sequence
        self._take(prepared, submission)

    def _take(self, prepared: PreparedBatch, submission: Submission) -> None:
        batch = submission.batch
        self._acknowledge[batch.batch_id].append(submission.acknowledge)
        self._taken_s[batch.batch_id] = time.monotonic()
        self._traffic.admitted_events += len(batch.events)
        self._waiting_events += len(batch.events)
        self._waiting_size += len(batch.raw)
        if self._waiting_events >= WAITING_EVENTS_MAX or self._waiting_size >= WAITING_SIZE_MAX:
            self._room.clear()
        self._accept(submission)
        self._push(prepared)

    def _place_again(self, submission: Submission, lane: _Lane) -> None:
        """Judge a batch whose number is taken: the same batch again, or another one."""
        if self._acknowledge_again(submission):
            return
        batch = submission.batch
        prepared = PreparedBatch(batch, signature_holds=submission.signature_holds)
        outcome = self._judge_prepared(prepared)
        if not outcome and not self._has_evidence(batch.header, lane):
            outcome = Outcome.SEQUENCE_REUSED
        if outcome:
            self._refuse_batch(submission, outcome)
            return
        # Its signer has signed two batches with one number: that goes on record.
        self._take(prepared, submission)

    def _acknowledge_again(self, submission: Submission) -> bool:
        """Answer for a batch that was taken before, if it was: its sender lost the answer."""
        batch_id = submission.batch.batch_id
        if batch_id in self._acknowledge:
            self._acknowledge[batch_id].append(submission.acknowledge)
            self._accept(submission)
            return True
        placed = self._reader.find_batch(batch_id)
        if placed is not None:
            self._accept(submission)
            submission.acknowledge(placed)
        return placed is not None

    def _has_evidence(self, header: BatchHeader, lane: _Lane) -> bool:
        """Tell whether the batch that took a number can be laid beside one that reuses it.

        Where it cannot, nothing would go on record but the bytes, and nobody be billed for them.
        """
        at = (header.signer, header.lane, header.sequence)
        on_record = self._state.window.find_batch(at) is not None
        return on_record or header.sequence in lane.waiting.values()

    def _hold(self, submission: Submission, lane: _Lane) -> None:
        """Keep a batch that came before its predecessors, for a while."""
        batch = submission.batch
        if not submission.signature_holds:
            # Held, it would keep a number that others' batch is to take.
            self._refuse_batch(submission, Outcome.SIGNATURE_INVALID)
            return
        sequence = batch.header.sequence
        ahead = sequence - lane.row.sequence - 1
        if (
            ahead > SEQUENCES_AHEAD_MAX
            or sequence in lane.held
            or self._held_count >= HELD_BATCHES_MAX
            or self._held_size + len(batch.raw) > HELD_SIZE_MAX
        ):
            detail = f"sequence {sequence}, the lane stands at {lane.row.sequence}"
            self._refuse_batch(submission, Outcome.SEQUENCE_AHEAD, detail)
            return
        timer = asyncio.get_running_loop().call_later(
            HELD_S, self._give_up, batch.header.signer, batch.header.lane, sequence
        )
        lane.held[sequence] = submission, timer
        self._held_count += 1
        self._held_size += len(batch.raw)

    def _give_up(self, signer: bytes, lane_number: int, sequence: int) -> None:
        lane = self._lanes[signer, lane_number]
        submission, _ = self._take_held(lane, sequence)
        detail = f"sequence {sequence} waited {HELD_S:g} s for {lane.row.sequence + 1}"
        self._refuse_batch(
            submission,
            Outcome.WAITING_FOR_PREDECESSOR,
            detail,
        )
        self._forget_idle(lane, signer, lane_number)

    def _release(self, lane: _Lane) -> None:
        """Admit the held batches whose turn has come."""
        while (following := lane.row.sequence + 1) in lane.held:
            submission, timer = self._take_held(lane, following)
            timer.cancel()
            self._admit(submission, lane)

    def _take_held(self, lane: _Lane, sequence: int) -> tuple[Submission, asyncio.TimerHandle]:
        submission, timer = lane.held.pop(sequence)
        self._held_count -= 1
        self._held_size -= len(submission.batch.raw)
        return submission, timer

    def _block_time_ms(self) -> int:
        """Return what the next block's time is at least."""
        return max(self._now_ms(), self._state.time_ms)

    def _lane(self, signer: bytes, number: int) -> _Lane:
        lane = self._lanes.get((signer, number))
        if lane is None:
            lane = _Lane(lane_row(self._state.reader, signer, number))
            self._lanes[signer, number] = lane
        return lane

    def _forget_idle(self, lane: _Lane, signer: bytes, number: int) -> None:
        if not lane.waiting and not lane.held:
            self._lanes.pop((signer, number), None)

    def _judge_prepared(self, prepared: PreparedBatch) -> Outcome:
        if not prepared.signature_holds:
            return Outcome.SIGNATURE_INVALID
        batch = prepared.batch
        party = batch.header.party
        raw = self._state.reader.get(row_key(Table.QUOTA, party.encode("ascii")))
        usage = parse_usage(raw, self._block_time_ms() // MINUTE_MS)
        count, size = len(batch.events), len(batch.raw)
        return judge_usage(usage, self._state.quotas, events=count, size=size)

    def applied(self, placed_batches: list[PlacedBatch]) -> None:
        """Acknowledge the batches of a block that was applied."""
        for placed in placed_batches:
            batch = placed.batch
            header = batch.header
            callbacks = self._acknowledge.pop(batch.batch_id, None)
            if callbacks is None:
                self._catch_up_lane(placed, header.signer, header.lane)
                continue
            self._waiting_events -= len(batch.events)
            self._waiting_size -= len(batch.raw)
            self._traffic.acknowledgement.add(time.monotonic() - self._taken_s.pop(batch.batch_id))
            for acknowledge in callbacks:
                acknowledge(placed)
            self._settle_lane(placed, header.signer, header.lane)
        if self._waiting_events < WAITING_EVENTS_MAX and self._waiting_size < WAITING_SIZE_MAX:
            self._room.set()

    def dropped(self, batch: Batch) -> None:
        """Forget a batch that the leader does not take; its sender asks again, or is refused."""
        if self._acknowledge.pop(batch.batch_id, None) is None:
            return
        del self._taken_s[batch.batch_id]
        self._waiting_events -= len(batch.events)
        self._waiting_size -= len(batch.raw)
        header = batch.header
        lane = self._lanes[header.signer, header.lane]
        lane.waiting.pop(batch.batch_id, None)
        lane.row = lane_row(self._state.reader, header.signer, header.lane)
        self._forget_idle(lane, header.signer, header.lane)

    def _catch_up_lane(self, placed: PlacedBatch, signer: bytes, number: int) -> None:
        """Take note of a batch that another node has admitted."""
        lane = self._lanes.get((signer, number))
        sequence, outcome = placed.batch.header.sequence, placed.result.outcome
        moved = not outcome or outcome >= CONSUMES_NUMBER_FROM
        if lane is None or not moved or sequence <= lane.row.sequence:
            return
        lane.row = LaneRow(sequence=sequence, batch_id=placed.batch.batch_id)
        self._release(lane)
        self._forget_idle(lane, signer, number)

    def _settle_lane(self, placed: PlacedBatch, signer: bytes, number: int) -> None:
        lane = self._lanes.get((signer, number))
        if lane is None:
            return
        expected = lane.waiting.pop(placed.batch.batch_id, None)
        outcome = placed.result.outcome
        if expected is not None and outcome and outcome < CONSUMES_NUMBER_FROM:
            # The number was not taken after all: what the lane expects is read anew.
            lane.row = lane_row(self._state.reader, signer, number)
        self._forget_idle(lane, signer, number)

    def _accept(self, submission: Submission) -> None:
        now_ms = self._now_ms()
        answer = self._answer(submission.batch.batch_id, Outcome.ACCEPTED, now_ms, now_ms + DUE_MS)
        submission.answer(answer, "")

    def _refuse_batch(self, submission: Submission, outcome: Outcome, detail: str = "") -> None:
        batch = submission.batch
        self._refuse(batch.batch_id, submission.answer, outcome, detail, batch.header.party)

    def _refuse(
        self,
        batch_id: bytes,
        answer: Answer,
        outcome: Outcome,
        detail: str = "",
        party: str = "",
    ) -> None:
        meaning = MEANINGS[outcome]
        said = f"{meaning.text} ({detail})" if detail else meaning.text
        text = f"{outcome.name}: {said}; {meaning.remedy}"
        self._refusals.add(party=party, batch=batch_id.hex(), outcome=outcome.name, text=said)
        answer(self._answer(batch_id, outcome, self._now_ms(), 0), text)

    def _answer(
        self, batch_id: bytes, outcome: Outcome, now_ms: int, due_ms: int
    ) -> AdmissionAnswer:
        self._traffic.admission[outcome] += 1
        checkpoint = self._checkpoint()
        return AdmissionAnswer(
            batch_id=batch_id,
            accepted=outcome == Outcome.ACCEPTED,
            reason=outcome,
            admitted_at_ms=now_ms,
            due_ms=due_ms,
            checkpoint_size=checkpoint.head.size if checkpoint else 0,
            checkpoint_root=checkpoint.head.root if checkpoint else ZERO_HASH,
            node=self._node,
        )
