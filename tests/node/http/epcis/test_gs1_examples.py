"""The documents that GS1 publishes with the standard, captured over HTTP and queried back."""

from pathlib import Path
from typing import Any

import pytest

from lotmark.document_fields import Place
from lotmark_adapters.epcis_document import EpcisEvent, split_document
from lotmark_adapters.epcis_hash import event_hash_uri
from lotmark_node.http.epcis.capture_reading import twins
from tests.node.http.epcis.epcis_endpoint import EpcisEndpoint
from tests.shared_vectors import require_shared, shared_folder

FOLDER = "data/gs1-epcis/JSON"
# What two readers could take differently is no evidence of anything.
REFUSED = {
    "AssociationEvent/AssociationEvent-h.jsonld": "object key 'eventID' stands twice in one object"
}


def documents() -> list[str]:
    folder = shared_folder()
    if folder is None:
        return ["all"]
    return sorted(
        path.relative_to(folder / FOLDER).as_posix() for path in (folder / FOLDER).rglob("*.jsonld")
    )


@pytest.mark.parametrize("name", documents())
def test_a_published_document_is_captured_and_comes_back_with_equal_hashes(
    endpoint: EpcisEndpoint, name: str
) -> None:
    raw = require_shared(f"{FOLDER}/{name}").read_bytes()
    answer = endpoint.capture(raw)
    if name in REFUSED:
        assert (answer.code, answer.body["detail"]) == (400, f"document: {REFUSED[name]}")
        return
    assert answer.code == 202, answer
    job = endpoint.finished(answer.headers["location"])
    assert job["success"], job["errors"]

    sent = [each for each in split_document(raw, Place(name)) if isinstance(each, EpcisEvent)]
    assert [each["eventID"] for each in job["events"]] == [event_hash_uri(e.hash) for e in sent]
    for event, result in zip(sent, job["events"], strict=True):
        assert result["result"] in ("accepted", "known")
        told = split_document(endpoint.event_document(result["eventID"]), Place("answer"))
        back = [each for each in told if isinstance(each, EpcisEvent)]
        (same,) = [each for each in back if twins([each]) == twins([event])]
        assert same.hash == event.hash
        if result["result"] == "accepted":  # else it is there as another document wrote it
            assert as_captured(same) == as_captured(event)
        assert {"eventID", "recordTime"} <= set(same.members)


def as_captured(event: EpcisEvent) -> dict[str, Any]:
    """Return the members of an event but the ledger's time, and an id that is its hash's."""
    members = {name: value for name, value in event.members.items() if name != "recordTime"}
    if members.get("eventID") == event_hash_uri(event.hash):
        del members["eventID"]
    return members


def test_all_47_are_there() -> None:
    require_shared(FOLDER)
    assert len(documents()) == 47
    assert Path(documents()[0]).suffix == ".jsonld"
