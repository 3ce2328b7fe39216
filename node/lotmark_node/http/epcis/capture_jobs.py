"""Capture jobs in a file of the node: what was given to be captured, and what became of it.

A job is on disk before its caller hears of it, with the very bytes that go to the ledger, so that
a node that starts again goes on where it ended and sends nothing a second time.
"""

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from pathlib import Path

from lotmark_node.http.api_keys import now_ms
from lotmark_node.http.errors import Busy, CaptureJobsUnusable

FORMAT = 1
JOBS_MAX = 10_000
EVENTS_MAX = 1_000_000  # of all jobs
WAITING_SIZE_MAX = 256 << 20  # bytes of events that are not on the ledger yet
FINISHED_KEPT_MS = 30 * 86_400_000
DETAIL_SIZE_MAX = 1_000  # characters
REFUSED_LISTED_MAX = 10  # of a job in a list of jobs

_ID_SIZE = 16
_TABLES = """\
CREATE TABLE about (chain_id BLOB NOT NULL);
CREATE TABLE job (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    caller TEXT NOT NULL,
    behaviour TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    finished_ms INTEGER
);
CREATE INDEX job_of_caller ON job (caller, number);
CREATE INDEX job_finished ON job (finished_ms);
CREATE TABLE event (
    job INTEGER NOT NULL REFERENCES job (number),
    position INTEGER NOT NULL,
    state INTEGER NOT NULL,
    hash BLOB,
    twin BLOB,
    raw BLOB,
    event_id BLOB,
    entry INTEGER,
    problem TEXT,
    detail TEXT,
    PRIMARY KEY (job, position)
) WITHOUT ROWID;
CREATE INDEX event_waiting ON event (position, job) WHERE state = 0"""
_SELECT_JOB = """\
SELECT number, id, behaviour, created_ms, finished_ms,
    (SELECT count(*) FROM event WHERE job = number AND state = 0),
    (SELECT count(*) FROM event WHERE job = number AND state = 3)
FROM job"""
_SELECT_EVENT = "SELECT position, state, hash, event_id, entry, problem, detail FROM event"


class Behaviour(StrEnum):
    """What becomes of the sound events of a job that has others, too."""

    ROLLBACK = "rollback"  # none is sent
    PROCEED = "proceed"  # they are sent


class EventState(IntEnum):
    """What became of an event; part of the file's format."""

    WAITING = 0  # for the ledger
    ACCEPTED = 1
    KNOWN = 2  # the same event was on the ledger before
    REFUSED = 3
    NOT_SENT = 4  # since another one of its job was refused


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundEvent:
    """An event that has passed the checks."""

    raw: bytes  # the ledger's event
    event_hash: bytes  # CBV 2.0
    twin: bytes  # digest of what two events have in common that are the same


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedEvent:
    """An event that has not, or that the ledger has refused."""

    problem: str  # its name in the standard
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """An event of a job, as far as it has come."""

    position: int
    state: EventState
    event_hash: bytes | None  # None: it could not be read
    event_id: bytes | None  # the ledger's
    entry: int | None
    problem: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureJob:
    """A capture job."""

    number: int  # ascending in the order in which they came
    id: str
    behaviour: Behaviour
    created_ms: int
    finished_ms: int | None
    waiting_count: int
    refused_count: int
    events: tuple[JobEvent, ...]  # in a list of jobs the first that were refused

    @property
    def is_running(self) -> bool:
        """Whether something of it is still to be done."""
        return self.finished_ms is None


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event on its way to the ledger."""

    job: int
    position: int
    event_hash: bytes
    twin: bytes
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a waiting event."""

    event: WaitingEvent
    state: EventState
    event_id: bytes | None = None
    entry: int | None = None
    problem: str = ""
    detail: str = ""


class CaptureJobs:
    """The open file; any thread may call it."""

    def __init__(
        self, path: Path, *, chain_id: bytes, clock_ms: Callable[[], int] = now_ms
    ) -> None:
        """Open the file, or make it.

        Raises:
            CaptureJobsUnusable: It is another chain's, in use, damaged, or cannot be written.
        """
        self._path = path
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._job_count = self._event_count = self._waiting_size = 0
        with self._errors():
            self._database = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False
            )
        try:
            with self._errors():
                self._open(chain_id)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    # Callers

    def add(
        self, caller: str, behaviour: Behaviour, events: Sequence[SoundEvent | RefusedEvent]
    ) -> str:
        """Store a job and return its id; by rollback, one refused event ends it at once.

        Raises:
            Busy: As much waits for the ledger as may.
            CaptureJobsUnusable: It could not be stored.
        """
        refused = any(isinstance(event, RefusedEvent) for event in events)
        sound = EventState.WAITING
        if refused and behaviour is Behaviour.ROLLBACK:
            sound = EventState.NOT_SENT
        waits = sound is EventState.WAITING and any(
            isinstance(event, SoundEvent) for event in events
        )
        job_id, created_ms = secrets.token_hex(_ID_SIZE), self._clock_ms()
        with self._writing() as run:
            self._make_room(run, events)
            number = run(
                "INSERT INTO job (id, caller, behaviour, created_ms, finished_ms)"
                " VALUES (?, ?, ?, ?, ?)",
                (job_id, caller, behaviour, created_ms, None if waits else created_ms),
            ).lastrowid
            assert number is not None, "a row was inserted"
            self._database.executemany(
                "INSERT INTO event (job, position, state, hash, twin, raw, problem, detail)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                ((number, position, *_row(event, sound)) for position, event in enumerate(events)),
            )
            self._job_count += 1
            self._event_count += len(events)
            self._waiting_size += _size(events) if waits else 0
        return job_id

    def job(self, job_id: str, caller: str) -> CaptureJob | None:
        """Return a job with its events, if it is the caller's."""
        with self._lock, self._errors():
            jobs = self._jobs("WHERE id = ? AND caller = ?", job_id, caller)
            if not jobs:
                return None
            (job,) = jobs
            return replace(job, events=self._events("WHERE job = ? ORDER BY position", job.number))

    def jobs(self, caller: str, *, before: int, count_max: int) -> list[CaptureJob]:
        """Return the caller's jobs before a number, newest first, with some refused events."""
        refused = "WHERE job = ? AND state = 3 ORDER BY position LIMIT ?"
        with self._lock, self._errors():
            jobs = self._jobs(
                "WHERE caller = ? AND number < ? ORDER BY number DESC LIMIT ?",
                caller,
                before,
                count_max,
            )
            return [
                replace(job, events=self._events(refused, job.number, REFUSED_LISTED_MAX))
                if job.refused_count
                else job
                for job in jobs
            ]

    # The capture desk

    def waiting(self, count_max: int) -> list[WaitingEvent]:
        """Return events to send next: those of a job in order, of several jobs by turns."""
        with self._lock, self._errors():
            rows = self._database.execute(
                "SELECT job, position, hash, twin, raw FROM event WHERE state = 0"
                " ORDER BY position, job LIMIT ?",
                (count_max,),
            ).fetchall()
        return [WaitingEvent(*row) for row in rows]

    def settle(self, results: Sequence[Settled]) -> None:
        """Note what became of waiting events; a job without any more is finished."""
        with self._writing() as run:
            for each in results:
                updated = run(
                    "UPDATE event SET state = ?, event_id = ?, entry = ?, problem = ?, detail = ?,"
                    " raw = NULL, twin = NULL WHERE job = ? AND position = ? AND state = 0",
                    (
                        each.state,
                        each.event_id,
                        each.entry,
                        each.problem or None,
                        each.detail[:DETAIL_SIZE_MAX] or None,
                        each.event.job,
                        each.event.position,
                    ),
                )
                self._waiting_size -= len(each.event.raw) * updated.rowcount
            for job in {each.event.job for each in results}:
                run(
                    "UPDATE job SET finished_ms = ? WHERE number = ? AND finished_ms IS NULL AND"
                    " NOT EXISTS (SELECT 1 FROM event WHERE job = number AND state = 0)",
                    (self._clock_ms(), job),
                )

    # The file

    def _open(self, chain_id: bytes) -> None:
        run = self._database.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("BEGIN EXCLUSIVE")
        (version,) = run("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _TABLES.split(";\n"):
                run(statement)
            run("INSERT INTO about VALUES (?)", (chain_id,))
            run(f"PRAGMA user_version = {FORMAT}")
        elif version != FORMAT:
            raise CaptureJobsUnusable(
                f"{self._path} has format {version}; this release knows {FORMAT}: update it"
            )
        (known,) = run("SELECT chain_id FROM about").fetchone()
        run("COMMIT")
        self._count()
        if known != chain_id:
            raise CaptureJobsUnusable(
                f"{self._path} has the capture jobs of chain {known.hex()}, not of"
                f" {chain_id.hex()}; move it away"
            )

    def _jobs(self, rest: str, *values: object) -> list[CaptureJob]:
        rows = self._database.execute(f"{_SELECT_JOB} {rest}", values).fetchall()
        return [
            CaptureJob(
                number=number,
                id=job_id,
                behaviour=Behaviour(behaviour),
                created_ms=created_ms,
                finished_ms=finished_ms,
                waiting_count=waiting,
                refused_count=refused,
                events=(),
            )
            for number, job_id, behaviour, created_ms, finished_ms, waiting, refused in rows
        ]

    def _events(self, rest: str, *values: object) -> tuple[JobEvent, ...]:
        rows = self._database.execute(f"{_SELECT_EVENT} {rest}", values).fetchall()
        return tuple(
            JobEvent(
                position=position,
                state=EventState(state),
                event_hash=event_hash,
                event_id=event_id,
                entry=entry,
                problem=problem or "",
                detail=detail or "",
            )
            for position, state, event_hash, event_id, entry, problem, detail in rows
        )

    def _make_room(
        self, run: Callable[..., sqlite3.Cursor], events: Sequence[SoundEvent | RefusedEvent]
    ) -> None:
        """Forget finished jobs that are old or, oldest first, too many.

        Raises:
            Busy: Those that are not finished are too many.
        """
        size = _size(events)
        if self._waiting_size and self._waiting_size + size > WAITING_SIZE_MAX:
            raise Busy(
                f"{self._waiting_size} bytes of captured events wait for the ledger, of at most"
                f" {WAITING_SIZE_MAX}; try again when the node takes events again"
            )
        self._forget(run, "WHERE finished_ms < ?", self._clock_ms() - FINISHED_KEPT_MS)
        while self._job_count >= JOBS_MAX or (
            self._event_count and self._event_count + len(events) > EVENTS_MAX
        ):
            oldest = run(
                "SELECT max(number) FROM (SELECT number FROM job WHERE finished_ms IS NOT NULL"
                " ORDER BY number LIMIT 100)"
            ).fetchone()[0]
            if oldest is None:
                raise Busy(
                    f"{self._job_count} capture jobs with {self._event_count} events are not"
                    f" finished; at most {JOBS_MAX} and {EVENTS_MAX} are kept; try again later"
                )
            self._forget(run, "WHERE finished_ms IS NOT NULL AND number <= ?", oldest)

    def _forget(self, run: Callable[..., sqlite3.Cursor], which: str, value: int) -> None:
        found = f"SELECT number FROM job {which}"  # noqa: S608  # our own words
        if run(f"{found} LIMIT 1", (value,)).fetchone() is not None:
            run(f"DELETE FROM event WHERE job IN ({found})", (value,))  # noqa: S608
            run(f"DELETE FROM job {which}", (value,))  # noqa: S608
            self._count()

    def _count(self) -> None:
        """Count what is in the file; later changes are added up."""
        run = self._database.execute
        (self._job_count,) = run("SELECT count(*) FROM job").fetchone()
        (self._event_count,) = run("SELECT count(*) FROM event").fetchone()
        (self._waiting_size,) = run(
            "SELECT coalesce(sum(length(raw)), 0) FROM event WHERE state = 0"
        ).fetchone()

    @contextmanager
    def _writing(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """Change the file: all of it, on disk at the end, or nothing."""
        with self._lock, self._errors():
            run = self._database.execute
            run("BEGIN IMMEDIATE")
            try:
                yield run
                run("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    run("ROLLBACK")
                self._count()
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise CaptureJobsUnusable(
                f"{self._path} cannot be used ({error}); it must be a file of this node alone, on"
                " a disk with room"
            ) from error


def _size(events: Sequence[SoundEvent | RefusedEvent]) -> int:
    return sum(len(event.raw) for event in events if isinstance(event, SoundEvent))


def _row(event: SoundEvent | RefusedEvent, sound: EventState) -> tuple[object, ...]:
    """Return state, hash, twin, raw, problem and detail of a new event."""
    match event:
        case SoundEvent():
            kept = event.raw if sound is EventState.WAITING else None
            return sound, event.event_hash, event.twin, kept, None, None
        case RefusedEvent():
            detail = event.detail[:DETAIL_SIZE_MAX]
            return EventState.REFUSED, None, None, None, event.problem, detail
