"""Real documents of the EPCIS standard go on the ledger as they are, where they are at hand."""

import hashlib
import time
from pathlib import Path

from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.epcis import read_epcis, to_event
from lotmark_adapters.errors import EpcisError
from lotmark_node.story.stage import Stage
from lotmark_node.story.trial_ledger import random_nonce

TITLE = "EPCIS"
EXAMPLES = Path("data/gs1-epcis/JSON")
CLIENT = "OEM-A/erp"

_UNCERTAINTY_US = 1_000_000


def run(stage: Stage) -> str:
    """Read the examples and put each on record; one that cannot be read, by its digest alone."""
    folder = stage.shared / EXAMPLES
    paths = sorted(folder.rglob("*.jsonld"))
    if not paths:
        return f"left out: GS1's example documents are not at {folder}"
    events: list[event_pb2.Event] = []
    unread: list[str] = []
    for path in paths:
        raw = path.read_bytes()
        try:
            draft = read_epcis(raw, name=path.relative_to(folder).as_posix())
        except EpcisError as error:
            unread.append(str(error))
            events.append(_by_digest(raw))
            continue
        events.append(
            to_event(
                draft,
                random_nonce,
                device="erp",
                capture_mode=event_pb2.CAPTURE_MODE_HISTORICAL,
                uncertainty_us=_UNCERTAINTY_US,
            )
        )
    telling = stage.ledger.tell("epcis", CLIENT, events)
    item_count = len({item.id for event in events for item in event.items})
    event_count = sum(event.epcis_document.event_count for event in events)
    lines = [f"{len(paths)} GS1 documents, {event_count} events, {item_count} items: {telling}"]
    lines += [f"by its digest alone, as it cannot be read: {reason}" for reason in unread]
    return "\n".join(lines)


def _by_digest(raw: bytes) -> event_pb2.Event:
    """Return an event that proves a document to have existed now, whatever it says."""
    now_ms = time.time_ns() // 1_000_000
    return event_pb2.Event(
        nonce=random_nonce(),
        device="erp",
        time=event_pb2.TimeInterval(start_ms=now_ms, end_ms=now_ms, uncertainty_us=_UNCERTAINTY_US),
        capture_mode=event_pb2.CAPTURE_MODE_HISTORICAL,
        epcis_document=quality_pb2.EpcisDocument(document_digest=hashlib.sha256(raw).digest()),
    )
