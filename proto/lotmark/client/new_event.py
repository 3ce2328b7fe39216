"""Events made by typed constructors that refuse what the ledger would refuse.

    event = new_event(
        Measurement(feature="bore_1.diameter", value="7.998", unit="mm",
                    verdict=VERDICT_CONFORMING),
        device="gauge-3",
        capture=CAPTURE_MODE_SENSOR_DIRECT,
        time=datetime.now(UTC),
        uncertainty_us=2_000,
        items=[item("https://id.gs1.org/01/04012345000023/21/ST2601120001234")],
    )

The bodies are the generated classes of `quality.proto` and `operators.proto`, so a type checker
knows every field, and `ContractEvent`, whose fields `lotmark.rule_value.record_of` makes. The
rules are those that nodes apply, so nothing here can differ from them.
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from lotmark.event import NONCE_SIZE, check_event
from lotmark.v1 import contracts_pb2, event_pb2, operators_pb2, quality_pb2

EventBody: TypeAlias = (
    quality_pb2.LotCreated
    | quality_pb2.MaterialReceipt
    | quality_pb2.IncomingInspection
    | quality_pb2.Measurement
    | quality_pb2.ObservationWindow
    | quality_pb2.Transformation
    | quality_pb2.Aggregation
    | quality_pb2.Association
    | quality_pb2.InferenceResult
    | quality_pb2.ReviewVerdict
    | quality_pb2.ReportSeal
    | quality_pb2.Calibration
    | quality_pb2.Maintenance
    | quality_pb2.Gap
    | quality_pb2.ClockQuality
    | quality_pb2.ModelRegistered
    | quality_pb2.ModelPromoted
    | quality_pb2.ModelRolledBack
    | quality_pb2.Correction
    | quality_pb2.Shipment
    | quality_pb2.EpcisDocument
    | quality_pb2.Claim
    | quality_pb2.ClaimStatement
    | quality_pb2.PartAnalysis
    | quality_pb2.ClaimDecision
    | quality_pb2.ItemIdentified
    | quality_pb2.SiteSession
    | quality_pb2.AnchoringPolicy
    | quality_pb2.SourceRecord
    | quality_pb2.ModelAdmitted
    | quality_pb2.PolicySwitched
    | quality_pb2.RetrainTicket
    | quality_pb2.LabelCatalogue
    | quality_pb2.InferenceAudit
    | contracts_pb2.ContractEvent
    | operators_pb2.OperatorRegistration
    | operators_pb2.OperatorRevocation
    | operators_pb2.OperatorSignature
)

_FIELD_OF_BODY = {
    field.message_type: field.name
    for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def new_event(
    body: EventBody,
    *,
    device: str,
    capture: event_pb2.CaptureMode.ValueType,
    time: datetime | tuple[datetime, datetime],
    uncertainty_us: int,
    items: Iterable[event_pb2.ItemReference] = (),
    files: Iterable[event_pb2.FileDigest] = (),
    audience: Iterable[str] = (),
    nonce: bytes | None = None,
) -> bytes:
    """Return the bytes of a new event, for `Client.submit`.

    Args:
        body: What happened.
        device: The device, line or system that saw it.
        capture: How it came to be known.
        time: When it was so, by the device's clock; or when it began and ended. Zones are needed.
        uncertainty_us: How far that clock may be off.
        items: What it is about, made by `item`.
        files: Raw files that belong to it, and stay with their owner.
        audience: Parties whose API callers may read it; empty: all members.
        nonce: 16 random bytes, where the same event shall be made a second time; None: new ones,
            and so another fact.

    Raises:
        EventRefused: A rule is broken; the message names the field, the value and the rule.
        ValueError: A time has no zone, or a number is outside its field's range.
        TypeError: A value is of another type than its field.
    """
    start, end = time if isinstance(time, tuple) else (time, time)
    event = event_pb2.Event(
        nonce=os.urandom(NONCE_SIZE) if nonce is None else nonce,
        device=device,
        time=event_pb2.TimeInterval(
            start_ms=_unix_ms(start), end_ms=_unix_ms(end), uncertainty_us=uncertainty_us
        ),
        capture_mode=capture,
        items=items,
        files=files,
        audience=sorted(set(audience)),
    )
    field = _FIELD_OF_BODY.get(body.DESCRIPTOR)
    if field is None:
        raise TypeError(f"{body.DESCRIPTOR.full_name} is no body of an event")
    getattr(event, field).CopyFrom(body)
    getattr(event, field).SetInParent()  # an empty body is one, too
    raw = event.SerializeToString(deterministic=True)
    check_event(raw)
    return raw


def item(
    item_id: str,
    *,
    role: event_pb2.ItemRole.ValueType = event_pb2.ITEM_ROLE_SUBJECT,
    quantity: tuple[str, str] | None = None,
) -> event_pb2.ItemReference:
    """Return what an event is about.

    Args:
        item_id: Of a unit or a lot; a lot is named by product and lot.
        role: What it has to do with the event, where it is not its subject.
        quantity: How much of it: a decimal and its unit; None: a whole unit.
    """
    if quantity is None:
        return event_pb2.ItemReference(id=item_id, role=role)
    value, unit = quantity
    return event_pb2.ItemReference(
        id=item_id, role=role, quantity=event_pb2.Quantity(value=value, unit=unit)
    )


def _unix_ms(moment: datetime) -> int:
    if moment.utcoffset() is None:
        raise ValueError(f"time {moment.isoformat()} has no zone; give it one, such as UTC")
    return (moment - _EPOCH) // _MILLISECOND
