"""A node that ends in the middle of a capture: the next one sees it through, nothing twice."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lotmark.client import Client, LedgerSession, read_client_settings
from lotmark_node.http.api_keys import now_ms
from lotmark_node.http.epcis.capture_jobs import Behaviour, CaptureJobs, SoundEvent
from lotmark_node.http.epcis.capture_reading import read_events
from lotmark_node.http.open import CAPTURE_JOBS_NAME
from tests.node.http.epcis.epcis_endpoint import EpcisEndpoint, document_of, object_event
from tests.node.http.http_node import PARTY, http_node
from tests.node.running_node import NodeProcess


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    with http_node(tmp_path / "c") as running:
        yield running


def ledger_entries(node: NodeProcess) -> list[int]:
    """Return the entries of all captured events, as the log has them."""
    with LedgerSession(read_client_settings(node.client(PARTY, "lims"))) as session:
        return [
            entry.head.index
            for entry in session.entries()
            if entry.event and b"ObjectEvent" in entry.event
        ]


def test_a_job_is_finished_by_the_next_node_and_each_event_is_there_once(
    node: NodeProcess,
) -> None:
    endpoint = EpcisEndpoint(node)
    sent = [object_event() for _ in range(400)]
    answer = endpoint.capture(document_of(*sent))
    assert answer.code == 202
    deadline_s = time.monotonic() + 20
    while not ledger_entries(node):  # a part of it is on the ledger, and a part is not
        assert time.monotonic() < deadline_s
    node.kill()
    node.start()

    job = endpoint.finished(answer.headers["location"])
    assert {each["result"] for each in job["events"]} == {"accepted"}
    entries = [each["entry"] for each in job["events"]]
    assert sorted(entries) == ledger_entries(node)
    assert len(set(entries)) == 400


def test_an_event_that_was_sent_and_not_noted_is_found_and_not_sent_again(
    node: NodeProcess,
) -> None:
    endpoint = EpcisEndpoint(node)
    read = read_events(
        document_raw(), "application/json", device="epcis", capture_mode="manual", now_ms=now_ms()
    )
    (event,) = [each for each in read if isinstance(each, SoundEvent)]
    # As a node leaves it that ends after the ledger took the event, and before it noted that.
    with Client(read_client_settings(node.client(PARTY, "lims"))) as client:
        entry = client.submit(event.raw).result(20).index
    assert node.stop() == 0
    jobs = CaptureJobs(node.data / CAPTURE_JOBS_NAME, chain_id=node.chain_id)
    job_id = jobs.add("key epcis", Behaviour.ROLLBACK, [event])
    jobs.close()
    node.start()

    job = endpoint.finished(f"/epcis/capture/{job_id}")
    assert [(each["result"], each["entry"]) for each in job["events"]] == [("accepted", entry)]
    assert ledger_entries(node) == [entry]


def document_raw() -> bytes:
    return json.dumps(object_event()).encode()
