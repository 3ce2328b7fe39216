"""Sees capture jobs through: what is on the ledger already is told, the rest is sent, once.

One thread works, a few events at a time, so that of two that are the same the second finds the
first one on the ledger. What it has sent is in the client's outbox; what became of it is noted in
the job. Whichever of the two a node that ends has seen last, the next one goes on from there.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from lotmark.client import (
    Client,
    ClientClosed,
    ClientError,
    Delivery,
    NotAcknowledgedYet,
    Outcome,
    SubmissionRefused,
)
from lotmark.client.provenance_records import EventQuery, FoundEvent
from lotmark.errors import ProtocolError
from lotmark.merkle import leaf_hash
from lotmark_node.http.epcis.candidates import EventSource
from lotmark_node.http.epcis.capture_jobs import (
    Behaviour,
    CaptureJob,
    CaptureJobs,
    EventState,
    RefusedEvent,
    Settled,
    SoundEvent,
    WaitingEvent,
)
from lotmark_node.http.epcis.exceptions import epcis_exception
from lotmark_node.http.errors import Busy
from lotmark_node.rpc.status import http_code_of_error

logger = logging.getLogger(__name__)

READERS_MAX = 2  # documents that are read at once
READ_WAIT_S = 5.0  # for one of them
WAITERS_MAX = 16  # callers that wait for one event at once; others are told of the job
GROUP_EVENTS = 128  # that are on their way at once
TWINS_MAX = 16  # events with one hash that are looked at
LOOK_S = 0.2  # after which a wait looks whether the desk is closed
RETRY_S = 1.0  # after which a node that does not answer is asked again
STOP_S = 10.0

Sources = Callable[[], AbstractContextManager[EventSource]]
TwinsOf = Callable[[FoundEvent], Sequence[bytes]]


class CaptureDesk:
    """Takes capture jobs and works on them; any thread may call it."""

    def __init__(
        self, jobs: CaptureJobs, client: Client, sources: Sources, twins_of: TwinsOf
    ) -> None:
        """Begin to work on what the last desk left.

        Args:
            jobs: The file of jobs; closed by whoever opened it, after the desk.
            client: Sends events; likewise.
            sources: Lends what finds events on the ledger.
            twins_of: Returns the twins of the EPCIS events that one on the ledger holds.
        """
        self._jobs = jobs
        self._client = client
        self._sources = sources
        self._twins_of = twins_of
        self._reading = threading.BoundedSemaphore(READERS_MAX)
        self._waiters = threading.BoundedSemaphore(WAITERS_MAX)
        self._changed = threading.Condition()
        self._is_closing = False
        self._has_work = True
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; what is not done is done by the next desk that opens the file."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(STOP_S)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold a place among those that read a document, which takes a processor and memory.

        Raises:
            Busy: None became free in time.
        """
        if not self._reading.acquire(timeout=READ_WAIT_S):
            raise Busy(
                f"{READERS_MAX} documents are read, and none was done within {READ_WAIT_S:g} s;"
                " try again"
            )
        try:
            yield
        finally:
            self._reading.release()

    def capture(
        self, caller: str, behaviour: Behaviour, events: Sequence[SoundEvent | RefusedEvent]
    ) -> str:
        """Take a job and return its id; it is on disk when this returns.

        Raises:
            Busy: As much waits as may.
            CaptureJobsUnusable: It could not be stored.
        """
        job_id = self._jobs.add(caller, behaviour, events)
        with self._changed:
            self._has_work = True
            self._changed.notify_all()
        return job_id

    def job(self, job_id: str, caller: str) -> CaptureJob | None:
        """Return a job with its events, if it is the caller's."""
        return self._jobs.job(job_id, caller)

    def jobs(self, caller: str, *, before: int, count_max: int) -> list[CaptureJob]:
        """Return the caller's jobs before a number, newest first, with some refused events."""
        return self._jobs.jobs(caller, before=before, count_max=count_max)

    def finished(self, job_id: str, caller: str, *, timeout_s: float) -> CaptureJob | None:
        """Return a job once it is finished, or as it is after a while or where many wait."""

        def is_finished() -> bool:
            job = self._jobs.job(job_id, caller)
            return self._is_closing or job is None or not job.is_running

        if self._waiters.acquire(blocking=False):
            try:
                with self._changed:
                    self._changed.wait_for(is_finished, timeout_s)
            finally:
                self._waiters.release()
        return self._jobs.job(job_id, caller)

    # The thread

    def _run(self) -> None:
        while not self._is_closing:
            try:
                waiting = self._jobs.waiting(GROUP_EVENTS)
                if waiting:
                    self._settle(waiting)
                else:
                    self._wait_for_work()
            except ClientClosed:
                return
            except (ProtocolError, ClientError, OSError) as error:
                logger.warning("captured events wait", extra={"reason": str(error)[:200]})
                self._pause(RETRY_S)
            except Exception:
                logger.exception("the capture desk failed in a way nobody foresaw")
                self._pause(RETRY_S)

    def _wait_for_work(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing or self._has_work)
            self._has_work = False

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing, seconds)

    def _settle(self, waiting: Sequence[WaitingEvent]) -> None:
        """See events to the ledger and note what became of each."""
        first: dict[bytes, WaitingEvent] = {}  # by twin; the others wait for the next round
        for event in waiting:
            first.setdefault(event.twin, event)
        known = self._known(list(first.values()))
        if known:
            self._note(known)
        settled = {(each.event.job, each.event.position) for each in known}
        to_send = [each for each in first.values() if (each.job, each.position) not in settled]
        if not to_send:
            return
        deliveries = self._client.submit_all([event.raw for event in to_send])
        results = map(self._result, to_send, deliveries)
        self._note([each for each in results if each is not None])

    def _note(self, results: Sequence[Settled]) -> None:
        self._jobs.settle(results)
        with self._changed:
            self._changed.notify_all()

    def _known(self, events: Sequence[WaitingEvent]) -> list[Settled]:
        """Return those of some events that the ledger has."""
        found: list[Settled] = []
        with self._sources() as source:
            for number, event in enumerate(events):
                answer = source.find_events(
                    EventQuery(epcis_hash=event.event_hash, party=self._client.settings.party),
                    events_max=TWINS_MAX,
                    resume=b"",
                    fresh=number == 0,
                )
                for told in answer.events:
                    own = told.entry.event_id == leaf_hash(event.raw)
                    if own or event.twin in self._twins_of(told):
                        found.append(
                            Settled(
                                event=event,
                                state=EventState.ACCEPTED if own else EventState.KNOWN,
                                event_id=told.entry.event_id,
                                entry=told.index,
                            )
                        )
                        break
        return found

    def _result(self, event: WaitingEvent, delivery: Delivery) -> Settled | None:
        """Return what became of an event that was sent; None: not yet, and the desk is closed."""
        while True:
            try:
                result = delivery.result(LOOK_S)
            except NotAcknowledgedYet:
                if self._is_closing:
                    return None
                continue
            except SubmissionRefused as error:
                return Settled(
                    event=event,
                    state=EventState.REFUSED,
                    event_id=delivery.event_id,
                    entry=error.result.index,
                    problem=epcis_exception(None, http_code_of_error(error)),
                    detail=f"the ledger refused it: {error}",
                )
            if result.outcome is Outcome.EVENT_DUPLICATE:
                return None  # an earlier desk sent it; the next round finds it on the ledger
            return Settled(
                event=event,
                state=EventState.ACCEPTED,
                event_id=delivery.event_id,
                entry=result.index,
            )
