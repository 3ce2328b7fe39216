"""Signed batches of events such as a weld's, made before they are sent."""

import os
import time
from dataclasses import dataclass, field

from lotmark.batch import sign_batch
from lotmark.client.settings import ClientSettings
from lotmark.key_file import read_key_file
from lotmark.v1 import event_pb2, quality_pb2

LANES = 4  # of each load
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
    """Signs batches of one client and one size, lane by lane in turn.

    What was signed has to be sent in this order and whole: every batch names the one before it.
    Loads of one client need lanes of their own.
    """

    settings: ClientSettings
    batch_size: int
    first_lane: int = 0
    sequences: list[int] = field(default_factory=lambda: [0] * LANES)
    previous: list[bytes] = field(default_factory=lambda: [bytes(32)] * LANES)
    waiting: list[bytes] = field(default_factory=list)  # signed and not sent yet
    made_count: int = 0
    signing_ns: int = 0

    def ready(self, event_count: int) -> list[bytes]:
        """Return the next batches with so many events in all; what lacks is signed first."""
        batch_count = event_count // self.batch_size
        key = read_key_file(self.settings.batch_key)
        while len(self.waiting) < batch_count:
            events = [measurement(self.made_count + at) for at in range(self.batch_size)]
            at = self.made_count // self.batch_size % LANES
            self.made_count += self.batch_size
            self.sequences[at] += 1
            start_ns = time.process_time_ns()
            batch = sign_batch(
                key,
                events,
                chain_id=self.settings.chain_id,
                party=self.settings.party,
                lane=self.first_lane + at,
                sequence=self.sequences[at],
                previous=self.previous[at],
                created_at_ms=time.time_ns() // 1_000_000,
            )
            self.signing_ns += time.process_time_ns() - start_ns
            self.previous[at] = batch.batch_id
            self.waiting.append(batch.raw)
        return self.waiting[:batch_count]

    def took(self, event_count: int) -> None:
        """Forget the batches that were sent."""
        del self.waiting[: event_count // self.batch_size]
