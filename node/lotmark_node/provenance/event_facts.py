"""What the index keeps of an event beside the links between items: facts, digests, disposition.

All of it stands in rows whose texts a line break or tab ends. Fields of our own are identifiers,
which have neither; of an EPCIS document, which nobody checked, only what is an identifier is taken.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from lotmark.event_links import single_epcis_event
from lotmark.item_name import ITEM_ID_SIZE_MAX
from lotmark.text import IDENTIFIER_CHARACTER
from lotmark.v1 import event_pb2, provenance_pb2, quality_pb2

TERM_SIZE_MAX = 64
DESTINATIONS_MAX = 8  # of one EPCIS event; CBV knows three types of them

_TERM = re.compile(f"{IDENTIFIER_CHARACTER}{{1,{TERM_SIZE_MAX}}}")
_DESTINATION = re.compile(f"{IDENTIFIER_CHARACTER}{{1,{ITEM_ID_SIZE_MAX}}}")
_MEASURED = provenance_pb2.EDGE_KIND_MEASURED
_CALIBRATED = provenance_pb2.EDGE_KIND_CALIBRATED
_INFERRED = provenance_pb2.EDGE_KIND_INFERRED
_REPORTED = provenance_pb2.EDGE_KIND_REPORTED
_SHIPPED = provenance_pb2.EDGE_KIND_SHIPPED
_CLAIMED = provenance_pb2.EDGE_KIND_CLAIMED
_RECEIVED = provenance_pb2.EDGE_KIND_RECEIVED


class EventFacts(NamedTuple):
    """What one event says."""

    facts: Sequence[tuple[int, str]] = ()  # of its subjects: kind of edge, target
    nonconforming: int = 0  # 1: its verdict is bad
    disposition: str = ""
    model: str = ""
    digests: Sequence[bytes] = ()
    epcis_hashes: Sequence[bytes] = ()


Teller = Callable[[Any, event_pb2.Event, str], EventFacts]  # of body, event, signing party


def _judged(verdict: int) -> tuple[int, str]:
    """Return what a verdict counts as, and as which disposition."""
    if verdict == quality_pb2.VERDICT_CONFORMING:
        return 0, "conformant"
    if verdict == quality_pb2.VERDICT_NONCONFORMING:
        return 1, "non_conformant"
    return 0, ""


def _receipt(_body: Any, _event: event_pb2.Event, party: str) -> EventFacts:
    return EventFacts([(_RECEIVED, f"party:{party}")])


def _inspection(body: Any, _event: event_pb2.Event, party: str) -> EventFacts:
    return EventFacts([(_RECEIVED, f"party:{party}")], *_judged(body.verdict))


def _measurement(body: Any, event: event_pb2.Event, _party: str) -> EventFacts:
    return EventFacts([(_MEASURED, f"device:{event.device}")], *_judged(body.verdict))


def _window(body: Any, event: event_pb2.Event, _party: str) -> EventFacts:
    return EventFacts([(_MEASURED, f"device:{event.device}")], digests=[body.root])


def _record(body: Any, event: event_pb2.Event, _party: str) -> EventFacts:
    return EventFacts([(_MEASURED, f"device:{event.device}")], *_judged(body.verdict))


def _inference(body: Any, _event: event_pb2.Event, _party: str) -> EventFacts:
    model = body.model
    return EventFacts([(_INFERRED, f"model:{model}")], *_judged(body.verdict), model)


def _model(body: Any, _event: event_pb2.Event, _party: str) -> EventFacts:
    return EventFacts(model=body.model)


def _registered(body: Any, _event: event_pb2.Event, _party: str) -> EventFacts:
    return EventFacts(model=body.model, digests=[body.weights_digest, body.manifest_digest])


def _admitted(body: Any, _event: event_pb2.Event, _party: str) -> EventFacts:
    return EventFacts(model=body.model, digests=[body.engine_digest, body.report_digest])


def _verdict(body: Any, _event: event_pb2.Event, _party: str) -> EventFacts:
    return EventFacts((), *_judged(body.verdict))


def _seal(body: Any, _event: event_pb2.Event, _party: str) -> EventFacts:
    digest = body.report_digest
    fact = _REPORTED, f"report:{digest.hex()}"
    return EventFacts([fact], *_judged(body.verdict), digests=[digest])


def _calibration(body: Any, _event: event_pb2.Event, _party: str) -> EventFacts:
    fact = _CALIBRATED, f"certificate:{body.certificate}"
    return EventFacts([fact], *_judged(body.as_left), digests=[body.certificate_digest])


def _shipment(body: Any, _event: event_pb2.Event, _party: str) -> EventFacts:
    return EventFacts([(_SHIPPED, f"party:{body.receiver}")])


def _claim(body: Any, _event: event_pb2.Event, _party: str) -> EventFacts:
    return EventFacts([(_CLAIMED, f"claim:{body.claim}")], digests=[body.document_digest])


def _analysis(body: Any, _event: event_pb2.Event, _party: str) -> EventFacts:
    return EventFacts([(_CLAIMED, f"claim:{body.claim}")])


def _epcis(body: Any, event: event_pb2.Event, party: str) -> EventFacts:
    stated = single_epcis_event(body)
    facts: list[tuple[int, str]] = []
    if stated.get("sensorElementList"):
        facts.append((_MEASURED, f"device:{event.device}"))
    match _bare(stated.get("bizStep")):
        case "shipping":
            facts += [(_SHIPPED, f"party:{receiver}") for receiver in _destinations(stated)]
        case "receiving" | "accepting":
            facts.append((_RECEIVED, f"party:{party}"))
    disposition = _bare(stated.get("disposition"))
    return EventFacts(
        facts,
        int(disposition == "non_conformant"),
        disposition,
        digests=[body.document_digest],
        epcis_hashes=body.event_hashes,
    )


def _destinations(stated: dict[str, Any]) -> Iterator[str]:
    listed = stated.get("destinationList")
    for each in listed[:DESTINATIONS_MAX] if isinstance(listed, list) else ():
        named = each.get("destination") if isinstance(each, dict) else None
        if isinstance(named, str) and _DESTINATION.fullmatch(named):
            yield named


def _bare(term: object) -> str:
    """Return a term of the CBV without the URN or web address around it; "" where it is none."""
    if not isinstance(term, str):
        return ""
    last = term.rpartition(":")[2].rpartition("/")[2]
    bare = last.removeprefix("Disp-").removeprefix("BizStep-")
    return bare if _TERM.fullmatch(bare) else ""


# By body; the others say nothing that is kept beside items, device, time and links.
TELLERS: dict[str, Teller] = {
    "material_receipt": _receipt,
    "incoming_inspection": _inspection,
    "measurement": _measurement,
    "observation_window": _window,
    "inference_result": _inference,
    "review_verdict": _verdict,
    "report_seal": _seal,
    "calibration": _calibration,
    "shipment": _shipment,
    "claim": _claim,
    "part_analysis": _analysis,
    "model_registered": _registered,
    "model_promoted": _model,
    "model_rolled_back": _model,
    "model_admitted": _admitted,
    "retrain_ticket": _model,
    "epcis_document": _epcis,
    "source_record": _record,
}
