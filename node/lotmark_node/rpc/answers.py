"""Answers on their way back over one submit stream: gathered, bounded, never dropped."""

import asyncio
from dataclasses import dataclass

from lotmark.admission import AdmissionAnswer
from lotmark.outcome import Outcome
from lotmark.v1 import ledger_pb2
from lotmark_node.engine.stored_block import PlacedBatch

UNANSWERED_MAX = 2_048  # batches of one stream without their last answer, or with it unsent
LINGER_S = 0.02  # how long an acceptance waits, so that it may go out with the acknowledgement


@dataclass(slots=True)
class OwedAdmission:
    """An admission answer that is signed when it goes out."""

    answer: AdmissionAnswer
    detail: str
    signature: bytes = b""

    def message(self) -> ledger_pb2.SubmitAnswer:
        """Return the wire form."""
        answer = self.answer
        return ledger_pb2.SubmitAnswer(
            admission=ledger_pb2.Admission(
                batch_id=answer.batch_id,
                accepted=answer.accepted,
                reason=answer.reason,
                admitted_at_ms=answer.admitted_at_ms,
                due_ms=answer.due_ms,
                checkpoint_size=answer.checkpoint_size,
                checkpoint_root=answer.checkpoint_root,
                node=answer.node,
                signature=self.signature,
                detail=self.detail,
            )
        )


@dataclass(frozen=True, slots=True)
class OwedAcknowledgement:
    """What became of a batch."""

    placed: PlacedBatch

    def message(self) -> ledger_pb2.SubmitAnswer:
        """Return the wire form."""
        placed = self.placed
        outcomes = placed.result.event_outcomes
        return ledger_pb2.SubmitAnswer(
            acknowledgement=ledger_pb2.Acknowledgement(
                batch_id=placed.batch.batch_id,
                batch_index=placed.index,
                height=placed.height,
                time_ms=placed.time_ms,
                outcome=placed.result.outcome,
                event_outcomes=outcomes if any(outcomes) else (),
            )
        )


OwedAnswer = OwedAdmission | OwedAcknowledgement


class AnswerQueue:
    """What one stream is owed. Lives on the event loop's thread."""

    def __init__(self) -> None:
        self._ready: list[OwedAnswer] = []
        self._due = False  # whether what is ready goes out now
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._unanswered = 0
        self._unsent = 0
        self._finished = False
        self._broken_off = False
        self._timer: asyncio.TimerHandle | None = None

    async def room(self) -> None:
        """Wait until the caller has read enough of its answers to send more."""
        await self._room.wait()

    def expect(self) -> None:
        """Take note of a batch that is owed answers."""
        self._unanswered += 1
        self._measure()

    def admitted(self, answer: AdmissionAnswer, detail: str) -> None:
        """Add an admission answer."""
        self._ready.append(OwedAdmission(answer, detail))
        if answer.accepted:
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._flush)
            return
        self._last_answer()

    def acknowledged(self, placed: PlacedBatch) -> None:
        """Add an acknowledgement."""
        self._ready.append(OwedAcknowledgement(placed))
        self._last_answer()

    def finish(self) -> None:
        """Take note that no further batch will come."""
        self._finished = True
        self._wake.set()

    def break_off(self) -> None:
        """Take note that what is still owed will not come: the ledger has failed."""
        self._broken_off = True
        self._send()

    async def take(self) -> list[OwedAnswer]:
        """Wait for answers and return all there are; none: no more will come."""
        while not self._due:
            if self._broken_off or (self._finished and not self._unanswered):
                return []
            self._wake.clear()
            await self._wake.wait()
        ready, self._ready = self._ready, []
        self._due = False
        self._unsent = 0
        self._measure()
        return ready

    def _flush(self) -> None:
        self._timer = None
        self._send()

    def _last_answer(self) -> None:
        self._unanswered -= 1
        self._unsent += 1
        self._measure()
        self._send()

    def _send(self) -> None:
        self._due = bool(self._ready)
        self._wake.set()

    def _measure(self) -> None:
        if self._unanswered + self._unsent >= UNANSWERED_MAX:
            self._room.clear()
        else:
            self._room.set()


def oversize(request: ledger_pb2.SubmitRequest, batches_max: int, size_max: int) -> str | None:
    """Return why a message is too large, or None."""
    count, size = len(request.batches), request.ByteSize()
    if count <= batches_max and size <= size_max:
        return None
    return (
        f"{Outcome.MESSAGE_OVERSIZE.name}: {count} batches and {size} bytes, at most {batches_max}"
        f" and {size_max} are taken; split the message"
    )
