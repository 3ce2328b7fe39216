"""A load of signed batches, made beforehand, and a client that sends them as fast as it may."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import grpc.aio

from lotmark.batch import sign_batch
from lotmark.client.connection import channel_arguments
from lotmark.client.settings import ClientSettings
from lotmark.key_file import read_key_file
from lotmark.v1 import event_pb2, ledger_pb2, ledger_pb2_grpc, quality_pb2

LANES = 4
EVENTS_PER_UNIT = 4  # a new unit every four events, so that the item table grows as it does in use


def measurement(number: int) -> bytes:
    """Return an event of about 350 bytes: a weld's current, its unit, welder and raw file."""
    event = event_pb2.Event(
        nonce=os.urandom(16),
        device="W07",
        capture_mode=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
        items=[
            event_pb2.ItemReference(
                id=f"https://id.gs1.org/01/04012345000023/21/ST2601{number // EVENTS_PER_UNIT:09d}",
                role=event_pb2.ITEM_ROLE_SUBJECT,
            ),
            event_pb2.ItemReference(
                id="https://id.gs1.org/8004/040123450000W07", role=event_pb2.ITEM_ROLE_USED
            ),
        ],
        files=[
            event_pb2.FileDigest(
                sha256=os.urandom(32),
                size=120_000,
                salt=os.urandom(16),
                media_type="application/octet-stream",
                name=f"weld-{number:09d}.bin",
            )
        ],
        measurement=quality_pb2.Measurement(
            feature=f"weld_{number % 192 + 1}.current_rms",
            value=f"{11_900 + number % 700}.5",
            unit="A",
            uncertainty="45.0",
            lower_limit="11800.0",
            upper_limit="13200.0",
            verdict=quality_pb2.VERDICT_CONFORMING,
            method="W07/program-12.3",
        ),
    )
    event.time.start_ms = event.time.end_ms = time.time_ns() // 1_000_000
    event.time.uncertainty_us = 2_000
    return event.SerializeToString(deterministic=True)


@dataclass(slots=True)
class Load:
    """Signs batches of one client, lane by lane in turn."""

    settings: ClientSettings
    sequences: list[int] = field(default_factory=lambda: [0] * LANES)
    previous: list[bytes] = field(default_factory=lambda: [bytes(32)] * LANES)
    made_count: int = 0
    signing_ns: int = 0

    def batches(self, event_count: int, *, batch_size: int) -> list[bytes]:
        """Return signed batches with so many events in all."""
        key = read_key_file(self.settings.batch_key)
        made: list[bytes] = []
        for _ in range(event_count // batch_size):
            events = [measurement(self.made_count + at) for at in range(batch_size)]
            self.made_count += batch_size
            lane = len(made) % LANES
            self.sequences[lane] += 1
            start_ns = time.process_time_ns()
            batch = sign_batch(
                key,
                events,
                chain_id=self.settings.chain_id,
                party=self.settings.party,
                lane=lane,
                sequence=self.sequences[lane],
                previous=self.previous[lane],
                created_at_ms=time.time_ns() // 1_000_000,
            )
            self.signing_ns += time.process_time_ns() - start_ns
            self.previous[lane] = batch.batch_id
            made.append(batch.raw)
        return made


@dataclass(slots=True)
class Sent:
    """How a load went."""

    events: int
    seconds: float
    latencies_ms: list[float]
    client_processor_ns: int


async def send(
    settings: ClientSettings,
    batches: list[bytes],
    *,
    batch_size: int,
    batches_per_message: int,
    messages_in_flight: int,
    seconds: float,
    progress: Callable[[int], None],
) -> Sent:
    """Send batches until the time is up or none is left, and wait for every acknowledgement.

    Raises:
        RuntimeError: A batch or an event was refused.
    """
    target, credentials, options = channel_arguments(settings)
    window = asyncio.Semaphore(messages_in_flight)
    sent_at: list[float] = []
    latencies_ms: list[float] = []
    acknowledged = 0

    async def read(call: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]  # generic in the stubs only
        nonlocal acknowledged
        async for response in call:
            now = time.perf_counter()
            for answer in response.answers:
                _check(answer)
                if answer.HasField("acknowledgement"):
                    acknowledged += 1
                    if acknowledged % batches_per_message == 0:
                        at = acknowledged // batches_per_message - 1
                        latencies_ms.append((now - sent_at[at]) * 1_000)
                        window.release()
            progress(acknowledged * batch_size)

    async with grpc.aio.secure_channel(target, credentials, options=options) as channel:
        call = ledger_pb2_grpc.LedgerServiceStub(channel).SubmitStream()
        reading = asyncio.create_task(read(call))
        start, start_ns = time.perf_counter(), time.process_time_ns()
        for message in _messages(batches, batches_per_message):
            if time.perf_counter() - start > seconds:
                break
            await window.acquire()
            sent_at.append(time.perf_counter())
            await call.write(message)
        await call.done_writing()
        await reading
        return Sent(
            events=acknowledged * batch_size,
            seconds=time.perf_counter() - start,
            latencies_ms=latencies_ms,
            client_processor_ns=time.process_time_ns() - start_ns,
        )


def _messages(batches: list[bytes], count: int) -> Iterator[ledger_pb2.SubmitRequest]:
    for at in range(0, len(batches) - count + 1, count):
        yield ledger_pb2.SubmitRequest(batches=batches[at : at + count])


def _check(answer: ledger_pb2.SubmitAnswer) -> None:
    admission, acknowledgement = answer.admission, answer.acknowledgement
    if admission.reason:
        raise RuntimeError(f"the load was refused: {admission.detail}")
    if acknowledgement.outcome or acknowledgement.event_outcomes:
        raise RuntimeError(f"the load was refused at entry {acknowledgement.batch_index}")
