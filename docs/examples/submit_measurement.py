"""Put one measurement on the ledger, and keep its receipt.

LOTMARK_CLIENT=.../client.toml python submit_measurement.py 7.998
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

from lotmark.client import Client, EventRefused, SubmissionRefused, item, new_event
from lotmark.v1.event_pb2 import CAPTURE_MODE_SENSOR_DIRECT
from lotmark.v1.quality_pb2 import VERDICT_CONFORMING, VERDICT_NONCONFORMING, Measurement

STATOR = "https://id.gs1.org/01/04012345000023/21/ST2601120001234"


def main(value: str) -> None:
    """Submit the value that a gauge has shown."""
    conforming = 7.99 <= float(value) <= 8.01
    try:
        event = new_event(
            Measurement(
                feature="bore_1.diameter",
                value=value,  # a decimal, as the gauge showed it
                unit="mm",
                lower_limit="7.990",
                upper_limit="8.010",
                verdict=VERDICT_CONFORMING if conforming else VERDICT_NONCONFORMING,
            ),
            device="gauge-3",
            capture=CAPTURE_MODE_SENSOR_DIRECT,
            time=datetime.now(UTC),
            uncertainty_us=50_000,  # how far the gauge's clock may be off
            items=[item(STATOR)],
        )
    except EventRefused as error:  # a rule of the ledger, checked before anything is sent
        raise SystemExit(f"not submitted: {error}") from error
    with Client.open() as client:
        delivery = client.submit(event)  # on disk when this returns: it cannot be lost any more
        try:
            result = delivery.result(timeout_s=30)
        except SubmissionRefused as error:
            raise SystemExit(f"refused: {error}") from error
        receipt = Path(f"entry-{result.index}.receipt")
        receipt.write_bytes(delivery.receipt().result(timeout_s=30))
    print(f"entry {result.index} at height {result.height}, receipt in {receipt}")


if __name__ == "__main__":
    main(sys.argv[1])
