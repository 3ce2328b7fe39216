"""A node's EPCIS interface, as a supplier's system calls it."""

import json
import time
from collections.abc import Mapping
from copy import deepcopy
from itertools import count
from typing import Any
from urllib.parse import quote

from tests.node.http.http_node import Answer, call, make_key
from tests.node.running_node import NodeProcess

FINISHED_S = 30.0
CONTEXT = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"
GTIN = "04012345000016"

_NUMBERS = count(1)


class EpcisEndpoint:
    """A running node's interface, with a key that may capture and query."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        self.key = make_key(node, "epcis", may="capture,query")

    def call(self, method: str, path: str, **options: Any) -> Answer:
        """Make a request below /epcis."""
        address = self.node.ready["http"]
        return call(address, method, f"/epcis{path}", **{"key": self.key, **options})

    def capture(self, document: object, **options: Any) -> Answer:
        """Send a document to be captured."""
        return self.call("POST", "/capture", body=raw_json(document), **options)

    def capture_one(self, event: object, **options: Any) -> Answer:
        """Send a single event."""
        return self.call("POST", "/events", body=raw_json(event), **options)

    def captured(self, document: object, *, behaviour: str = "rollback") -> dict[str, Any]:
        """Capture a document and return the finished job."""
        answer = self.capture(document, headers={"GS1-Capture-Error-Behaviour": behaviour})
        assert answer.code == 202, answer
        return self.finished(answer.headers["location"])

    def finished(self, location: str) -> dict[str, Any]:
        """Return a job once it is finished."""
        deadline_s = time.monotonic() + FINISHED_S
        while True:
            answer = self.call("GET", location.removeprefix("/epcis"))
            assert answer.code == 200, answer
            job: dict[str, Any] = answer.body
            if not job["running"]:
                return job
            assert time.monotonic() < deadline_s, job

    def events(self, query: str, path: str = "/events") -> list[dict[str, Any]]:
        """Return the events of all pages of a query."""
        found, url = [], f"{path}?{query}"
        while url:
            answer = self.call("GET", url)
            assert answer.code == 200, answer
            found += events_of(answer)
            url = next_page(answer).removeprefix("/epcis")
        return found

    def event_document(self, event_id: str) -> bytes:
        """Return the document of the event with an id."""
        answer = self.call("GET", f"/events/{quote(event_id, safe='')}")
        assert answer.code == 200, answer
        return answer.raw

    def event(self, event_id: str) -> list[dict[str, Any]]:
        """Return the events with an id."""
        answer = self.call("GET", f"/events/{quote(event_id, safe='')}")
        return events_of(answer) if answer.code == 200 else []


def events_of(answer: Answer) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = answer.body["epcisBody"]["queryResults"]["resultsBody"][
        "eventList"
    ]
    return events


def next_page(answer: Answer) -> str:
    """Return where the next page is; "": there is none."""
    link = answer.headers.get("link", "")
    return link.partition("<")[2].partition(">")[0]


def raw_json(document: object) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def new_epc() -> str:
    """Return the id of a unit that no other test names."""
    return f"https://id.gs1.org/01/{GTIN}/21/U{next(_NUMBERS)}"


def object_event(**members: Any) -> dict[str, Any]:
    """Return a sound event about a unit of its own."""
    event = {
        "@context": [CONTEXT],
        "type": "ObjectEvent",
        "action": "OBSERVE",
        "bizStep": "inspecting",
        "eventTime": "2026-01-12T08:00:00.000Z",
        "eventTimeZoneOffset": "+00:00",
        "epcList": [new_epc()],
        **members,
    }
    return {name: value for name, value in event.items() if value is not None}


def document_of(*events: Mapping[str, Any], context: Any = CONTEXT) -> dict[str, Any]:
    """Return a document of events, whose own contexts it takes away."""
    inner = [
        {k: v for k, v in deepcopy(dict(event)).items() if k != "@context"} for event in events
    ]
    return {
        "@context": context,
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": "2026-01-12T08:00:00Z",
        "epcisBody": {"eventList": inner},
    }
