"""The EPCIS interface of a node's HTTP endpoint, put together: desks, routes, headers."""

from dataclasses import dataclass

from fastapi import APIRouter, FastAPI

from lotmark_node.http.epcis.answers import Admission
from lotmark_node.http.epcis.capture_desk import CaptureDesk
from lotmark_node.http.epcis.capture_routes import CAPTURE_PATH as CAPTURE_PATH
from lotmark_node.http.epcis.capture_routes import MODE_HEADER, add_capture
from lotmark_node.http.epcis.discovery import DISCOVERY_HEADERS, add_discovery
from lotmark_node.http.epcis.event_desk import EventDesk
from lotmark_node.http.epcis.event_routes import add_events
from lotmark_node.http.epcis.exceptions import PREFIX
from lotmark_node.http.epcis.page_token import PageTokens

REQUEST_HEADERS = (
    *(name for name in DISCOVERY_HEADERS if name != "GS1-Vendor-Version"),
    "GS1-Capture-Error-Behaviour",
    MODE_HEADER,
)
RESPONSE_HEADERS = (*DISCOVERY_HEADERS, "GS1-Next-Page-Token-Expires")


@dataclass(frozen=True, slots=True)
class EpcisDesks:
    """What does the work behind the routes."""

    capture: CaptureDesk
    events: EventDesk


def add_epcis(app: FastAPI, desks: EpcisDesks, may: Admission) -> None:
    """Add the routes of EPCIS to an application.

    Args:
        app: It.
        desks: Do the work.
        may: Makes what a route depends on, by what it needs.
    """
    router, tokens = APIRouter(prefix=PREFIX, tags=["EPCIS 2.0"]), PageTokens()
    add_discovery(router, may)
    add_capture(router, may, desks.capture, desks.events, tokens)
    add_events(router, may, desks.events, tokens)
    app.include_router(router)
