"""What the routes of the EPCIS interface have in common: headers, media types, pages."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import Request, Response

from lotmark.rfc3339 import text_of_ms
from lotmark_node.http.api_keys import May
from lotmark_node.http.epcis.exceptions import PREFIX
from lotmark_node.http.epcis.negotiation import (
    CBV_VERSION,
    EPCIS_VERSION,
    JSON,
    JSON_LD,
    answer_type,
    check_uri,
    check_versions,
)
from lotmark_node.http.epcis.page_token import Cursor, PageTokens
from lotmark_node.http.epcis.query_parameters import parse_count
from lotmark_node.http.errors import QueryParameterRefused
from lotmark_node.http.problems import problem_answers

Admission: TypeAlias = Callable[[May | None], Any]  # makes what a route depends on

PER_PAGE = 30
PER_PAGE_MAX = 1_000
VERSION_HEADERS = {"GS1-EPCIS-Version": EPCIS_VERSION, "GS1-CBV-Version": CBV_VERSION}
EVERYWHERE = problem_answers(401, 403, 406, 414, 429, 503)

Parameters: TypeAlias = list[tuple[str, str]]


def negotiated(request: Request) -> str:
    """Return the media type of the answer, once it is clear that there can be one.

    Raises:
        UriTooLong: The request's URI has too many characters.
        NotAcceptable: The answer cannot be had in that form or version.
    """
    check_uri(request.scope["raw_path"], request.scope["query_string"])
    check_versions(request.headers)
    return answer_type(request.headers.get("accept", ""))


def epcis_answer(
    content: Mapping[str, Any] | Sequence[Any],
    media_type: str,
    *,
    code: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an answer with a document."""
    raw = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    told = {**VERSION_HEADERS, **(headers or {})}
    return Response(raw, status_code=code, headers=told, media_type=media_type)


def answered(
    schema: Mapping[str, Any] | None,
    *,
    paged: bool = False,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what the OpenAPI says of an answer that is none of an error.

    Args:
        schema: Of the document; None: there is none.
        paged: Whether it may be the first of several pages.
        headers: Further ones and what they are.
    """
    told = dict.fromkeys(VERSION_HEADERS, "the version that is spoken")
    if paged:
        told["Link"] = 'where the next page is, rel="next"; absent on the last one'
        told["GS1-Next-Page-Token-Expires"] = "until when that is so"
    told |= headers or {}
    answer: dict[str, Any] = {
        "headers": {
            name: {"description": text, "schema": {"type": "string"}} for name, text in told.items()
        }
    }
    if schema is not None:
        answer["content"] = {JSON: {"schema": schema}, JSON_LD: {"schema": schema}}
    return answer


def event_path(event_id: str) -> str:
    """Return where an event is, by its EPCIS event ID."""
    return f"{PREFIX}/events/{quote(event_id, safe='')}"


# Pages


@dataclass(frozen=True, slots=True)
class PageAsked:
    """Which page of which answer is asked for."""

    path: str
    parameters: Parameters  # without those of the page
    per_page: int
    cursor: Cursor | None

    @property
    def question(self) -> list[object]:
        """What makes a page token good for this answer alone."""
        return question(self.path, self.parameters)


def question(path: str, parameters: Parameters) -> list[object]:
    """Return what makes a page token good for one answer alone."""
    return [path, sorted(list(each) for each in parameters)]


def read_page(request: Request, tokens: PageTokens) -> PageAsked:
    """Return which page a request asks for.

    Raises:
        QueryParameterRefused: perPage is no number, or nextPageToken no token of this question.
    """
    parameters = _parameters(request)
    paging = {name: value for name, value in parameters if name in _PAGING}
    rest = [each for each in parameters if each[0] not in _PAGING]
    if len(parameters) - len(rest) > len(paging):
        raise QueryParameterRefused(f"{' or '.join(_PAGING)} stands twice; write each once")
    path = request.scope["raw_path"].decode("ascii")  # as it was written, to be written again
    # Never more than may be: the standard lets a server tell fewer than are asked for.
    wanted = parse_count("perPage", paging.get("perPage", str(PER_PAGE)), 10**9)
    token = paging.get("nextPageToken")
    cursor = None if token is None else tokens.read(token, question(path, rest))
    return PageAsked(path, rest, min(wanted, PER_PAGE_MAX), cursor)


_PAGING = ("perPage", "nextPageToken")


def _parameters(request: Request) -> Parameters:
    try:
        return parse_qsl(
            request.scope["query_string"].decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=256,
        )
    except ValueError as error:
        raise QueryParameterRefused(f"the query cannot be read: {error}") from error


def page_headers(asked: PageAsked, following: Cursor | None, tokens: PageTokens) -> dict[str, str]:
    """Return the headers that say where the next page is; none on the last one."""
    if following is None:
        return {}
    token = tokens.make(following, asked.question)
    query = urlencode(
        [*asked.parameters, ("perPage", str(asked.per_page)), ("nextPageToken", token.text)]
    )
    return {
        "Link": f'<{asked.path}?{query}>; rel="next"',
        "GS1-Next-Page-Token-Expires": text_of_ms(token.ends_ms),
    }


PAGE_PARAMETERS = [
    {
        "name": "perPage",
        "in": "query",
        "description": f"How many a page has at most; of more than {PER_PAGE_MAX}, so many.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 10**9, "default": PER_PAGE},
    },
    {
        "name": "nextPageToken",
        "in": "query",
        "description": "Of the header Link of the page before, with the same other parameters.",
        "schema": {"type": "string"},
    },
]
