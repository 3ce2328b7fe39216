"""Errors as RFC 9457 problem details: what a caller is told, and nothing that it need not know."""

import logging
import re
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from lotmark.client import SealedOtherwise, SubmissionRefused
from lotmark.errors import ProtocolError
from lotmark.report_fields import ReportIncompleteError
from lotmark_node.http.epcis.exceptions import CAPTURE_LIMITS, epcis_exception, is_epcis
from lotmark_node.http.errors import (
    ApiKeyRefused,
    BodyTooLarge,
    CaptureLimitExceeded,
    EventExists,
    RateExceeded,
)
from lotmark_node.rpc.status import http_code_of_error

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_S = 1  # after which a caller may ask again where nothing better is known

_TYPE_PREFIX = "urn:lotmark:problem:"


class Missing(BaseModel):
    """A field that a report lacks."""

    field: str
    clause: str = Field(description="of ISO/IEC 17025:2017, 7.8; empty: the seal needs it")
    purpose: str
    why: str = Field(description="empty: every report needs it")


class Problem(BaseModel):
    """What went wrong, by RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    missing: Annotated[list[Missing] | None, Field(description="fields that the report lacks")] = (
        None
    )
    entries: Annotated[list[int] | None, Field(description="seals that stand in its place")] = None
    outcome: Annotated[str | None, Field(description="why the ledger refused it")] = None


def problem_answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI says of answers that are problems."""
    return {code: {"model": Problem} for code in codes}


def problem_response(error: Exception, path: str) -> JSONResponse:
    """Return the answer to a request that an error ended.

    Args:
        error: It.
        path: Of the request: what is under that of EPCIS has the standard's names of problems.
    """
    status = http_code_of_error(error)
    problem = Problem(
        type=epcis_exception(error, status)
        if is_epcis(path)
        else _TYPE_PREFIX + _kebab(type(error).__name__.removesuffix("Error")),
        title=HTTPStatus(status).phrase,
        status=status,
        detail=str(error),
    )
    match error:
        case ReportIncompleteError():
            problem.missing = [
                Missing(
                    field=each.field.name,
                    clause=each.field.clause,
                    purpose=each.field.purpose,
                    why=each.why,
                )
                for each in error.missing
            ]
        case SealedOtherwise():
            problem.entries = list(error.entries)
        case SubmissionRefused():
            problem.outcome = error.outcome.name
    return _answer(problem, _headers(error, status, path))


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of a request with its problem."""

    async def known(request: Request, error: Exception) -> JSONResponse:
        return problem_response(error, request.url.path)

    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        logger.error(
            "a request failed in a way nobody foresaw",
            extra={"path": request.url.path[:80]},
            exc_info=error,
        )
        return _answer(_plain(500, "the node failed at this; its log says why", request), {})

    async def of_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException), "registered for it alone"
        problem = _plain(error.status_code, str(error.detail), request)
        return _answer(problem, dict(error.headers or {}))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError), "registered for it alone"
        said = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'])[:80]}: {each['msg']}"
            for each in error.errors()[:8]
        )
        return _answer(_plain(400, said, request), {})

    for kind in (ProtocolError, ConnectionError, TimeoutError):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unforeseen)


def _plain(status: int, detail: str, request: Request) -> Problem:
    kind = epcis_exception(None, status) if is_epcis(request.url.path) else "about:blank"
    return Problem(type=kind, title=HTTPStatus(status).phrase, status=status, detail=detail)


def _headers(error: Exception, status: int, path: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    if isinstance(error, ApiKeyRefused):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RateExceeded):
        headers["Retry-After"] = str(max(1, round(error.wait_s + 0.5)))
    elif status in (429, 503):
        headers["Retry-After"] = str(RETRY_S)
    if isinstance(error, BodyTooLarge | CaptureLimitExceeded) and is_epcis(path):
        headers |= CAPTURE_LIMITS
    if isinstance(error, EventExists):
        headers["Location"] = error.location
    return headers


def _answer(problem: Problem, headers: dict[str, str]) -> JSONResponse:
    content: dict[str, Any] = problem.model_dump(exclude_none=True)
    return JSONResponse(content, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def _kebab(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
