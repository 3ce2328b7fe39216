"""The trace of the story's stator back to its wire, as a node would tell it, made by hand."""

from typing import Any

from lotmark.client.provenance_records import (
    Amount,
    AnswerHead,
    EdgeKind,
    Trace,
    TraceEdge,
    TraceNode,
)
from lotmark.merkle import leaf_hash
from lotmark.rfc3339 import parse_ms
from lotmark.v1 import event_pb2
from lotmark_node.provenance_text.facts import Fact, TraceFacts
from lotmark_node.story.load import load_document
from lotmark_node.story.welds import STATOR, WELDER, review_verdict, weld_inspections

WIRE = "https://id.gs1.org/01/04012345000016/10/CU-20251223-07"
LAMINATIONS = "https://id.gs1.org/01/04012345000030/10/LAM-20260107-2"
GAUGE = "https://id.gs1.org/8004/4012345W07-CURRENT"
HEAD = AnswerHead(item=STATOR, height=412, size=900, time_ms=parse_ms("2026-01-14T16:00:00Z"))
MADE_MS = parse_ms("2026-01-12T08:00:00.123Z")
JUDGED_MS = parse_ms("2026-01-12T08:06:01Z")
WELDS_FROM = 30  # entry of the first weld


def nonce() -> bytes:
    return bytes(16)


def fact(index: int, event: event_pb2.Event, party: str) -> Fact:
    raw = event.SerializeToString(deterministic=True)
    return Fact(index=index, event_id=leaf_hash(raw), event=event, party=party)


def document(index: int, name: str, party: str, at: int = 0) -> Fact:
    return fact(index, load_document(name, nonce)[at], party)


def edge(near: int, far: int, kind: EdgeKind, entry: int, party: str, **other: Any) -> TraceEdge:
    fields: dict[str, Any] = {
        "last_entry": entry,
        "at_ms": MADE_MS,
        "ended": False,
        "event_count": 1,
        "nonconforming_count": 0,
        "amount": None,
        **other,
    }
    return TraceEdge(near=near, far=far, kind=kind, entry=entry, party=party, **fields)


def told_story() -> tuple[Trace, TraceFacts]:
    """Return the trace and what its events say."""
    digest = load_document("resistivity", nonce)[1].report_seal.report_digest
    names = [
        (STATOR, 0), (WIRE, 1), (LAMINATIONS, 1), (WELDER, 1), ("model:weld-light/3", 1),
        ("model:weld-heavy/2", 1), (f"report:{digest.hex()}", 2), ("device:lims", 2),
        ("party:T1-STATOR", 2), (GAUGE, 2), ("certificate:DCC-88-12", 3),
        *((f"MAGNET-{number}", 1) for number in range(1, 13)),
    ]  # fmt: skip
    nodes = [TraceNode(number, *name) for number, name in enumerate(names)]
    trace = Trace(head=HEAD, nodes=nodes, edges=_edges(), resume=b"", cut_short="")
    return trace, _facts()


def _edges() -> list[TraceEdge]:
    judged = {"at_ms": JUDGED_MS}
    lab = {"at_ms": parse_ms("2025-12-23T09:14:07.312Z")}
    consumed, used, inferred = EdgeKind.CONSUMED, EdgeKind.USED, EdgeKind.INFERRED
    kilograms = Amount(value="1.84", unit="KGM")
    one = Amount(value="1", unit="H87")
    return [
        edge(0, 1, consumed, 27, "T1-STATOR", amount=kilograms),
        edge(0, 2, consumed, 27, "T1-STATOR", amount=one),
        edge(0, 3, used, 27, "T1-STATOR", last_entry=222, event_count=194),
        edge(0, 4, inferred, WELDS_FROM, "T1-STATOR", last_entry=222, event_count=192,
             nonconforming_count=1, **judged),
        edge(0, 5, inferred, 167, "T1-STATOR", nonconforming_count=1, **judged),
        *(edge(0, 10 + at, EdgeKind.MOUNTED, 300 + at, "OEM-A") for at in range(1, 13)),
        edge(1, 6, EdgeKind.REPORTED, 10, "LAB-17025", **lab),
        edge(1, 7, EdgeKind.MEASURED, 9, "LAB-17025", **lab),
        edge(1, 8, EdgeKind.RECEIVED, 18, "T1-STATOR", at_ms=parse_ms("2026-01-05T10:00:00Z")),
        edge(3, 9, used, 3, "LAB-17025", at_ms=parse_ms("2025-09-01T10:20:00Z")),
        edge(9, 10, EdgeKind.CALIBRATED, 3, "LAB-17025", at_ms=parse_ms("2025-09-01T10:20:00Z")),
        edge(9, 0, used, 27, "T1-STATOR"),  # a cycle
    ]  # fmt: skip


def _facts() -> TraceFacts:
    welds = weld_inspections(137, nonce)
    light, heavy = (fact(at, welds[at - WELDS_FROM], "T1-STATOR") for at in (166, 167))
    review = fact(230, review_verdict(heavy.event_id, nonce), "T1-STATOR")
    listed = [
        document(3, "calibration", "LAB-17025"),
        document(9, "resistivity", "LAB-17025"),
        document(10, "resistivity", "LAB-17025", 1),
        document(18, "incoming-inspection", "T1-STATOR"),
        document(27, "stator", "T1-STATOR"),
        fact(WELDS_FROM, welds[0], "T1-STATOR"),
        fact(222, welds[-1], "T1-STATOR"),
        light, heavy, review,
    ]  # fmt: skip
    return TraceFacts(
        by_entry={each.index: each for each in listed},
        lots={WIRE: document(6, "wire-lot", "T2-CU-JX")},
        bad={(0, 4): [light], (0, 5): [heavy]},
        reviews={heavy.event_id: [review]},
    )
