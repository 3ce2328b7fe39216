"""The file of capture jobs: what it keeps, in which order it gives work, what it forgets."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark_node.http.epcis import capture_jobs
from lotmark_node.http.epcis.capture_jobs import (
    FINISHED_KEPT_MS,
    Behaviour,
    CaptureJobs,
    EventState,
    RefusedEvent,
    Settled,
    SoundEvent,
    WaitingEvent,
)
from lotmark_node.http.errors import Busy, CaptureJobsUnusable

CHAIN = bytes(32)
BAD = RefusedEvent(problem="epcisException:ValidationException", detail="eventList[1]: bad")


def sound(name: str, size: int = 10) -> SoundEvent:
    raw = name.encode().ljust(size, b".")
    return SoundEvent(raw=raw, event_hash=name.encode(), twin=name.encode())


def accepted(event: WaitingEvent, entry: int = 7) -> Settled:
    return Settled(event=event, state=EventState.ACCEPTED, event_id=b"id", entry=entry)


class Clock:
    now_ms = 1_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(tmp_path: Path, clock: Clock) -> Iterator[CaptureJobs]:
    opened = CaptureJobs(tmp_path / "jobs.db", chain_id=CHAIN, clock_ms=clock)
    yield opened
    opened.close()


def add(
    jobs: CaptureJobs,
    *events: SoundEvent | RefusedEvent,
    behaviour: Behaviour = Behaviour.PROCEED,
    caller: str = "key erp",
) -> str:
    return jobs.add(caller, behaviour, events)


def states(jobs: CaptureJobs, job_id: str) -> list[EventState]:
    job = jobs.job(job_id, "key erp")
    assert job is not None
    return [event.state for event in job.events]


def test_a_job_is_finished_with_its_last_event_and_remembers_each(
    jobs: CaptureJobs, clock: Clock
) -> None:
    job_id = add(jobs, sound("a"), BAD, sound("b"))
    first, second = jobs.waiting(10)
    clock.now_ms = 2_000
    jobs.settle([accepted(first)])
    job = jobs.job(job_id, "key erp")
    assert job is not None
    assert (job.is_running, job.waiting_count, job.refused_count) == (True, 1, 1)

    jobs.settle([Settled(event=second, state=EventState.KNOWN, event_id=b"id2", entry=3)])
    job = jobs.job(job_id, "key erp")
    assert job is not None
    assert (job.created_ms, job.finished_ms, job.is_running) == (1_000, 2_000, False)
    assert [(each.state, each.entry, each.detail) for each in job.events] == [
        (EventState.ACCEPTED, 7, ""),
        (EventState.REFUSED, None, "eventList[1]: bad"),
        (EventState.KNOWN, 3, ""),
    ]
    assert jobs.waiting(10) == []


def test_by_rollback_one_refused_event_ends_the_job(jobs: CaptureJobs) -> None:
    job_id = add(jobs, sound("a"), BAD, behaviour=Behaviour.ROLLBACK)

    assert states(jobs, job_id) == [EventState.NOT_SENT, EventState.REFUSED]
    assert jobs.waiting(10) == []
    job = jobs.job(job_id, "key erp")
    assert job is not None
    assert not job.is_running


def test_a_job_of_refused_events_alone_is_finished_at_once(jobs: CaptureJobs) -> None:
    job = jobs.job(add(jobs, BAD), "key erp")

    assert job is not None
    assert not job.is_running


def test_what_waits_survives_with_the_very_bytes(tmp_path: Path) -> None:
    first = CaptureJobs(tmp_path / "jobs.db", chain_id=CHAIN)
    job_id = add(first, sound("a"), sound("b"))
    first.settle([accepted(first.waiting(1)[0])])
    first.close()

    second = CaptureJobs(tmp_path / "jobs.db", chain_id=CHAIN)
    try:
        assert [each.raw for each in second.waiting(10)] == [sound("b").raw]
        assert states(second, job_id) == [EventState.ACCEPTED, EventState.WAITING]
    finally:
        second.close()


def test_a_large_job_does_not_hold_up_a_small_one(jobs: CaptureJobs) -> None:
    add(jobs, *(sound(f"large-{number}") for number in range(50)))
    add(jobs, sound("small"))

    assert sound("small").raw in [each.raw for each in jobs.waiting(4)]


def test_what_became_of_an_event_is_noted_once(jobs: CaptureJobs) -> None:
    job_id = add(jobs, sound("a"))
    (event,) = jobs.waiting(1)
    jobs.settle([accepted(event, 7)])
    jobs.settle([accepted(event, 8)])

    job = jobs.job(job_id, "key erp")
    assert job is not None
    assert job.events[0].entry == 7


def test_a_job_is_shown_to_its_own_caller_alone(jobs: CaptureJobs) -> None:
    job_id = add(jobs, sound("a"))

    assert jobs.job(job_id, "key board") is None
    assert jobs.jobs("key board", before=2**62, count_max=9) == []
    assert [each.id for each in jobs.jobs("key erp", before=2**62, count_max=9)] == [job_id]


def test_a_list_of_jobs_has_the_first_refused_events_of_each(
    jobs: CaptureJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_jobs, "REFUSED_LISTED_MAX", 2)
    add(jobs, sound("a"), BAD, BAD, sound("b"), BAD)
    add(jobs, sound("c"))

    listed = jobs.jobs("key erp", before=2**62, count_max=9)
    assert [[event.position for event in job.events] for job in listed] == [[], [1, 2]]


# Bounds


def finish_all(jobs: CaptureJobs) -> None:
    while waiting := jobs.waiting(100):
        jobs.settle([accepted(event) for event in waiting])


def listed(jobs: CaptureJobs) -> list[str]:
    return [each.id for each in jobs.jobs("key erp", before=2**62, count_max=1_000)]


def test_of_too_many_jobs_the_oldest_finished_ones_are_forgotten(
    jobs: CaptureJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_jobs, "JOBS_MAX", 3)
    made = [add(jobs, sound(f"{number}")) for number in range(3)]
    with pytest.raises(Busy, match="3 capture jobs with 3 events are not finished"):
        add(jobs, sound("one more"))

    finish_all(jobs)
    new = add(jobs, sound("one more"))
    assert listed(jobs) == [new]
    assert jobs.job(made[0], "key erp") is None


def test_old_jobs_are_forgotten_when_they_are_finished(jobs: CaptureJobs, clock: Clock) -> None:
    finished, running = add(jobs, BAD), add(jobs, sound("a"))
    clock.now_ms += FINISHED_KEPT_MS + 1

    new = add(jobs, sound("b"))
    assert listed(jobs) == [new, running]
    assert finished not in listed(jobs)


def test_no_more_waits_than_may(jobs: CaptureJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_jobs, "WAITING_SIZE_MAX", 100)
    add(jobs, sound("a", 60))
    with pytest.raises(Busy, match="60 bytes of captured events wait for the ledger"):
        add(jobs, sound("b", 60))

    finish_all(jobs)
    add(jobs, sound("b", 60))
    assert [each.raw for each in jobs.waiting(9)] == [sound("b", 60).raw]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.lists(st.sampled_from(["sound", "bad"]), min_size=1, max_size=4) | st.integers(1, 5),
        max_size=20,
    )
)
def test_the_counts_are_those_of_a_file_that_is_counted_anew(
    tmp_path_factory: pytest.TempPathFactory, steps: Sequence[list[str] | int]
) -> None:
    path = tmp_path_factory.mktemp("jobs") / "jobs.db"
    jobs = CaptureJobs(path, chain_id=CHAIN, clock_ms=lambda: 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capture_jobs, "EVENTS_MAX", 12)
        for step in steps:
            if isinstance(step, int):
                jobs.settle([accepted(event) for event in jobs.waiting(step)])
                continue
            try:
                add(jobs, *(sound("x", 7) if each == "sound" else BAD for each in step))
            except Busy:
                finish_all(jobs)
    before = counts(jobs)
    jobs.close()
    again = CaptureJobs(path, chain_id=CHAIN)
    assert counts(again) == before
    again.close()


def counts(jobs: CaptureJobs) -> tuple[int, int, int]:
    return jobs._job_count, jobs._event_count, jobs._waiting_size


# The file


def test_a_file_of_another_chain_or_in_use_or_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    opened = CaptureJobs(path, chain_id=CHAIN)
    with pytest.raises(CaptureJobsUnusable, match=r"cannot be used .*locked"):
        CaptureJobs(path, chain_id=CHAIN)
    opened.close()
    with pytest.raises(CaptureJobsUnusable, match=f"the capture jobs of chain {CHAIN.hex()}"):
        CaptureJobs(path, chain_id=b"\x01" * 32)

    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(CaptureJobsUnusable, match="has format 9; this release knows 1"):
        CaptureJobs(path, chain_id=CHAIN)
    path.write_bytes(b"no database" * 100)
    with pytest.raises(CaptureJobsUnusable, match="cannot be used"):
        CaptureJobs(path, chain_id=CHAIN)
