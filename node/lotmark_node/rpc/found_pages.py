"""Events that keep a question's conditions, found by the index and judged by what they say."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lotmark.errors import MalformedError
from lotmark.event import CheckedEvent
from lotmark.merkle import HASH_SIZE
from lotmark.v1 import provenance_pb2
from lotmark_node.provenance.event_facts import TELLERS, EventFacts
from lotmark_node.rpc.readable_events import ReadableEvent, ReadableEvents

EVENTS_MAX = 10_000  # in one answer
EVENTS_DEFAULT = 1_000
LOOKED_AT_MAX = 50_000  # entries for one answer
PAGE_EVENTS_MAX = 64  # of at most 16 KiB each
LOOKED_AT_PER_PAGE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What events must be; empty: anything."""

    item: str = ""  # canonical name
    parties: frozenset[str] = frozenset()
    device: str = ""
    model: str = ""
    digest: bytes = b""
    epcis_hash: bytes = b""
    disposition: str = ""
    event_types: frozenset[int] = frozenset()
    from_ms: int = 0
    to_ms: int = 0
    recorded_from_ms: int = 0
    recorded_to_ms: int = 0

    def keeps(self, event: ReadableEvent) -> bool:
        """Tell whether an event keeps them all."""
        checked, party, recorded_ms = event.checked, event.party, event.recorded_ms
        start_ms = checked.message.time.start_ms
        return (
            (not self.event_types or checked.event_type in self.event_types)
            and (not self.parties or party in self.parties)
            and (not self.item or self.item in checked.item_names)
            and self.device in ("", checked.message.device)
            and self.from_ms <= start_ms
            and (not self.to_ms or start_ms < self.to_ms)
            and self.recorded_from_ms <= recorded_ms
            and (not self.recorded_to_ms or recorded_ms < self.recorded_to_ms)
            and self._is_said(checked, party)
        )

    def is_past(self, event: ReadableEvent, *, newest_first: bool) -> bool:
        """Tell whether no event further in the order of the log can keep them."""
        if newest_first:
            return event.recorded_ms < self.recorded_from_ms
        return 0 < self.recorded_to_ms <= event.recorded_ms

    def _is_said(self, checked: CheckedEvent, party: str) -> bool:
        if not (self.model or self.disposition or self.digest or self.epcis_hash):
            return True
        told = what_is_told(checked, party)
        return (
            self.model in ("", told.model)
            and self.disposition in ("", told.disposition)
            and (not self.digest or anchors(checked, told, self.digest))
            and (not self.epcis_hash or self.epcis_hash in told.epcis_hashes)
        )


def what_is_told(checked: CheckedEvent, party: str) -> EventFacts:
    """Return what an event says beside its items, device and time."""
    teller = TELLERS.get(checked.body_name)
    return EventFacts() if teller is None else teller(checked.body, checked.message, party)


def anchors(checked: CheckedEvent, told: EventFacts, digest: bytes) -> bool:
    """Tell whether an event bears a digest, of a file or in its body."""
    return digest in told.digests or any(file.sha256 == digest for file in checked.message.files)


def read_conditions(request: provenance_pb2.FindEventsRequest, item: str) -> Conditions:
    """Return the conditions of a request.

    Raises:
        MalformedError: A digest has another size.
    """
    for name in ("digest", "epcis_hash"):
        value: bytes = getattr(request, name)
        if value and len(value) != HASH_SIZE:
            raise MalformedError(f"{name} has {len(value)} bytes, not {HASH_SIZE}")
    return Conditions(
        item=item,
        parties=frozenset({request.party} - {""}),
        device=request.device,
        model=request.model,
        digest=request.digest,
        epcis_hash=request.epcis_hash,
        disposition=request.disposition,
        event_types=frozenset(request.event_types),
        from_ms=request.from_ms,
        to_ms=request.to_ms,
        recorded_from_ms=request.recorded_from_ms,
        recorded_to_ms=request.recorded_to_ms,
    )


def count_of(events_max: int) -> int:
    """Return how many events an answer may have.

    Raises:
        MalformedError: So many are never told at once.
    """
    if events_max > EVENTS_MAX:
        raise MalformedError(f"events_max {events_max} is above {EVENTS_MAX}; use `resume`")
    return events_max or EVENTS_DEFAULT


def found_pages(
    entries: Iterable[int],
    readable: ReadableEvents,
    conditions: Conditions,
    *,
    head: provenance_pb2.AnswerHead,
    events_max: int,
    resume: Callable[[int], bytes],
    newest_first: bool = False,
) -> Iterator[provenance_pb2.FoundEvents]:
    """Yield an answer page by page; the last one says how to go on, where there may be more.

    Args:
        entries: Where to look, in the order in which to tell.
        readable: Reads the events.
        conditions: What they must be.
        head: Of the answer.
        events_max: In the answer.
        resume: Returns what to go on with from an entry, which was not looked at, on.
        newest_first: Whether the entries descend.
    """
    page = provenance_pb2.FoundEvents(head=head)
    told_count = 0
    for looked_at_count, (entry, event) in enumerate(readable.read(entries)):
        if told_count == events_max or looked_at_count == LOOKED_AT_MAX:
            page.resume = resume(entry)
            break
        if looked_at_count % LOOKED_AT_PER_PAGE == LOOKED_AT_PER_PAGE - 1:
            yield page
            page = provenance_pb2.FoundEvents()
        if event is None:
            continue
        if conditions.is_past(event, newest_first=newest_first):
            break
        if not conditions.keeps(event):
            continue
        page.events.append(readable.message(event))
        told_count += 1
        if len(page.events) == PAGE_EVENTS_MAX:
            yield page
            page = provenance_pb2.FoundEvents()
    yield page
