"""The capture desk where no node answers: what it takes waits, and callers are not held up."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from lotmark.client import read_client_settings
from lotmark_node.http.api_keys import now_ms
from lotmark_node.http.epcis import capture_desk
from lotmark_node.http.epcis.capture_desk import CaptureDesk
from lotmark_node.http.epcis.capture_jobs import Behaviour, EventState, RefusedEvent, SoundEvent
from lotmark_node.http.epcis.capture_reading import read_events
from lotmark_node.http.errors import Busy
from lotmark_node.http.open import open_desks
from tests.node.http.epcis.epcis_endpoint import document_of, object_event, raw_json
from tests.node.rpc.served_ledger import FoundedConsortium

CALLER = "key erp"


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> FoundedConsortium:
    return FoundedConsortium(tmp_path_factory.mktemp("desk") / "consortium")


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_desk, "READ_WAIT_S", 0.05)
    monkeypatch.setattr(capture_desk, "WAITERS_MAX", 1)


def opened(consortium: FoundedConsortium, folder: Path, stack: ExitStack) -> CaptureDesk:
    file = consortium.folder / "OEM-A/clients/erp/client.toml"
    file.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", file.read_text()))  # nobody's
    settings = replace(read_client_settings(file), outbox_file=folder / "outbox.db")
    return open_desks(settings, folder / "jobs.db", stack)[1].capture


@pytest.fixture
def desk(consortium: FoundedConsortium, tmp_path: Path, bounds: None) -> Iterator[CaptureDesk]:
    with ExitStack() as stack:
        yield opened(consortium, tmp_path, stack)


def read(count: int) -> list[SoundEvent | RefusedEvent]:
    document = document_of(*(object_event() for _ in range(count)))
    return read_events(
        raw_json(document),
        "application/json",
        device="erp",
        capture_mode="manual",
        now_ms=now_ms(),
    )


def test_what_was_taken_waits_and_is_there_for_the_next_desk(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        desk = opened(consortium, tmp_path, stack)
        job_id = desk.capture(CALLER, Behaviour.ROLLBACK, read(3))
        job = desk.finished(job_id, CALLER, timeout_s=0.1)
        assert job is not None
        assert [event.state for event in job.events] == [EventState.WAITING] * 3
    with ExitStack() as stack:
        job = opened(consortium, tmp_path, stack).job(job_id, CALLER)
        assert job is not None
        assert (job.is_running, job.waiting_count) == (True, 3)


def test_no_more_documents_are_read_at_once_than_may(desk: CaptureDesk) -> None:
    with ExitStack() as reading:
        for _ in range(capture_desk.READERS_MAX):
            reading.enter_context(desk.reading())
        with pytest.raises(Busy, match=r"2 documents are read, and none .* within 0\.05 s"):
            reading.enter_context(desk.reading())
    with desk.reading():
        pass  # there is a place again


def test_no_more_callers_wait_at_once_than_may(desk: CaptureDesk) -> None:
    job_id = desk.capture(CALLER, Behaviour.ROLLBACK, read(1))

    assert desk._waiters.acquire(blocking=False)  # as if another caller waited
    began_s = monotonic()
    job = desk.finished(job_id, CALLER, timeout_s=60)
    assert monotonic() - began_s < 30
    assert job is not None
    assert job.is_running
    desk._waiters.release()
