"""The routes by which EPCIS events are captured, and jobs looked at."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from lotmark.rfc3339 import text_of_ms
from lotmark_adapters.epcis_hash import event_hash_uri
from lotmark_node.http.api_keys import May, now_ms
from lotmark_node.http.doorkeeper import Caller
from lotmark_node.http.epcis.answers import (
    EVERYWHERE,
    PAGE_PARAMETERS,
    Admission,
    answered,
    epcis_answer,
    event_path,
    page_headers,
    read_page,
)
from lotmark_node.http.epcis.capture_desk import CaptureDesk
from lotmark_node.http.epcis.capture_jobs import (
    Behaviour,
    CaptureJob,
    EventState,
    JobEvent,
    RefusedEvent,
    SoundEvent,
)
from lotmark_node.http.epcis.capture_reading import (
    CAPTURE_MODES,
    read_events,
)
from lotmark_node.http.epcis.discovery import Negotiated, add_options
from lotmark_node.http.epcis.event_desk import EventDesk
from lotmark_node.http.epcis.exceptions import CAPTURE_LIMITS, PREFIX, status_of_exception
from lotmark_node.http.epcis.negotiation import READ_TYPES, body_type
from lotmark_node.http.epcis.page_token import Cursor, PageTokens
from lotmark_node.http.epcis.query_document import EVENT_SCHEMA
from lotmark_node.http.epcis.shown_events import ledger_id
from lotmark_node.http.errors import (
    ApiKeyMayNot,
    EventExists,
    NoSuchResource,
    QueryParameterRefused,
    ValidationRefused,
)
from lotmark_node.http.problems import Problem, problem_answers

ACKNOWLEDGED_S = 10.0  # for one event's way to the ledger, before the caller is told of the job
CAPTURE_PATH = f"{PREFIX}/capture"
MODE_HEADER = "Lotmark-Capture-Mode"
BEHAVIOUR_HEADER = "GS1-Capture-Error-Behaviour"

_JOB_NUMBER_MAX = 2**62
_RESULTS = {
    EventState.WAITING: "waiting",
    EventState.ACCEPTED: "accepted",
    EventState.KNOWN: "known",
    EventState.REFUSED: "refused",
    EventState.NOT_SENT: "notSent",
}


class CaptureResult(BaseModel):
    """What became of one event of a capture."""

    index: int = Field(description="of the event in its document, from 0")
    result: str = Field(
        description="waiting; accepted: on the ledger; known: it was there before; refused; or"
        " notSent, since another one was refused"
    )
    eventID: str | None = Field(default=None, description="by its hash")  # noqa: N815  # EPCIS's
    ledgerEventID: str | None = None  # noqa: N815
    entry: int | None = Field(default=None, description="on the ledger")
    receipt: str | None = Field(default=None, description="where the receipt is")
    problem: Problem | None = None


class CaptureJobAnswer(BaseModel):
    """A capture job."""

    captureID: str  # noqa: N815
    createdAt: str  # noqa: N815
    finishedAt: str | None = None  # noqa: N815
    running: bool
    success: bool = Field(description="false: at least one event was refused")
    captureErrorBehaviour: Behaviour  # noqa: N815
    errors: list[Problem]
    events: list[CaptureResult] | None = Field(
        default=None, description="of each event; in the answer about one job"
    )


class CaptureAnswer(BaseModel):
    """Where a capture can be followed."""

    captureID: str  # noqa: N815


def add_capture(
    router: APIRouter, may: Admission, desk: CaptureDesk, events: EventDesk, tokens: PageTokens
) -> None:
    """Add the routes.

    Args:
        router: To add them to.
        may: Makes what a route depends on.
        desk: Takes the jobs.
        events: Looks up what was captured.
        tokens: Of pages.
    """
    _add_jobs(router, may, desk, tokens)
    _add_single(router, may, desk, events)


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            media_type: {"schema": {"type": "string" if media_type.endswith("xml") else "object"}}
            for media_type in READ_TYPES
        },
    },
    "parameters": [
        {
            "name": BEHAVIOUR_HEADER,
            "in": "header",
            "description": "What becomes of the sound events where one is refused: none is sent"
            " (rollback), or they are (proceed). What is on the ledger stays there.",
            "schema": {"type": "string", "enum": list(Behaviour), "default": "rollback"},
        },
        {
            "name": MODE_HEADER,
            "in": "header",
            "description": "How the facts came to be known; EPCIS does not say it.",
            "schema": {"type": "string", "enum": list(CAPTURE_MODES), "default": "historical"},
        },
    ],
}


def _add_jobs(router: APIRouter, may: Admission, desk: CaptureDesk, tokens: PageTokens) -> None:
    allowed = Annotated[Caller, may(May.CAPTURE)]
    add_options(
        router,
        may,
        "/capture",
        methods=("GET", "POST"),
        headers={**CAPTURE_LIMITS, BEHAVIOUR_HEADER: "all"},
    )

    @router.post(
        "/capture",
        status_code=202,
        responses={
            202: answered(
                CaptureAnswer.model_json_schema(),
                headers={"Location": "where the job can be followed"},
            ),
            **EVERYWHERE,
            **problem_answers(400, 408, 413, 415),
        },
        openapi_extra=_BODY,
    )
    async def capture(request: Request, caller: allowed, media_type: Negotiated) -> Response:
        """Capture the events of a document, one by one; a job tells what became of each."""
        raw, behaviour = await request.body(), _behaviour(request)
        read = _reader(request, desk, caller, raw)
        job_id = await run_in_threadpool(lambda: desk.capture(caller.name, behaviour, read()))
        headers = {"Location": f"{CAPTURE_PATH}/{job_id}"}
        return epcis_answer({"captureID": job_id}, media_type, code=202, headers=headers)

    @router.get(
        "/capture",
        responses={
            200: answered(
                {"type": "array", "items": CaptureJobAnswer.model_json_schema()}, paged=True
            ),
            **EVERYWHERE,
            **problem_answers(400),
        },
        openapi_extra={"parameters": PAGE_PARAMETERS},
    )
    def jobs(request: Request, caller: allowed, media_type: Negotiated) -> Response:
        """List the caller's capture jobs, newest first."""
        asked = read_page(request, tokens)
        if asked.parameters:
            raise QueryParameterRefused(f"parameter {asked.parameters[0][0][:60]!a} is unknown")
        before = _JOB_NUMBER_MAX if asked.cursor is None else asked.cursor.index
        found = desk.jobs(caller.name, before=before, count_max=asked.per_page + 1)
        told = found[: asked.per_page]
        following = Cursor(index=told[-1].number) if len(found) > len(told) else None
        headers = page_headers(asked, following, tokens)
        answers = [_job_answer(job, detailed=False) for job in told]
        return epcis_answer(answers, media_type, headers=headers)

    add_options(router, may, "/capture/{captureID}")

    @router.get(
        "/capture/{captureID}",
        responses={
            200: answered(CaptureJobAnswer.model_json_schema()),
            **EVERYWHERE,
            **problem_answers(404),
        },
    )
    def job(
        captureID: Annotated[str, Path(description="of the job")],  # noqa: N803  # EPCIS's
        caller: allowed,
        media_type: Negotiated,
    ) -> Response:
        """Tell what has become of a capture job and of each of its events."""
        found = desk.job(captureID, caller.name)
        if found is None:
            raise NoSuchResource(f"{caller.name} has no capture job {captureID[:40]!a}")
        return epcis_answer(_job_answer(found, detailed=True), media_type)


def _add_single(router: APIRouter, may: Admission, desk: CaptureDesk, events: EventDesk) -> None:
    allowed = Annotated[Caller, may(May.CAPTURE)]

    @router.post(
        "/events",
        status_code=201,
        responses={
            201: answered(EVENT_SCHEMA, headers={"Location": "where the event is"}),
            202: answered(
                CaptureAnswer.model_json_schema(),
                headers={"Location": "of the job: the ledger has not taken the event yet"},
            ),
            **EVERYWHERE,
            **problem_answers(400, 408, 409, 413, 415),
        },
        openapi_extra={**_BODY, "parameters": _BODY["parameters"][1:]},
    )
    async def capture_one(request: Request, caller: allowed, media_type: Negotiated) -> Response:
        """Capture one event, and wait a while until it is on the ledger."""
        raw = await request.body()
        read = _reader(request, desk, caller, raw)

        def work() -> Response:
            found = read()
            if len(found) != 1:
                raise ValidationRefused(
                    f"the body has {len(found)} events; send one here, or all to {CAPTURE_PATH}"
                )
            if isinstance(found[0], RefusedEvent):
                raise ValidationRefused(found[0].detail)
            job_id = desk.capture(caller.name, Behaviour.ROLLBACK, found)
            job = desk.finished(job_id, caller.name, timeout_s=ACKNOWLEDGED_S)
            assert job is not None, "it was taken a moment ago"
            return _single_answer(job, events, media_type)

        return await run_in_threadpool(work)


def _single_answer(job: CaptureJob, events: EventDesk, media_type: str) -> Response:
    (event,) = job.events
    assert event.event_hash is not None, "it was read"
    place = event_path(event_hash_uri(event.event_hash))
    match event.state:
        case EventState.WAITING:
            headers = {"Location": f"{CAPTURE_PATH}/{job.id}"}
            return epcis_answer({"captureID": job.id}, media_type, code=202, headers=headers)
        case EventState.KNOWN:
            raise EventExists(f"the event is on the ledger in entry {event.entry} already", place)
        case EventState.REFUSED if status_of_exception(event.problem) == HTTPStatus.FORBIDDEN:
            raise ApiKeyMayNot(event.detail)
        case EventState.REFUSED:
            raise ValidationRefused(event.detail)
    assert event.entry is not None, "what is accepted has an entry"
    (told,) = events.entry(event.entry)
    return epcis_answer(told, media_type, code=201, headers={"Location": place})


def _reader(
    request: Request, desk: CaptureDesk, caller: Caller, raw: bytes
) -> Callable[[], list[SoundEvent | RefusedEvent]]:
    """Return what reads the events of a request's body, which takes a while."""
    media_type = body_type(request.headers.get("content-type", ""))
    mode = request.headers.get(MODE_HEADER, "historical")

    def read() -> list[SoundEvent | RefusedEvent]:
        with desk.reading():
            return read_events(
                raw, media_type, device=caller.system, capture_mode=mode, now_ms=now_ms()
            )

    return read


def _behaviour(request: Request) -> Behaviour:
    given = request.headers.get(BEHAVIOUR_HEADER, Behaviour.ROLLBACK)
    try:
        return Behaviour(given)
    except ValueError as error:
        raise ValidationRefused(
            f"{BEHAVIOUR_HEADER}: {given[:40]!a} is none of {', '.join(Behaviour)}"
        ) from error


# Answers


def _job_answer(job: CaptureJob, *, detailed: bool) -> dict[str, Any]:
    answer = CaptureJobAnswer(
        captureID=job.id,
        createdAt=text_of_ms(job.created_ms),
        finishedAt=None if job.finished_ms is None else text_of_ms(job.finished_ms),
        running=job.is_running,
        success=job.refused_count == 0,
        captureErrorBehaviour=job.behaviour,
        errors=[_problem(each) for each in job.events if each.state is EventState.REFUSED],
        events=[_result(each) for each in job.events] if detailed else None,
    )
    return answer.model_dump(mode="json", exclude_none=True)


def _result(event: JobEvent) -> CaptureResult:
    return CaptureResult(
        index=event.position,
        result=_RESULTS[event.state],
        eventID=None if event.event_hash is None else event_hash_uri(event.event_hash),
        ledgerEventID=None if event.event_id is None else ledger_id(event.event_id),
        entry=event.entry,
        receipt=None if event.entry is None else f"/v1/receipts/{event.entry}",
        problem=_problem(event) if event.state is EventState.REFUSED else None,
    )


def _problem(event: JobEvent) -> Problem:
    status = status_of_exception(event.problem)
    return Problem(
        type=event.problem,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=event.detail,
    )
