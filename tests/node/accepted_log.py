"""Events as a session gives those that a ledger has accepted."""

from lotmark.client.ledger_records import LedgerEntry
from lotmark.entry import EntryHead, EntryKind, event_payload, leaf_data
from lotmark.merkle import leaf_hash
from lotmark.v1 import event_pb2
from lotmark_inference.f1_window import HOUR_MS
from lotmark_node.inference_ledger import AcceptedEvent

MODEL, STATION = "weld-light/3", "aoi-cam07"


class AcceptedLog:
    """Events that a ledger has accepted, as a session gives them."""

    def __init__(self) -> None:
        self.events: list[AcceptedEvent] = []

    def add(self, hour: int, **body: object) -> bytes:
        event = event_pb2.Event(device=STATION, **body)  # type: ignore[arg-type]  # one body
        event.nonce = len(self.events).to_bytes(16)
        return self.put(hour, event)

    def put(self, hour: int, event: event_pb2.Event) -> bytes:
        """Add an event as it is."""
        raw = event.SerializeToString(deterministic=True)
        head = EntryHead(
            kind=EntryKind.EVENT, index=len(self.events), height=1, time_ms=hour * HOUR_MS
        )
        payload = event_payload(0, 0, leaf_hash(raw))
        entry = LedgerEntry(
            head=head,
            payload=payload,
            leaf_data=leaf_data(head, payload),
            event=raw,
            withheld=False,
        )
        self.events.append(AcceptedEvent(entry, event))
        return leaf_hash(raw)
