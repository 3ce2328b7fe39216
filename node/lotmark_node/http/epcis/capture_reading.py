"""From a document that somebody sends to events for the ledger, each sound or refused by itself."""

import hashlib
import json
import os
from collections.abc import Sequence

from lotmark.canonical_json import load_foreign
from lotmark.event import NONCE_SIZE
from lotmark.v1 import event_pb2
from lotmark_adapters.epcis import CapturedEvent, read_capture, to_event
from lotmark_adapters.epcis_document import EpcisEvent
from lotmark_adapters.errors import EpcisError
from lotmark_node.http.epcis.capture_jobs import RefusedEvent, SoundEvent
from lotmark_node.http.epcis.exceptions import CAPTURE_EVENTS_MAX, VALIDATION
from lotmark_node.http.errors import CaptureLimitExceeded, ValidationRefused

CAPTURE_MODES = {
    "sensor_direct": event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
    "manual": event_pb2.CAPTURE_MODE_MANUAL,
    "historical": event_pb2.CAPTURE_MODE_HISTORICAL,
}
# How far the clocks behind event times may be off is not said in EPCIS: as little is claimed.
UNCERTAINTY_US = 60_000_000


def read_events(
    raw: bytes, media_type: str, *, device: str, capture_mode: str, now_ms: int
) -> list[SoundEvent | RefusedEvent]:
    """Return the events of a document, in its order.

    Args:
        raw: The document, JSON-LD or XML.
        media_type: Which of the two.
        device: System that the ledger's events name as theirs.
        capture_mode: How the facts came to be known, one of `CAPTURE_MODES`.
        now_ms: The time now, Unix time in ms.

    Raises:
        ValidationRefused: It is no document with events, or no such mode is known.
        CaptureLimitExceeded: It has too many events.
    """
    mode = CAPTURE_MODES.get(capture_mode)
    if mode is None:
        raise ValidationRefused(
            f"Lotmark-Capture-Mode: {capture_mode[:40]!a} is none of {', '.join(CAPTURE_MODES)}"
        )
    try:
        found = read_capture(raw, media_type, now_ms=now_ms).events
    except EpcisError as error:
        raise ValidationRefused(str(error)) from error
    if len(found) > CAPTURE_EVENTS_MAX:
        raise CaptureLimitExceeded(
            f"the document has {len(found)} events; at most {CAPTURE_EVENTS_MAX} are captured at"
            " once: send it in parts"
        )
    return [
        _sound(each, device, mode)
        if isinstance(each, CapturedEvent)
        else RefusedEvent(problem=VALIDATION, detail=each.reason)
        for each in found
    ]


def _sound(
    captured: CapturedEvent, device: str, mode: event_pb2.CaptureMode.ValueType
) -> SoundEvent | RefusedEvent:
    try:
        event = to_event(
            captured.draft,
            lambda: os.urandom(NONCE_SIZE),
            device=device,
            capture_mode=mode,
            uncertainty_us=UNCERTAINTY_US,
        )
    except EpcisError as error:
        return RefusedEvent(problem=VALIDATION, detail=f"{captured.place}: {error}")
    declared = load_foreign(captured.draft.document, size_max=len(captured.draft.document))
    assert isinstance(declared, dict), "an event is an object"
    return SoundEvent(
        raw=event.SerializeToString(deterministic=True),
        event_hash=captured.event_hash,
        twin=_twin(captured.event_hash, declared.get("errorDeclaration")),
    )


def twins(events: Sequence[EpcisEvent]) -> list[bytes]:
    """Return what tells of each event whether another one is the same."""
    return [_twin(each.hash, each.members.get("errorDeclaration")) for each in events]


def _twin(event_hash: bytes, error_declaration: object) -> bytes:
    """Return a digest that two events share that are the same.

    The hash of CBV 2.0 leaves out whether an event is declared to be in error; but the declaration
    is another event than the one it is about.
    """
    said = json.dumps(error_declaration, sort_keys=True).encode()
    return hashlib.sha256(event_hash + said).digest()
