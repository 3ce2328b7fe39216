"""A client that sends signed batches: as fast as it may, or at a rate that is offered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import grpc.aio

from lotmark.client.connection import channel_arguments
from lotmark.client.settings import ClientSettings
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc
from lotmark_node import terminal

ENDED_MAX_S = 1.0  # until a reader learns why a stream has ended
ANSWERS_MAX_S = 60.0  # for what is still unanswered when the last batch was to be sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How a load went."""

    events: int
    seconds: float
    latencies_ms: list[float]  # of each message, until its last acknowledgement
    client_processor_ns: int


@dataclass(slots=True)
class _Stream:
    """A call under way: when its messages were to be sent, and what has come back."""

    call: "grpc.aio.StreamStreamCall[ledger_pb2.SubmitRequest, ledger_pb2.SubmitResponse]"
    batches_per_message: int
    advance: Callable[[int], None]
    window: asyncio.Semaphore
    due_s: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    acknowledged: int = 0  # batches

    async def read(self) -> None:
        """Count acknowledgements until the node ends the stream; they come in sending order."""
        async for response in self.call:
            now_s, before = time.perf_counter(), self.acknowledged
            for answer in response.answers:
                _check(answer)
                if answer.HasField("acknowledgement"):
                    self._count(now_s)
            self.advance(self.acknowledged - before)

    def _count(self, now_s: float) -> None:
        self.acknowledged += 1
        if self.acknowledged % self.batches_per_message == 0:
            due_s = self.due_s[len(self.latencies_ms)]
            self.latencies_ms.append((now_s - due_s) * 1_000)
            self.window.release()


async def _submit(
    settings: ClientSettings,
    batches: list[bytes],
    write: Callable[[_Stream], Awaitable[None]],
    *,
    batch_size: int,
    batches_per_message: int = 1,
    messages_in_flight: int = 0,
    max_s: float,
) -> Sent:
    """Let `write` send over one stream, and wait for every acknowledgement."""
    target, credentials, options = channel_arguments(settings)
    with terminal.progress("Sending events", len(batches) * batch_size) as advance:
        async with (
            asyncio.timeout(max_s + ANSWERS_MAX_S),
            grpc.aio.secure_channel(target, credentials, options=options) as channel,
        ):
            await channel.channel_ready()  # the handshake is no part of the load
            stream = _Stream(
                ledger_pb2_grpc.LedgerServiceStub(channel).SubmitStream(),
                batches_per_message,
                lambda count: advance(count * batch_size),
                asyncio.Semaphore(messages_in_flight),
            )
            start_s, start_ns = time.perf_counter(), time.process_time_ns()
            await _both(stream, write)
            return Sent(
                events=stream.acknowledged * batch_size,
                seconds=time.perf_counter() - start_s,
                latencies_ms=stream.latencies_ms,
                client_processor_ns=time.process_time_ns() - start_ns,
            )


async def _both(stream: _Stream, write: Callable[[_Stream], Awaitable[None]]) -> None:
    """Write and read until all is answered; an error of either ends both.

    Where the node ended the stream, only the reader learns why: its error is the one that is told.
    """

    async def write_all() -> None:
        await write(stream)
        await stream.call.done_writing()

    writing, reading = tasks = (
        asyncio.create_task(write_all()),
        asyncio.create_task(stream.read()),
    )
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if writing in done and writing.exception() is not None:
            await asyncio.wait([reading], timeout=ENDED_MAX_S)
        for task in (reading, writing):
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()


async def send(
    settings: ClientSettings,
    batches: list[bytes],
    *,
    batch_size: int,
    batches_per_message: int,
    messages_in_flight: int,
    seconds: float,
) -> Sent:
    """Send batches until the time is up or none is left, never more unanswered than said.

    Raises:
        RuntimeError: A batch or an event was refused.
        TimeoutError: Answers did not come.
        grpc.aio.AioRpcError: The node ended the stream.
    """

    async def write(stream: _Stream) -> None:
        end_s = time.perf_counter() + seconds
        for message in _messages(batches, batches_per_message):
            await stream.window.acquire()
            now_s = time.perf_counter()
            if now_s > end_s:
                return
            stream.due_s.append(now_s)
            await stream.call.write(message)

    return await _submit(
        settings,
        batches,
        write,
        batch_size=batch_size,
        batches_per_message=batches_per_message,
        messages_in_flight=messages_in_flight,
        max_s=seconds,
    )


async def send_paced(
    settings: ClientSettings, batches: list[bytes], *, batch_size: int, events_per_s: float
) -> Sent:
    """Send each batch when it is due, whether or not the ones before it were answered.

    A latency counts from the moment at which its batch was due: a node that keeps the client
    waiting shows in the figures of all that should have been sent meanwhile.

    Raises:
        As `send`.
    """

    async def write(stream: _Stream) -> None:
        start_s = time.perf_counter()
        for at, message in enumerate(_messages(batches, 1)):
            due_s = start_s + at * batch_size / events_per_s
            if (ahead_s := due_s - time.perf_counter()) > 0:
                await asyncio.sleep(ahead_s)
            stream.due_s.append(due_s)
            await stream.call.write(message)

    max_s = len(batches) * batch_size / events_per_s
    return await _submit(settings, batches, write, batch_size=batch_size, max_s=max_s)


def _messages(batches: list[bytes], count: int) -> Iterator[ledger_pb2.SubmitRequest]:
    for at in range(0, len(batches) - count + 1, count):
        yield ledger_pb2.SubmitRequest(batches=batches[at : at + count])


def _check(answer: ledger_pb2.SubmitAnswer) -> None:
    admission, acknowledgement = answer.admission, answer.acknowledgement
    if admission.reason:
        raise RuntimeError(f"the load was refused: {admission.detail}")
    if acknowledgement.outcome or acknowledgement.event_outcomes:
        raise RuntimeError(f"the load was refused at entry {acknowledgement.batch_index}")
