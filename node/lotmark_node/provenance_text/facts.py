"""What the events behind a trace say: read with their proofs, within a bound."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lotmark.client.calls import NotOnLedgerError
from lotmark.client.provenance import ProvenanceReader
from lotmark.client.provenance_records import EdgeKind, EventQuery, ProvenEvent, Trace, TraceEdge
from lotmark.event import EVENT_TYPES
from lotmark.v1 import event_pb2
from lotmark_node.provenance_text.names import is_lot

FACTS_MAX = 256  # events that are read for one tree
LOTS_MAX = 32  # lots whose whole amount is looked up
BAD_LINKS_MAX = 16  # links whose nonconforming events are looked up
BAD_EVENTS_MAX = 8  # of one link

_JUDGING = {
    EdgeKind.MEASURED: (EVENT_TYPES["measurement"],),
    EdgeKind.INFERRED: (EVENT_TYPES["inference_result"],),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A proven event."""

    index: int
    event_id: bytes
    event: event_pb2.Event
    party: str  # whose key signed it


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFacts:
    """What is known of a trace beside its links.

    Attributes:
        by_entry: Proven events by their entries.
        lots: By item: the event that says of how much it is the lot.
        bad: By near and far number of a link: some of its nonconforming events.
        reviews: By event id: what persons found of it.
        receipts: By entry, of all these events.
        left_out: How many events were not read, because of the bound.
    """

    by_entry: Mapping[int, Fact] = field(default_factory=dict)
    lots: Mapping[str, Fact] = field(default_factory=dict)
    bad: Mapping[tuple[int, int], Sequence[Fact]] = field(default_factory=dict)
    reviews: Mapping[bytes, Sequence[Fact]] = field(default_factory=dict)
    receipts: Mapping[int, bytes] = field(default_factory=dict)
    left_out: int = 0


def gather_facts(
    reader: ProvenanceReader,
    trace: Trace,
    *,
    facts_max: int = FACTS_MAX,
    progress: Callable[[int], None] | None = None,
) -> TraceFacts:
    """Return what the events behind a trace say, each proven; a node may know no more of some.

    Raises:
        ProofError: An event is not as the node told it.
        ProtocolError, ConnectionError, TimeoutError: As for every call.
    """
    lots = dict(_lots(reader, trace))
    bad, reviews = _bad_events(reader, trace)
    looked_up = [*lots.values(), *(index for each in bad.values() for index in each), *reviews]
    wanted = list(dict.fromkeys([*looked_up, *_entries(trace.edges)]))
    proven = {
        each.findings.index: each for each in reader.prove(wanted[:facts_max], progress=progress)
    }
    facts = {index: _fact(each) for index, each in proven.items()}
    reviewed: dict[bytes, list[Fact]] = {}
    for index in reviews:
        if index in facts:
            judged = facts[index].event.review_verdict.event_id
            reviewed.setdefault(judged, []).append(facts[index])
    return TraceFacts(
        by_entry=facts,
        lots={item: facts[index] for item, index in lots.items() if index in facts},
        bad={
            link: [facts[index] for index in indexes if index in facts]
            for link, indexes in bad.items()
        },
        reviews=reviewed,
        receipts={index: each.receipt for index, each in proven.items()},
        left_out=max(0, len(wanted) - facts_max),
    )


def _fact(proven: ProvenEvent) -> Fact:
    found = proven.findings
    return Fact(index=found.index, event_id=found.event_id, event=proven.event, party=found.party)


def _entries(edges: Sequence[TraceEdge]) -> Iterator[int]:
    """Return the entries of links in their order; of several events alike, the last one too."""
    for edge in edges:
        yield edge.entry
        if edge.last_entry != edge.entry:
            yield edge.last_entry


def _lots(reader: ProvenanceReader, trace: Trace) -> Iterator[tuple[str, int]]:
    names = {node.number: node.id for node in trace.nodes}
    near, far = (
        {names[edge.near] for edge in trace.edges if edge.near in names},
        {names[edge.far] for edge in trace.edges if edge.amount is not None and edge.far in names},
    )
    items = [each.id for each in trace.nodes if is_lot(each.id) and each.id in near | far]
    for item in items[:LOTS_MAX]:
        query = EventQuery(item=item, event_types=[EVENT_TYPES["lot_created"]])
        try:
            found = reader.find_events(query, events_max=1).events
        except NotOnLedgerError:
            continue  # the caller may read the link, but no event that names its end alone
        if found:
            yield item, found[0].index


def _bad_events(
    reader: ProvenanceReader, trace: Trace
) -> tuple[dict[tuple[int, int], list[int]], list[int]]:
    """Return the nonconforming events by link, and the reviews of the items at their ends."""
    names = {node.number: node.id for node in trace.nodes}
    bad: dict[tuple[int, int], list[int]] = {}
    reviews: dict[int, None] = {}
    links = [each for each in trace.edges if each.nonconforming_count and each.near in names]
    for edge in links[:BAD_LINKS_MAX]:
        item, types = names[edge.near], _JUDGING.get(edge.kind)
        if types is None:
            continue
        far = names[edge.far].partition(":")[2]
        query = EventQuery(
            item=item,
            event_types=types,
            disposition="non_conformant",
            device=far if edge.kind is EdgeKind.MEASURED else "",
            model=far if edge.kind is EdgeKind.INFERRED else "",
        )
        found = reader.find_events(query, events_max=BAD_EVENTS_MAX).events
        bad[edge.near, edge.far] = [each.index for each in found]
        reviewed = EventQuery(item=item, event_types=[EVENT_TYPES["review_verdict"]])
        found = reader.find_events(reviewed, events_max=BAD_EVENTS_MAX).events
        reviews |= dict.fromkeys(each.index for each in found)
    return bad, list(reviews)
