"""Candidates for a query, as the node's index finds them: in the ledger's order, each once.

One look-up finds those that name one item. Where a query names several, as many look-ups are made
and their answers merged, so that it costs what there is to find and not what there is.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from lotmark.client.calls import AmbiguousItemError, CallRefused, NotOnLedgerError
from lotmark.client.provenance_records import EventQuery, FoundEvent, FoundEvents
from lotmark_node.http.epcis.event_query import IndexConditions
from lotmark_node.http.epcis.page_token import STREAMS_MAX
from lotmark_node.http.epcis.shown_events import SHOWN_TYPES
from lotmark_node.http.errors import QueryTooComplex

CHUNK_EVENTS = 500  # in one answer of the node
WINDOW_MAX_MS = 31 * 86_400_000  # an interval that the index is asked about
INTERVAL_MAX_MS = 86_400_000  # events last no longer, where their interval counts


class EventSource(Protocol):
    """Finds events; `lotmark.client.provenance.ProvenanceReader` is one."""

    def find_events(
        self, query: EventQuery, *, events_max: int, resume: bytes, fresh: bool
    ) -> FoundEvents:
        """Return events that keep all conditions of a query, from `resume` on."""
        ...


class CallsSpent(Exception):
    """The node was called as often as it may be for one request."""


def look_ups(index: IndexConditions, *, newest_first: bool) -> list[EventQuery]:
    """Return what to ask the node, so that no event is left out that keeps the conditions."""
    common = EventQuery(
        recorded_from_ms=index.recorded_from_ms,
        recorded_to_ms=index.recorded_to_ms,
        newest_first=newest_first,
    )
    if index.hashes:
        return [replace(common, epcis_hash=each) for each in index.hashes]
    if 1 <= len(index.items) <= STREAMS_MAX:
        return [replace(common, item=item) for item in index.items]
    common = replace(common, event_types=SHOWN_TYPES)
    if index.from_ms and 0 <= index.to_ms - index.from_ms <= WINDOW_MAX_MS:
        # The index knows when an event began; EPCIS is told when it ended.
        begin_ms = max(1, index.from_ms - INTERVAL_MAX_MS)
        return [replace(common, from_ms=begin_ms, to_ms=index.to_ms)]
    return [common]


class Candidates:
    """Events that look-ups find, one after the other."""

    def __init__(
        self,
        source: EventSource,
        queries: Sequence[EventQuery],
        resumes: Sequence[bytes] = (),
        *,
        calls_max: int,
    ) -> None:
        """Begin, or go on.

        Args:
            source: The node.
            queries: What to ask it; they differ in the item or hash alone.
            resumes: Of an earlier round, in the order of the queries; empty: begin.
            calls_max: How often the node may be called. Each call is bounded by itself, and may
                find nothing.
        """
        self._source = source
        self._queries = queries
        self._resumes = list(resumes) if len(resumes) == len(queries) else [b""] * len(queries)
        self._calls_left = calls_max
        self._is_first_call = True

    @property
    def resumes(self) -> tuple[bytes, ...]:
        """Where to go on; some of what was told last is told again then."""
        return tuple(self._resumes)

    def after(self, index: int) -> Iterator[FoundEvent]:
        """Yield the events that stand in the order of the queries behind entry `index`.

        Args:
            index: Of the entry; -1: from the begin on.

        Raises:
            CallsSpent: There may be more, and the node was called as often as it may be.
            QueryTooComplex: The node does not look that up.
            ProtocolError, ConnectionError, TimeoutError: The node does not answer as it should.
        """
        backwards = self._queries[0].newest_first
        streams = [self._stream(number, index) for number in range(len(self._queries))]
        merged = heapq.merge(*streams, key=lambda each: -each.index if backwards else each.index)
        last = index
        for found in merged:
            if found.index != last:
                last = found.index
                yield found

    def _stream(self, number: int, index: int) -> Iterator[FoundEvent]:
        query, resume = self._queries[number], self._resumes[number]
        while True:
            # What came before is told by now: whoever goes on need not ask for it again.
            self._resumes[number] = resume
            try:
                answer = self._call(query, resume)
            except (NotOnLedgerError, AmbiguousItemError):
                return  # no event has this very name
            except CallRefused as error:
                raise QueryTooComplex(f"the node does not look that up: {error}") from error
            for found in answer.events:
                is_behind = found.index < index if query.newest_first else found.index > index
                if index < 0 or is_behind:
                    yield found
            if not answer.resume:
                return
            resume = answer.resume

    def _call(self, query: EventQuery, resume: bytes) -> FoundEvents:
        if not self._calls_left:
            raise CallsSpent
        self._calls_left -= 1
        fresh, self._is_first_call = self._is_first_call, False
        return self._source.find_events(query, events_max=CHUNK_EVENTS, resume=resume, fresh=fresh)
