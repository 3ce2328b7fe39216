"""Answers about provenance as JSON documents."""

from lotmark.client.ledger_records import LedgerCheckpoint
from lotmark.client.provenance_records import (
    AnswerHead,
    FoundEvent,
    SuspectItem,
    Trace,
    TraceEdge,
    TraceNode,
)
from lotmark.event_document import describe
from lotmark_node.provenance_text.facts import TraceFacts


def head_document(head: AnswerHead, checkpoint: LedgerCheckpoint) -> dict[str, object]:
    """Return where an answer stands, and what covers it."""
    return {
        "item": head.item,
        "height": head.height,
        "size": head.size,
        "time_ms": head.time_ms,
        "final": checkpoint.findings.is_final,
        "checkpoint_size": checkpoint.size,
    }


def trace_document(trace: Trace, facts: TraceFacts) -> dict[str, object]:
    """Return a trace's things and links."""
    return {
        "nodes": [node_document(each) for each in trace.nodes],
        "edges": [edge_document(each, facts) for each in trace.edges],
        "complete": not trace.resume and not trace.cut_short,
        "cut_short": trace.cut_short or None,
        "resume": trace.resume.hex() or None,
    }


def node_document(node: TraceNode) -> dict[str, object]:
    """Return a thing."""
    return {"number": node.number, "id": node.id, "depth": node.depth}


def edge_document(edge: TraceEdge, facts: TraceFacts) -> dict[str, object]:
    """Return a link; `proven` tells whether its first event was read with its proof."""
    amount = edge.amount
    return {
        "from": edge.near,
        "to": edge.far,
        "kind": edge.kind.name.lower(),
        "entry": edge.entry,
        "last_entry": edge.last_entry,
        "at_ms": edge.at_ms,
        "ended": edge.ended,
        "event_count": edge.event_count,
        "nonconforming_count": edge.nonconforming_count,
        "quantity": None if amount is None else {"value": amount.value, "unit": amount.unit},
        "party": edge.party,
        "proven": edge.entry in facts.by_entry,
    }


def found_document(found: FoundEvent) -> dict[str, object]:
    """Return an event that was found."""
    event_id = found.entry.event_id
    assert event_id is not None, "what is found is an event"
    return {
        "index": found.index,
        "event_id": event_id.hex(),
        "height": found.entry.head.height,
        "time_ms": found.entry.head.time_ms,
        "party": found.party,
        "event": describe(found.event),
    }


def suspect_document(item: SuspectItem) -> dict[str, object]:
    """Return an item that was touched."""
    return {
        "id": item.id,
        "event_count": item.event_count,
        "entry": item.entry,
        "last_entry": item.last_entry,
        "first_ms": item.first_ms,
        "last_ms": item.last_ms,
    }
