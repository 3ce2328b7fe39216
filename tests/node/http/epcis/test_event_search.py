"""Pages of a query, against a plain reference; and that no request looks at more than it may."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.client.calls import NotOnLedgerError
from lotmark.client.ledger_records import LedgerEntry
from lotmark.client.provenance_records import AnswerHead, EventQuery, FoundEvent, FoundEvents
from lotmark.entry import EntryHead, EntryKind
from lotmark.item_name import canonical_item
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2
from lotmark_node.http.epcis import candidates, event_search
from lotmark_node.http.epcis.event_search import EventSearch
from lotmark_node.http.epcis.instants import MS, instant_or_none
from lotmark_node.http.epcis.page_token import Cursor, PageTokens
from lotmark_node.http.epcis.query_parameters import parse_query
from lotmark_node.http.epcis.shown_events import ShownEvent
from lotmark_node.http.errors import QueryParameterRefused, QueryTooComplex, QueryTooLarge
from tests.node.http.epcis.plain_events import EPCS, STEPS, TIMES, events

ID_LISTS = ("epcList", "childEPCs", "parentID", "inputEPCList", "outputEPCList")


class MemorySource:
    """Events in memory, found by item and time of record as a node finds them."""

    def __init__(self, told: Sequence[dict[str, Any]]) -> None:
        self.events = {3 * number + 1: event for number, event in enumerate(told)}
        self.looked_count = 0

    def find_events(
        self, query: EventQuery, *, events_max: int, resume: bytes, fresh: bool
    ) -> FoundEvents:
        if query.item and not any(query.item in names(each) for each in self.events.values()):
            raise NotOnLedgerError("no event names it")
        begin = int.from_bytes(resume) if resume else None
        fitting = [
            index
            for index, event in sorted(self.events.items(), reverse=query.newest_first)
            if (not query.item or query.item in names(event))
            and query.recorded_from_ms <= self._recorded_ms(index)
            and (not query.recorded_to_ms or self._recorded_ms(index) < query.recorded_to_ms)
            and (begin is None or (index <= begin if query.newest_first else index >= begin))
        ]
        self.looked_count += min(len(fitting), events_max)
        rest = fitting[events_max:]
        return FoundEvents(
            head=AnswerHead(item="", height=1, size=10_000, time_ms=1),
            events=[found(index) for index in fitting[:events_max]],
            resume=rest[0].to_bytes(4) if rest else b"",
        )

    def _recorded_ms(self, index: int) -> int:
        return (instant_or_none(self.events[index].get("recordTime")) or 10**21) // MS

    def show(self, told: FoundEvent) -> list[ShownEvent]:
        event = self.events[told.index]
        return [ShownEvent(members=event, ids=lambda: [f"urn:{told.index}"], size=100)]


def found(index: int) -> FoundEvent:
    head = EntryHead(
        index=index, height=1, time_ms=1, outcome=Outcome.ACCEPTED, kind=EntryKind.EVENT
    )
    entry = LedgerEntry(head=head, payload=b"", leaf_data=b"", event=b"", withheld=False)
    return FoundEvent(entry=entry, event=event_pb2.Event(), party="OEM-A")


def names(event: dict[str, Any]) -> set[str]:
    values = [event.get(name) for name in ID_LISTS]
    ids = [each for value in values for each in (value if isinstance(value, list) else [value])]
    return {canonical_item(each) for each in ids if isinstance(each, str)}


PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "MATCH_anyEPC": st.lists(st.sampled_from(EPCS), min_size=1, max_size=3).map("|".join),
        "EQ_bizStep": st.sampled_from(STEPS),
        "GE_recordTime": st.sampled_from(TIMES),
        "LT_recordTime": st.sampled_from(TIMES),
        "orderBy": st.sampled_from(["recordTime", "eventTime"]),
        "orderDirection": st.sampled_from(["ASC", "DESC"]),
    },
)


@settings(deadline=None)
@given(
    st.lists(events(), max_size=24),
    PARAMETERS,
    st.integers(1, 5),
    st.integers(1, 6),
    st.none() | st.integers(1, 8),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_the_pages_of_a_query_are_together_what_fits_it_in_its_order(
    told: list[dict[str, Any]],
    parameters: dict[str, str],
    per_page: int,
    looked_max: int,
    limit: int | None,
    chunk: int,
    calls: int,
) -> None:
    if limit is not None and "orderBy" in parameters:
        parameters = {**parameters, "eventCountLimit": str(limit)}
    query, source = parse_query(list(parameters.items())), MemorySource(told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "CHUNK_EVENTS", chunk)
        patch.setattr(event_search, "CALLS_MAX", calls)
        patch.setattr(event_search, "LOOKED_MAX", looked_max)
        got = read_all(source, parameters, per_page)
    fitting = [each for each in source.events.items() if query.matches(each[1])]
    match parameters.get("orderBy"), parameters.get("orderDirection", "DESC"):
        case "eventTime", direction:
            sign = 1 if direction == "ASC" else -1
            fitting.sort(key=lambda each: sign * (instant_or_none(each[1].get("eventTime")) or 0))
        case ("recordTime", "DESC") | (None, _):
            fitting.reverse()
    expected = [index for index, _ in fitting]
    assert got == (expected[:limit] if "eventCountLimit" in parameters else expected)


def read_all(source: MemorySource, parameters: dict[str, str], per_page: int) -> list[int]:
    """Return the entries of all pages, each asked for by the token of the one before."""
    numbers = {id(event): index for index, event in source.events.items()}
    got: list[int] = []
    cursor: Cursor | None = None
    tokens, question = PageTokens(), ["/events", sorted(parameters.items())]
    for _ in range(200):
        search = EventSearch(source, lambda each: [numbered(source.show(each)[0])])
        page = search.events(parse_query(list(parameters.items())), cursor, per_page)
        assert len(page.rows) <= per_page
        got += [int(event["eventID"]) for event in page.rows]
        if page.next is None:
            assert set(got) <= set(numbers.values())
            return got
        cursor = tokens.read(tokens.make(page.next, question).text, question)
    raise AssertionError("the pages have no end")


def numbered(shown: ShownEvent) -> ShownEvent:
    """Return the event with its entry as its id, so that pages can be compared."""
    number = shown.ids()[0].removeprefix("urn:")
    return ShownEvent(members={**shown.members, "eventID": number}, ids=shown.ids, size=shown.size)


def test_a_page_that_finds_nothing_ends_at_its_bound_and_says_where_to_go_on() -> None:
    source = MemorySource([{"bizStep": "packing"}] * 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "CHUNK_EVENTS", 5)
        patch.setattr(event_search, "LOOKED_MAX", 10)
        patch.setattr(event_search, "WHOLE_LOOKED_MAX", 20)

        search = EventSearch(source, source.show)
        page = search.events(parse_query([("EQ_bizStep", "shipping")]), None, 5)
        assert page.rows == []
        assert page.next is not None
        assert source.looked_count <= 15
        with pytest.raises(
            QueryTooComplex, match=r"more than 20 events .* for whether there is one"
        ):
            search.has(parse_query([("EQ_bizStep", "shipping")]))
        for parameters in ([("orderBy", "eventTime")], [("maxEventCount", "40")]):
            source.looked_count = 0
            with pytest.raises(QueryTooComplex, match="more than 20 events are in question"):
                search.events(parse_query(parameters), None, 5)
            assert source.looked_count <= 25


def test_more_events_than_a_query_takes_are_no_answer() -> None:
    source = MemorySource([{"bizStep": "packing"}] * 5)
    search = EventSearch(source, source.show)

    with pytest.raises(QueryTooLarge, match="more than 4 events fit"):
        search.events(parse_query([("maxEventCount", "4")]), None, 2)
    assert len(search.events(parse_query([("maxEventCount", "5")]), None, 9).rows) == 5


def test_an_event_without_an_id_is_told_by_its_hash_and_found_by_it() -> None:
    source = MemorySource([{"bizStep": "packing"}, {"eventID": "urn:uuid:1"}])
    search = EventSearch(source, source.show)

    told = search.events(parse_query([]), None, 9).rows
    assert [event["eventID"] for event in told] == ["urn:uuid:1", "urn:1"]
    for wanted in ("urn:1", "urn:uuid:1", "urn:4"):
        assert len(search.events(parse_query([("EQ_eventID", wanted)]), None, 9).rows) == 1


def test_values_are_told_once_a_page_and_none_is_lost_between_pages() -> None:
    source = MemorySource([{"epcList": ["a", "b", "a"]}, {"epcList": ["b", "c"]}, {"epcList": []}])
    search = EventSearch(source, source.show)

    def values(event: Any) -> Any:
        return iter(event["epcList"])

    got, cursor = [], None
    for _ in range(10):
        page = search.values(parse_query([]).index, values, cursor, 2)
        got.append(page.rows)
        cursor = page.next
        if cursor is None:
            break
    assert got == [["a", "b"], ["b", "c"]]


def test_a_token_is_good_for_its_own_question_for_an_hour_and_unchanged() -> None:
    clock = [1_000]
    tokens = PageTokens(lambda: clock[0])
    cursor = Cursor(resumes=(b"\x00\x01", b""), index=7, row=2, time=-5, told_count=3)
    token = tokens.make(cursor, ["/events", []])

    assert tokens.read(token.text, ["/events", []]) == cursor
    assert token.ends_ms == 1_000 + 3_600_000
    changed = token.text[:-4] + "AAAA"
    for text, question in (
        (token.text, ["/events", [["EQ_bizStep", "a"]]]),
        (changed, ["/events", []]),
        ("", ["/events", []]),
        ("x" * 9_000, ["/events", []]),
        ("\xff", ["/events", []]),
    ):
        with pytest.raises(QueryParameterRefused, match="was not given for this question"):
            tokens.read(text, question)
    with pytest.raises(QueryParameterRefused, match="was not given for this question"):
        PageTokens().read(token.text, ["/events", []])
    clock[0] = token.ends_ms + 1
    with pytest.raises(QueryParameterRefused, match="has ended"):
        tokens.read(token.text, ["/events", []])
