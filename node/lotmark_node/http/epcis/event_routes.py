"""The routes by which EPCIS events are looked up: by query, by id, by what they name."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Path, Request, Response

from lotmark_adapters.epcis_vocabulary import BUSINESS_STEP, DISPOSITION
from lotmark_node.http.api_keys import May, now_ms
from lotmark_node.http.epcis.answers import (
    EVERYWHERE,
    PAGE_PARAMETERS,
    Admission,
    answered,
    epcis_answer,
    page_headers,
    read_page,
)
from lotmark_node.http.epcis.discovery import Negotiated, add_options
from lotmark_node.http.epcis.event_desk import EventDesk
from lotmark_node.http.epcis.event_fields import (
    Event,
    item_ids,
    place_ids,
)
from lotmark_node.http.epcis.event_query import Asked, SimpleEventQuery
from lotmark_node.http.epcis.negotiation import namespaces
from lotmark_node.http.epcis.page_token import PageTokens
from lotmark_node.http.epcis.parameter_list import QUERY_PARAMETERS
from lotmark_node.http.epcis.query_document import (
    COLLECTION_SCHEMA,
    QUERY_DOCUMENT_SCHEMA,
    collection,
    query_document,
)
from lotmark_node.http.epcis.query_parameters import parse_query
from lotmark_node.http.epcis.standard_parameters import (
    EVENT_TYPES,
    names_item,
    standard_parameter,
)
from lotmark_node.http.errors import NoSuchResource, QueryParameterRefused
from lotmark_node.http.problems import problem_answers

_EVENTS: dict[str, Any] = {
    "responses": {
        200: answered(QUERY_DOCUMENT_SCHEMA, paged=True),
        **EVERYWHERE,
        **problem_answers(400, 413, 501),
    },
    "openapi_extra": {"parameters": [*PAGE_PARAMETERS, *QUERY_PARAMETERS]},
}
_EVENT_ID_END = "?ver=CBV2.0"  # of an event ID that is a hash; clients often leave it unescaped


def add_events(router: APIRouter, may: Admission, desk: EventDesk, tokens: PageTokens) -> None:
    """Add the routes.

    Args:
        router: To add them to.
        may: Makes what a route depends on.
        desk: Looks events up.
        tokens: Of pages.
    """
    allowed = may(May.QUERY)
    add_options(router, may, "/events", methods=("GET", "POST"))

    @router.get("/events", dependencies=[allowed], **_EVENTS)
    def events(request: Request, media_type: Negotiated) -> Response:
        """Query events; what is asked for is said by parameters."""
        return _events(request, desk, tokens, media_type, None)

    add_options(router, may, "/events/{eventID:path}")

    @router.get(
        "/events/{eventID:path}",
        dependencies=[allowed],
        responses={
            200: answered(QUERY_DOCUMENT_SCHEMA),
            **EVERYWHERE,
            **problem_answers(400, 404, 413),
        },
    )
    def event(
        request: Request,
        eventID: Annotated[str, Path(description="percent-encoded")],  # noqa: N803  # EPCIS's
        media_type: Negotiated,
    ) -> Response:
        """Look an event up, with what declares it to be in error."""
        if eventID.startswith("ni:") and f"?{request.url.query}" == _EVENT_ID_END:
            eventID += _EVENT_ID_END  # noqa: N806
        found = desk.event(eventID)
        return epcis_answer(query_document(found, now_ms=now_ms()), media_type)

    for resource in _RESOURCES:
        _add_resource(router, may, desk, tokens, resource)


# What events name


class _Resource(NamedTuple):
    """Something that events name, with the events that name it."""

    path: str
    name: str  # of one value in a path
    description: str
    asks: Callable[[str], Asked | None]  # for the events that name a value
    known: tuple[str, ...] = ()  # values that there are always
    bare: Callable[[str], str] = str  # gives the form in which they are known
    values: Callable[[Event], Iterator[str]] | None = None  # where they are found


_RESOURCES = (
    _Resource(
        "eventTypes",
        "eventType",
        "Types of events.",
        lambda value: standard_parameter("eventType", [value]),
        known=EVENT_TYPES,
        bare=str,
    ),
    _Resource(
        "epcs",
        "epc",
        "Things and classes of things that events name.",
        names_item,
        values=item_ids,
    ),
    _Resource(
        "bizSteps",
        "bizStep",
        "Business steps of the CBV; events may name others.",
        lambda value: standard_parameter("EQ_bizStep", [value]),
        known=tuple(sorted(BUSINESS_STEP.names)),
        bare=BUSINESS_STEP.bare,
    ),
    _Resource(
        "bizLocations",
        "bizLocation",
        "Business locations that events name.",
        lambda value: standard_parameter("EQ_bizLocation", [value]),
        values=lambda event: place_ids(event, "bizLocation"),
    ),
    _Resource(
        "readPoints",
        "readPoint",
        "Read points that events name.",
        lambda value: standard_parameter("EQ_readPoint", [value]),
        values=lambda event: place_ids(event, "readPoint"),
    ),
    _Resource(
        "dispositions",
        "disposition",
        "Dispositions of the CBV; events may name others.",
        lambda value: standard_parameter("EQ_disposition", [value]),
        known=tuple(sorted(DISPOSITION.names)),
        bare=DISPOSITION.bare,
    ),
)


def _add_resource(
    router: APIRouter, may: Admission, desk: EventDesk, tokens: PageTokens, resource: _Resource
) -> None:
    """Add the routes of a list, of one value in it and of that value's events."""
    allowed = may(May.QUERY)
    listed = f"/{resource.path}"
    one = f"{listed}/{{{resource.name}:path}}"
    value_in_path = Annotated[
        str, Path(alias=resource.name, description="percent-encoded", min_length=1)
    ]
    for path in (listed, f"{one}/events", one):
        add_options(router, may, path)

    @router.get(
        listed,
        dependencies=[allowed],
        responses={
            200: answered(COLLECTION_SCHEMA, paged=True),
            **EVERYWHERE,
            **problem_answers(400, 413),
        },
        openapi_extra={"parameters": PAGE_PARAMETERS},
        summary=resource.description,
        operation_id=f"list {resource.path}",
    )
    def values(request: Request, media_type: Negotiated) -> Response:
        asked = read_page(request, tokens)
        if asked.parameters:
            raise QueryParameterRefused(f"parameter {asked.parameters[0][0][:60]!a} is unknown")
        if resource.values is None:
            return epcis_answer(collection(resource.known), media_type)
        page = desk.values(resource.values, asked.cursor, asked.per_page)
        headers = page_headers(asked, page.next, tokens)
        return epcis_answer(collection(page.rows), media_type, headers=headers)

    @router.get(
        f"{one}/events",
        dependencies=[allowed],
        summary=f"Query events by {resource.name}.",
        operation_id=f"events of {resource.path}",
        **{**_EVENTS, "responses": {**_EVENTS["responses"], **problem_answers(404)}},
    )
    def events_of(request: Request, value: value_in_path, media_type: Negotiated) -> Response:
        return _events(request, desk, tokens, media_type, _asked(resource, value))

    @router.get(
        one,
        dependencies=[allowed],
        responses={
            200: answered(COLLECTION_SCHEMA),
            **EVERYWHERE,
            **problem_answers(400, 404, 413),
        },
        summary=f"Tell what there is of a {resource.name}: its events.",
        operation_id=f"one of {resource.path}",
    )
    def one_of(value: value_in_path, media_type: Negotiated) -> Response:
        asked = _asked(resource, value)
        if resource.bare(value) not in resource.known and not desk.has(
            SimpleEventQuery().and_also(asked)
        ):
            raise NoSuchResource(f"no event names {resource.name} {value[:100]!a}")
        return epcis_answer(collection(["events"]), media_type)


def _asked(resource: _Resource, value: str) -> Asked:
    try:
        asked = resource.asks(value)
    except QueryParameterRefused as error:
        raise NoSuchResource(f"{value[:100]!a} is no {resource.name}: {error}") from error
    assert asked is not None, "the resources ask for what is known"
    return asked


def _events(
    request: Request, desk: EventDesk, tokens: PageTokens, media_type: str, further: Asked | None
) -> Response:
    """Answer a query with a page of its events."""
    page_asked = read_page(request, tokens)
    extensions = request.headers.get("GS1-Extensions", "")
    query = parse_query(page_asked.parameters, namespaces=namespaces(extensions))
    if further is not None:
        query = query.and_also(further)
    page = desk.events(query, page_asked.cursor, page_asked.per_page)
    document = query_document(page.rows, now_ms=now_ms())
    headers = page_headers(page_asked, page.next, tokens)
    return epcis_answer(document, media_type, headers=headers)
