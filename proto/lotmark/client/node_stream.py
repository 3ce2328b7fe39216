"""One stream to one node: batches out, answers in, never more on their way than a bound."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import grpc

from lotmark.batch import ZERO_HASH
from lotmark.client.answers import AnsweringNode, batch_outcome, event_results
from lotmark.client.outbox import Outbox, StoredBatch
from lotmark.client.retry import Cure, cure_of
from lotmark.client.submission import EventResult
from lotmark.client.waiting import Waiting
from lotmark.errors import MalformedError
from lotmark.outcome import CONSUMES_NUMBER_FROM, Outcome, describe
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc

ANSWER_S = 12.0  # to take a message, and then to acknowledge it; a node promises that within 10
IN_FLIGHT_MAX = 64  # batches that were sent and not acknowledged
MESSAGE_BATCHES_MAX = 16
MESSAGE_SIZE_MAX = 1 << 20
POLL_S = 0.5  # how soon it is noticed that a node says nothing


class _Call(Protocol):
    """A stream of answers, as gRPC gives it."""

    def __iter__(self) -> Iterator[ledger_pb2.SubmitResponse]: ...
    def cancel(self) -> bool: ...


class BatchRefused(Exception):
    """A node refused a batch as a whole."""

    def __init__(
        self, stored: StoredBatch, outcome: Outcome, detail: str, *, number_used: bool
    ) -> None:
        super().__init__(detail)
        self.stored = stored
        self.outcome = outcome
        self.detail = detail
        self.cure: Cure = cure_of(outcome, number_used=number_used)


class SeenCheckpoint:
    """The newest checkpoint that a node has shown, for the headers of batches; any thread."""

    def __init__(self) -> None:
        self._newest = (0, ZERO_HASH)

    def newest(self) -> tuple[int, bytes]:
        """Return size and root; size 0: none was seen yet."""
        return self._newest

    def note(self, size: int, root: bytes) -> None:
        """Take note of one that a node has signed under."""
        if size > self._newest[0]:
            self._newest = (size, root)


@dataclass(slots=True)
class _Sent:
    """A batch that the node was sent and has not acknowledged."""

    stored: StoredBatch
    since_s: float  # when its message was begun, and then: when the node had taken it
    is_admitted: bool = False


class NodeStream:
    """Sends everything in an outbox from its oldest batch on, and reads what the node answers."""

    def __init__(
        self,
        stub: ledger_pb2_grpc.LedgerServiceStub,
        node: AnsweringNode,
        outbox: Outbox,
        waiting: Waiting,
        *,
        seen: SeenCheckpoint,
        acknowledged: Callable[[StoredBatch, list[EventResult]], None],
    ) -> None:
        """Prepare it.

        Args:
            stub: Calls the node.
            node: Checks its answers.
            outbox: Holds the batches.
            waiting: Its lock guards what is on its way; its condition tells of new batches.
            seen: Takes note of the node's checkpoints.
            acknowledged: Told of each batch that is on the ledger.
        """
        self._stub = stub
        self._node = node
        self._outbox = outbox
        self._waiting = waiting
        self._seen = seen
        self._acknowledged = acknowledged
        self._sent: dict[bytes, _Sent] = {}  # by batch id, in sending order
        self._newest_place = 0  # of what was sent
        self._newest_message: list[_Sent] = []
        self._over = threading.Event()
        self._failure: Exception | None = None
        self._call: _Call | None = None
        self._called = threading.Event()

    def run(self) -> None:
        """Send and read until the stream ends, which it does by an error or by `hang_up`.

        Raises:
            BatchRefused: The node refused a batch as a whole.
            TimeoutError: It did not acknowledge one in time.
            ConnectionError: It ended the stream.
            ProtocolError: An answer is none that a node gives, or the outbox cannot be read.
            grpc.RpcError: The stream broke.
        """
        self._call = self._stub.SubmitStream(self._requests())
        self._called.set()
        if self._over.is_set():  # before there was a call to cancel
            self._call.cancel()
        watch = threading.Thread(target=self._watch, name="lotmark-watch", daemon=True)
        watch.start()
        try:
            for response in self._call:
                for answer in response.answers:
                    self._take(answer)
        except grpc.RpcError:
            if self._failure is not None:
                raise self._failure from None
            if not self._over.is_set():
                raise
        finally:
            self.hang_up()
            watch.join()
        if self._failure is not None:
            raise self._failure
        if not self._waiting.closing:
            raise ConnectionError(f"{self._node.name} ended the stream")

    def hang_up(self) -> None:
        """End the stream; any thread may."""
        with self._waiting.lock:
            self._over.set()
            self._waiting.batches.notify_all()
        if self._call is not None:
            self._call.cancel()

    # Sending, on a thread of gRPC

    def _requests(self) -> Iterator[ledger_pb2.SubmitRequest]:
        self._called.wait()  # so that it can be hung up from here
        try:
            while batches := self._next():
                yield ledger_pb2.SubmitRequest(batches=[each.batch.raw for each in batches])
        except Exception as error:  # whatever it is, it is the sender's to handle
            self._failure = error
            self.hang_up()

    def _next(self) -> list[StoredBatch]:
        """Return the next batches to send, waiting for some; none: the stream is over."""
        now_s = time.monotonic()
        for sent in self._newest_message:  # gRPC asks for more once the node has taken it
            sent.since_s = now_s
        while True:
            with self._waiting.lock:
                while not self._over.is_set() and not self._has_room():
                    self._waiting.batches.wait()
                if self._over.is_set():
                    return []
                count_max = min(MESSAGE_BATCHES_MAX, IN_FLIGHT_MAX - len(self._sent))
                newest = self._outbox.newest_batch
            found = self._outbox.batches(after=self._newest_place, count_max=count_max)
            batches = _within(found, MESSAGE_SIZE_MAX)
            now_s = time.monotonic()
            self._newest_message = [_Sent(each, now_s) for each in batches]
            with self._waiting.lock:
                self._sent |= {sent.stored.batch.batch_id: sent for sent in self._newest_message}
            if batches:
                self._newest_place = batches[-1].place
                return batches
            self._newest_place = newest  # what was there up to it has been settled

    def _has_room(self) -> bool:
        return self._outbox.newest_batch > self._newest_place and len(self._sent) < IN_FLIGHT_MAX

    # Watching, on a thread of its own: a node that reads nothing holds up the one that sends

    def _watch(self) -> None:
        while not self._over.wait(POLL_S):
            try:
                self._check_answered()
            except TimeoutError as error:
                self._failure = error
                self.hang_up()

    def _check_answered(self) -> None:
        with self._waiting.lock:
            oldest = next(iter(self._sent.values()), None)
        if oldest is not None and time.monotonic() - oldest.since_s > ANSWER_S:
            raise TimeoutError(
                f"{self._node.name} did not acknowledge batch"
                f" {oldest.stored.batch.batch_id.hex()} within {ANSWER_S:g} s"
            )

    # Answers

    def _take(self, answer: ledger_pb2.SubmitAnswer) -> None:
        if answer.HasField("admission"):
            admission = answer.admission
            sent = self._sent_as(admission.batch_id)
            refusal = self._node.refusal(sent.stored.batch, admission)
            if refusal is not None:
                raise BatchRefused(sent.stored, *refusal, number_used=False)
            self._seen.note(admission.checkpoint_size, admission.checkpoint_root)
            sent.is_admitted = True
            return
        told = answer.acknowledgement
        sent = self._sent_as(told.batch_id)
        stored = sent.stored
        if not sent.is_admitted:
            raise MalformedError(
                f"{self._node.name} acknowledges batch {told.batch_id.hex()} without admitting it"
            )
        outcome = batch_outcome(told)
        if outcome:
            used = outcome >= CONSUMES_NUMBER_FROM
            raise BatchRefused(stored, outcome, describe(outcome), number_used=used)
        results = event_results(stored.batch, told)
        with self._waiting.lock:
            del self._sent[told.batch_id]
            self._waiting.batches.notify_all()
        self._acknowledged(stored, results)

    def _sent_as(self, batch_id: bytes) -> _Sent:
        with self._waiting.lock:
            if batch_id == ZERO_HASH and self._sent:  # what a node cannot read has no id for it
                return next(iter(self._sent.values()))
            sent = self._sent.get(batch_id)
        if sent is None:
            raise MalformedError(
                f"{self._node.name} answers about {batch_id.hex()[:64]}, which it was not sent"
            )
        return sent


def _within(found: list[StoredBatch], size_max: int) -> list[StoredBatch]:
    """Return as many as fit into a message; the first one always does."""
    size = 0
    for count, each in enumerate(found):
        size += len(each.batch.raw)
        if count and size > size_max:
            return found[:count]
    return found
