"""Looks EPCIS events up for callers of the HTTP endpoint, in sessions with the endpoint's node."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from lotmark.client.calls import NotOnLedgerError
from lotmark.client.provenance import ProvenanceReader
from lotmark.client.provenance_records import FoundEvent, parse_event
from lotmark_node.http.epcis.event_fields import Event
from lotmark_node.http.epcis.event_query import IndexConditions, OrderBy, SimpleEventQuery
from lotmark_node.http.epcis.event_search import LOOKED_MAX, WHOLE_LOOKED_MAX, EventSearch, Page
from lotmark_node.http.epcis.page_token import Cursor
from lotmark_node.http.epcis.query_parameters import parse_query
from lotmark_node.http.epcis.shown_events import CAPTURED, LEDGER_ID_PREFIX, shown_events
from lotmark_node.http.errors import NoSuchResource, QueryTooComplex
from lotmark_node.http.node_sessions import NodeSessions

EVENTS_WITH_ID_MAX = 100  # one, and declarations that it was in error

_LEDGER_ID = re.compile(re.escape(LEDGER_ID_PREFIX) + r"([0-9a-f]{64})")


class EventDesk:
    """Looks events up; any thread may call it."""

    def __init__(self, sessions: NodeSessions) -> None:
        self._sessions = sessions

    @contextmanager
    def source(self) -> Iterator[ProvenanceReader]:
        """Lend what finds events on the ledger.

        Raises:
            Busy: Too many requests are worked on.
        """
        with self._sessions.borrowed() as session:
            yield ProvenanceReader(session)

    def events(self, query: SimpleEventQuery, cursor: Cursor | None, per_page: int) -> Page[Event]:
        """Return a page of the events that a query asks for; as `EventSearch.events`."""
        with self.source() as source:
            return EventSearch(source, shown_events).events(query, cursor, per_page)

    def values(
        self,
        values_of: Callable[[Event], Iterator[str]],
        cursor: Cursor | None,
        per_page: int,
    ) -> Page[str]:
        """Return a page of the values that events have; as `EventSearch.values`."""
        with self.source() as source:
            search = EventSearch(source, shown_events)
            return search.values(IndexConditions(), values_of, cursor, per_page)

    def has(self, query: SimpleEventQuery) -> bool:
        """Tell whether an event fits a query; as `EventSearch.has`."""
        with self.source() as source:
            return EventSearch(source, shown_events).has(query)

    def entry(self, index: int) -> list[Event]:
        """Return the events that an entry tells."""
        return self._of_entry(index)

    def event(self, event_id: str) -> list[Event]:
        """Return the event with an id, and what declares it to be in error.

        Args:
            event_id: Its author's, its hash's, or the ledger's after `LEDGER_ID_PREFIX`.

        Raises:
            NoSuchResource: There is none.
            QueryTooComplex: None is known by its hash, and not all others could be looked at.
        """
        match = _LEDGER_ID.fullmatch(event_id)
        if match is not None:
            try:
                return self._of_entry(bytes.fromhex(match[1]))
            except NotOnLedgerError as error:
                raise NoSuchResource(f"the ledger has no event {event_id[:100]!a}") from error
        query = replace(parse_query([("EQ_eventID", event_id)]), order_by=OrderBy.RECORD_TIME)
        cursor: Cursor | None = None
        for _ in range(WHOLE_LOOKED_MAX // LOOKED_MAX):
            page = self.events(query, cursor, EVENTS_WITH_ID_MAX)
            if page.rows:
                return page.rows
            if page.next is None:
                raise NoSuchResource(f"no event has the id {event_id[:100]!a}")
            cursor = page.next
        raise QueryTooComplex(
            f"none of the newest {WHOLE_LOOKED_MAX} events has the id {event_id[:100]!a}; an event"
            " is found at any age by its hash, or with EQ_eventID and another condition"
        )

    def _of_entry(self, name: int | bytes) -> list[Event]:
        with self._sessions.borrowed() as session:
            entry = session.entry(name, fresh=True)
            index = entry.head.index
            if not entry.event:
                raise NotOnLedgerError(f"entry {index} is no event that this party may read")
            event, party = parse_event(entry.event, index), ""
            if event.WhichOneof("body") != CAPTURED:  # what is exported names who signed it
                party = session.check_receipt(session.receipt(index), index).party
        found = FoundEvent(entry=entry, event=event, party=party)
        events = [each.told() for each in shown_events(found)]
        if not events:
            raise NotOnLedgerError(f"entry {index} tells no EPCIS event")
        return events
