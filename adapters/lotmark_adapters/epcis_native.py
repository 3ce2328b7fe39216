"""How each type of event of the ledger looks in EPCIS: its type, step, disposition and partners.

A view has the standard members alone. Everything the event says stands in the extension beside
it, so a view may leave out what EPCIS has no member for.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from lotmark.canonical_json import ForeignJson
from lotmark.rfc3339 import text_of_ms
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.epcis_numbers import json_number
from lotmark_adapters.epcis_uris import digest_uri, uri_of
from lotmark_adapters.epcis_vocabulary import BUSINESS_STEP

View: TypeAlias = dict[str, ForeignJson]

_DISPOSITIONS = {
    quality_pb2.VERDICT_CONFORMING: "conformant",
    quality_pb2.VERDICT_NONCONFORMING: "non_conformant",
}
_ACTIONS = {
    quality_pb2.RELATION_ACTION_ADD: "ADD",
    quality_pb2.RELATION_ACTION_DELETE: "DELETE",
    quality_pb2.RELATION_ACTION_OBSERVE: "OBSERVE",
}


def _observed(step: str, verdict: int = 0) -> View:
    view: View = {"type": "ObjectEvent", "action": "OBSERVE", "bizStep": step}
    if verdict in _DISPOSITIONS:
        view["disposition"] = _DISPOSITIONS[quality_pb2.Verdict.ValueType(verdict)]
    return view


def _step(process: str) -> str:
    return process if process in BUSINESS_STEP.names else uri_of("step", process)


def _transaction(kind: str, *names: str) -> ForeignJson:
    return [{"type": kind, "bizTransaction": uri_of("document", *names)}]


def _report(kind: str, value: str, unit: str) -> dict[str, ForeignJson]:
    """Return a sensor report; a value beyond a JSON number's digits is a string."""
    report: dict[str, ForeignJson] = {"type": f"lotmark:{kind}"}
    number = json_number(value)
    if number is not None:
        report["value"] = number
    else:
        report["stringValue"] = value
    if unit:
        report["uom"] = unit
    return report


def _lot_created(body: Any, _event: event_pb2.Event) -> View:
    return {
        "type": "ObjectEvent",
        "action": "ADD",
        "bizStep": "creating_class_instance",
        "disposition": "active",
        "ilmd": {
            "lotmark:product": body.product,
            "lotmark:quantity": body.quantity,
            "lotmark:unit": body.unit,
        },
    }


def _material_receipt(body: Any, _event: event_pb2.Event) -> View:
    view = _observed("receiving")
    view["disposition"] = "in_progress"
    view["sourceList"] = [{"type": "owning_party", "source": uri_of("party", body.supplier)}]
    if body.delivery_note:
        view["bizTransactionList"] = _transaction("desadv", body.supplier, body.delivery_note)
    return view


def _measurement(body: Any, event: event_pb2.Event) -> View:
    view = _observed("inspecting", body.verdict)
    report = _report("Measurement", body.value, body.unit)
    report["lotmark:feature"] = body.feature
    view["sensorElementList"] = [_element(event, report)]
    return view


def _observation_window(body: Any, event: event_pb2.Event) -> View:
    view = _observed("sensor_reporting")
    report: dict[str, ForeignJson] = {"type": "lotmark:ObservationWindow"}
    low, high = json_number(body.minimum), json_number(body.maximum)
    if low is not None and high is not None and low <= high:
        report |= {"minValue": low, "maxValue": high}
    if body.unit:
        report["uom"] = body.unit
    view["sensorElementList"] = [_element(event, report)]
    return view


def _clock_quality(body: Any, event: event_pb2.Event) -> View:
    view = _observed("sensor_reporting")
    report = _report("ClockOffset", str(body.offset_us), "B98")  # microseconds
    if not body.synchronised:
        report["exception"] = "ALARM_CONDITION"
    view["sensorElementList"] = [_element(event, report)]
    return view


def _element(event: event_pb2.Event, report: ForeignJson) -> ForeignJson:
    metadata: dict[str, ForeignJson] = {
        "startTime": text_of_ms(event.time.start_ms),
        "endTime": text_of_ms(event.time.end_ms),
        "deviceID": uri_of("device", event.device),
    }
    if event.files and not event.files[0].salt:
        metadata["rawData"] = digest_uri(event.files[0].sha256)
    return {"sensorMetadata": metadata, "sensorReport": [report]}


def _transformation(body: Any, _event: event_pb2.Event) -> View:
    return {"type": "TransformationEvent", "bizStep": _step(body.process)}


def _aggregation(body: Any, _event: event_pb2.Event) -> View:
    return _relation("AggregationEvent", body)


def _association(body: Any, _event: event_pb2.Event) -> View:
    return _relation("AssociationEvent", body)


def _relation(event_type: str, body: Any) -> View:
    view: View = {"type": event_type, "action": _ACTIONS[body.action]}
    if body.process:
        view["bizStep"] = _step(body.process)
    return view


def _report_seal(body: Any, _event: event_pb2.Event) -> View:
    return {
        **_observed("inspecting", body.verdict),
        "type": "TransactionEvent",
        "action": "ADD",
        "bizTransactionList": _transaction("testres", body.laboratory, body.report),
    }


def _calibration(body: Any, _event: event_pb2.Event) -> View:
    return {
        **_observed("inspecting", body.as_left),
        "certificationInfo": digest_uri(body.certificate_digest),
    }


def _source_record(body: Any, _event: event_pb2.Event) -> View:
    return _observed("inspecting", body.verdict) if body.verdict else _observed("sensor_reporting")


def _shipment(body: Any, _event: event_pb2.Event) -> View:
    view = _observed("shipping")
    view["disposition"] = "in_transit"
    view["destinationList"] = [
        {"type": "owning_party", "destination": uri_of("party", body.receiver)}
    ]
    if body.despatch_advice:
        view["bizTransactionList"] = _transaction("desadv", body.despatch_advice)
    return view


def _claim(body: Any, _event: event_pb2.Event) -> View:
    return {
        "type": "TransactionEvent",
        "action": "ADD",
        "bizTransactionList": _transaction("rma", body.claim),
    }


def _judged(step: str) -> Callable[[Any, event_pb2.Event], View]:
    return lambda body, _event: _observed(step, body.verdict)


def _seen(step: str) -> Callable[[Any, event_pb2.Event], View]:
    return lambda _body, _event: _observed(step)


# Body name -> its view. What is not here has no form in EPCIS: models, statements on claims,
# governance.
VIEWS: dict[str, Callable[[Any, event_pb2.Event], View]] = {
    "lot_created": _lot_created,
    "material_receipt": _material_receipt,
    "incoming_inspection": _judged("accepting"),
    "measurement": _measurement,
    "observation_window": _observation_window,
    "transformation": _transformation,
    "aggregation": _aggregation,
    "association": _association,
    "inference_result": _judged("inspecting"),
    "review_verdict": _judged("inspecting"),
    "report_seal": _report_seal,
    "calibration": _calibration,
    "maintenance": _seen("repairing"),
    "gap": _seen("sensor_reporting"),
    "clock_quality": _clock_quality,
    "correction": _seen("other"),
    "shipment": _shipment,
    "claim": _claim,
    "item_identified": _seen("encoding"),
    "source_record": _source_record,
}
