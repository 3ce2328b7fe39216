"""Pages of what a query asks for: the index finds candidates, the conditions decide on each.

What one request may look at is bounded. Where the bound ends a page, it is short or even empty, and
says where to go on.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar

from lotmark.client.provenance_records import FoundEvent
from lotmark_node.http.epcis.candidates import CallsSpent, Candidates, EventSource, look_ups
from lotmark_node.http.epcis.event_fields import Event
from lotmark_node.http.epcis.event_query import IndexConditions, OrderBy, SimpleEventQuery
from lotmark_node.http.epcis.instants import instant_or_none
from lotmark_node.http.epcis.page_token import Cursor
from lotmark_node.http.epcis.shown_events import ShownEvent
from lotmark_node.http.errors import QueryTooComplex, QueryTooLarge

LOOKED_MAX = 2_000  # events that one page looks at
WHOLE_LOOKED_MAX = 20_000  # where a page needs to know all: their order or their number
CALLS_MAX = 8  # of the node for one page, beside those that begin its look-ups
WHOLE_CALLS_MAX = 64
PAGE_SIZE_MAX = 4 << 20  # bytes of events, about

T = TypeVar("T")


Show: TypeAlias = Callable[[FoundEvent], Sequence[ShownEvent]]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of an answer."""

    rows: list[T]
    next: Cursor | None  # where the next part begins; None: there is none


class EventSearch:
    """Answers queries from one source; for one request."""

    def __init__(self, source: EventSource, show: Show) -> None:
        self._source = source
        self._show = show

    def events(self, query: SimpleEventQuery, cursor: Cursor | None, per_page: int) -> Page[Event]:
        """Return a page of the events that a query asks for.

        Args:
            query: It.
            cursor: Where the page begins; None: the first page.
            per_page: How many events it has at most.

        Raises:
            QueryTooLarge: More events fit than its maxEventCount.
            QueryTooComplex: Its order or count needs more events to be looked at than may be.
            ProtocolError, ConnectionError, TimeoutError: The node does not answer as it should.
        """
        if query.max_event_count is not None and cursor is None:
            every = replace(query, index=replace(query.index, hashes=()))
            self._check_count(every, query.max_event_count)
        at = cursor or Cursor(by_hash=bool(query.index.hashes))
        page = self._events(query, at, per_page)
        if at.by_hash and cursor is None and not page.rows:
            # Its author may have given an event an id that is written like a hash and is not its.
            return self._events(query, Cursor(), per_page)
        return page

    def _events(self, query: SimpleEventQuery, at: Cursor, per_page: int) -> Page[Event]:
        if not at.by_hash:
            query = replace(query, index=replace(query.index, hashes=()))
        if query.event_count_limit is not None:
            per_page = min(per_page, query.event_count_limit - at.told_count)
        if per_page <= 0:
            return Page([], None)
        by_time = query.order_by is OrderBy.EVENT_TIME
        page = (
            self._by_time(query, at, per_page) if by_time else self._in_order(query, at, per_page)
        )
        told_count = at.told_count + len(page.rows)
        if page.next is None or told_count == query.event_count_limit:
            return Page(page.rows, None)
        return Page(page.rows, replace(page.next, told_count=told_count, by_hash=at.by_hash))

    def values(
        self,
        index: IndexConditions,
        values_of: Callable[[Event], Iterator[str]],
        cursor: Cursor | None,
        per_page: int,
    ) -> Page[str]:
        """Return a page of the values that events have; each once a page."""
        told: set[str] = set()

        def rows(found: FoundEvent) -> Iterator[tuple[str, int] | None]:
            for shown in self._show(found):
                for value in values_of(shown.members):
                    yield None if value in told else (value, len(value))
                    told.add(value)

        return self._page(index, rows, cursor or Cursor(), per_page, newest_first=False)

    def has(self, query: SimpleEventQuery) -> bool:
        """Tell whether an event fits a query.

        Raises:
            QueryTooComplex: Too many would have to be looked at to know.
        """
        every = self._every(query, "whether there is one", newest_first=True)
        return next(every, None) is not None

    def _fits(self, query: SimpleEventQuery, shown: ShownEvent) -> bool:
        return query.matches(shown.judged(by_id=bool(query.by_id)))

    # In the ledger's order

    def _in_order(self, query: SimpleEventQuery, at: Cursor, per_page: int) -> Page[Event]:
        def rows(found: FoundEvent) -> Iterator[tuple[Event, int] | None]:
            for shown in self._show(found):
                yield (shown.told(), shown.size) if self._fits(query, shown) else None

        return self._page(query.index, rows, at, per_page, newest_first=query.newest_first)

    def _page(
        self,
        index: IndexConditions,
        rows: Callable[[FoundEvent], Iterator[tuple[T, int] | None]],
        at: Cursor,
        per_page: int,
        *,
        newest_first: bool,
    ) -> Page[T]:
        """Return a page of what events hold, in the ledger's order.

        Args:
            index: What the events keep.
            rows: Yields what an event holds with its size; None in place of what is not asked for.
            at: Where to begin.
            per_page: How many rows it has at most.
            newest_first: From the ledger's end.
        """
        queries = look_ups(index, newest_first=newest_first)
        candidates = Candidates(
            self._source, queries, at.resumes, calls_max=CALLS_MAX + len(queries)
        )
        told: list[T] = []
        size, last = 0, at
        # An entry that is half told is looked at again.
        before = at.index if at.row < 0 else at.index + (1 if newest_first else -1)
        try:
            for looked_count, found in enumerate(candidates.after(before), start=1):
                for number, row in enumerate(rows(found)):
                    if row is None or (found.index == at.index and number <= at.row):
                        continue
                    if len(told) == per_page or (told and size + row[1] > PAGE_SIZE_MAX):
                        return Page(told, replace(last, resumes=candidates.resumes))
                    told.append(row[0])
                    size += row[1]
                    last = Cursor(index=found.index, row=number)
                last = Cursor(index=found.index)
                if looked_count >= LOOKED_MAX:
                    break
            else:
                return Page(told, None)
        except CallsSpent:
            pass  # the page ends here, and the next one goes on
        return Page(told, replace(last, resumes=candidates.resumes))

    # By the events' own time

    def _by_time(self, query: SimpleEventQuery, at: Cursor, per_page: int) -> Page[Event]:
        """Return a page ordered by event time; all that fit are looked at, few are kept."""
        sign = -1 if query.descending else 1
        begin = (sign * at.time, at.index, at.row) if at.time is not None else None

        def kept() -> Iterator[tuple[tuple[int, int, int], ShownEvent]]:
            for found, number, shown in self._every(query, "their order", newest_first=False):
                time = instant_or_none(shown.members.get("eventTime")) or 0
                key = (sign * time, found.index, number)
                if begin is None or key > begin:
                    yield key, shown

        first = heapq.nsmallest(per_page + 1, kept(), key=lambda each: each[0])
        told, size = first[:per_page], 0
        for count, (_, shown) in enumerate(told):
            size += shown.size
            if count and size > PAGE_SIZE_MAX:
                told = told[:count]
                break
        rows = [shown.told() for _, shown in told]
        if len(told) == len(first):
            return Page(rows, None)
        time, index, row = told[-1][0]
        return Page(rows, Cursor(time=sign * time, index=index, row=row))

    # All of it

    def _check_count(self, query: SimpleEventQuery, count_max: int) -> None:
        every = self._every(query, "their number", newest_first=False)
        for count, _ in enumerate(every, start=1):
            if count > count_max:
                raise QueryTooLarge(
                    f"more than {count_max} events fit; ask for less, or leave maxEventCount out"
                    " and read page by page"
                )

    def _every(
        self, query: SimpleEventQuery, what: str, *, newest_first: bool
    ) -> Iterator[tuple[FoundEvent, int, ShownEvent]]:
        """Yield every event that fits, with its entry and its number there.

        Raises:
            QueryTooComplex: Too many would have to be looked at.
        """
        queries = look_ups(query.index, newest_first=newest_first)
        candidates = Candidates(self._source, queries, calls_max=WHOLE_CALLS_MAX + len(queries))
        try:
            for looked_count, found in enumerate(candidates.after(-1)):
                if looked_count >= WHOLE_LOOKED_MAX:
                    raise _too_complex(what)
                for number, shown in enumerate(self._show(found)):
                    if self._fits(query, shown):
                        yield found, number, shown
        except CallsSpent as error:
            raise _too_complex(what) from error


def _too_complex(what: str) -> QueryTooComplex:
    return QueryTooComplex(
        f"more than {WHOLE_LOOKED_MAX} events are in question for {what}; name an item"
        " with MATCH_anyEPC or MATCH_anyEPCClass, or an interval with GE_recordTime and"
        " LT_recordTime"
    )
