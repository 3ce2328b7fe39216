"""What the EPCIS interface says of itself: resources, versions, bounds, what is not served."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from lotmark_adapters.epcis_export import LOTMARK_NAMESPACE
from lotmark_node.http.epcis.answers import (
    EVERYWHERE,
    VERSION_HEADERS,
    Admission,
    answered,
    epcis_answer,
    negotiated,
)
from lotmark_node.http.epcis.negotiation import CBV_VERSION, EPCIS_VERSION, KEPT_FORM
from lotmark_node.http.epcis.query_document import COLLECTION_SCHEMA, collection
from lotmark_node.http.errors import EpcisNotImplemented
from lotmark_node.http.problems import problem_answers

TOP_LEVEL = (
    "capture",
    "events",
    "eventTypes",
    "epcs",
    "bizSteps",
    "bizLocations",
    "readPoints",
    "dispositions",
)
DISCOVERY_HEADERS = {
    **VERSION_HEADERS,
    "GS1-EPCIS-Min": EPCIS_VERSION,
    "GS1-EPCIS-Max": EPCIS_VERSION,
    "GS1-CBV-Min": CBV_VERSION,
    "GS1-CBV-Max": CBV_VERSION,
    "GS1-EPC-Format": KEPT_FORM,
    "GS1-CBV-XML-Format": KEPT_FORM,
    "GS1-Extensions": f"lotmark={LOTMARK_NAMESPACE}",
    "GS1-Vendor-Version": f"lotmark {version('lotmark')}",
}
NOT_SERVED = (
    ("/queries", ("GET", "POST", "OPTIONS")),
    ("/queries/{queryName}", ("GET", "DELETE", "OPTIONS")),
    ("/queries/{queryName}/events", ("GET", "OPTIONS")),
    ("/queries/{queryName}/subscriptions", ("GET", "POST", "OPTIONS")),
    ("/queries/{queryName}/subscriptions/{subscriptionID}", ("GET", "DELETE", "OPTIONS")),
    ("/nextPageToken/{token}", ("DELETE",)),
)

Negotiated = Annotated[str, Depends(negotiated)]


def add_discovery(router: APIRouter, may: Admission) -> None:
    """Add the list of resources, and the routes of the standard that are not served."""
    add_options(router, may, "/")

    @router.get(
        "/",
        dependencies=[may(None)],
        responses={200: answered(COLLECTION_SCHEMA), **EVERYWHERE},
        summary="List the resources.",
    )
    def top_level(media_type: Negotiated) -> Response:
        return epcis_answer(collection(TOP_LEVEL), media_type)

    for path, methods in NOT_SERVED:
        for method in methods:
            _add_not_served(router, may, path, method)


def add_options(
    router: APIRouter,
    may: Admission,
    path: str,
    *,
    methods: Sequence[str] = ("GET",),
    headers: Mapping[str, str] | None = None,
) -> None:
    """Add the route by which a client finds out what a resource can do.

    Args:
        router: To add it to.
        may: Makes what the route depends on.
        path: Of the resource.
        methods: That it knows beside OPTIONS.
        headers: Further ones.
    """
    allow = ", ".join(sorted({*methods, "OPTIONS"}))
    told = {"Allow": allow, **DISCOVERY_HEADERS, **(headers or {})}
    described = {name: f"here: {text}" for name, text in told.items()}

    @router.api_route(
        path,
        methods=["OPTIONS"],
        dependencies=[may(None)],
        status_code=204,
        responses={204: answered(None, headers=described), **EVERYWHERE},
        summary="Tell versions, forms and bounds in headers.",
        operation_id=f"options {path}",
    )
    def options(_media_type: Negotiated) -> Response:
        return Response(status_code=204, headers=told)


def _add_not_served(router: APIRouter, may: Admission, path: str, method: str) -> None:
    @router.api_route(
        path,
        methods=[method],
        dependencies=[may(None)],
        status_code=501,
        responses={**EVERYWHERE, **problem_answers(501)},
        summary="Not served: named queries, subscriptions, release of tokens.",
        operation_id=f"not served {method} {path}",
    )
    def not_served(_request: Request) -> Response:
        raise EpcisNotImplemented(
            "named queries and subscriptions are not served: query /epcis/events with parameters,"
            " and go on from GE_recordTime of what was seen last"
        )
