"""Many sources in one asyncio program: each waits for its own events, all share their batches.

LOTMARK_CLIENT=.../client.toml python many_events.py 8 25
"""

import asyncio
import sys
from datetime import UTC, datetime

from lotmark.client import Client, item, new_event
from lotmark.v1.event_pb2 import CAPTURE_MODE_SENSOR_DIRECT
from lotmark.v1.quality_pb2 import VERDICT_CONFORMING, Measurement


async def station(client: Client, number: int, event_count: int) -> int:
    """Submit what one station measures, and return the newest entry's index."""
    newest_index = 0
    for at in range(event_count):
        event = new_event(
            Measurement(
                feature=f"weld_{at}.current", value="14.2", unit="kA", verdict=VERDICT_CONFORMING
            ),
            device=f"station-{number}",
            capture=CAPTURE_MODE_SENSOR_DIRECT,
            time=datetime.now(UTC),
            uncertainty_us=5_000,
            items=[item(f"ST-{number}-{at}")],
        )
        delivery = await client.submit_async(event)  # returns when it is on disk
        result = await delivery  # and this when it is on the ledger
        newest_index = result.index or newest_index
    return newest_index


async def main(station_count: int, event_count: int) -> None:
    """Let all stations work at the same time."""
    with Client.open() as client:
        newest = await asyncio.gather(
            *(station(client, number, event_count) for number in range(station_count))
        )
    print(f"{station_count * event_count} events are on the ledger, up to entry {max(newest)}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
