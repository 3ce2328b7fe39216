"""The routes of the HTTP endpoint, and what they answer."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware

from lotmark.client.calls import NotOnLedgerError
from lotmark.client.ledger_records import FoundSeal
from lotmark.document_fields import Place, short_names
from lotmark.document_source import parse_document
from lotmark.v1 import quality_pb2
from lotmark_node.http.api_keys import May
from lotmark_node.http.body_limit import BODY_SIZE_MAX, BodyLimit, SizeMax
from lotmark_node.http.doorkeeper import Caller, Doorkeeper, Shown
from lotmark_node.http.epcis.exceptions import CAPTURE_SIZE_MAX
from lotmark_node.http.epcis.interface import (
    CAPTURE_PATH,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    EpcisDesks,
    add_epcis,
)
from lotmark_node.http.errors import ApiKeyFileError, NoJson
from lotmark_node.http.problems import MEDIA_TYPE, add_problem_handlers, problem_answers
from lotmark_node.http.report_schema import report_schema
from lotmark_node.http.sealing_desk import DeskSeal, SealingDesk
from lotmark_node.http.server import CERTIFICATE

if TYPE_CHECKING:
    from starlette.types import Scope

RETRY_S = 2  # after which a caller asks again about a seal that waits
ENTRY_MAX = 2**63 - 1
_DIGEST = r"^[0-9a-f]{64}$"


class SealAnswer(BaseModel):
    """What became of a report."""

    report_digest: str = Field(description="SHA-256 of its fields as canonical JSON (RFC 8785)")
    event_id: str
    entry: int | None = Field(description="on the ledger; null: not yet, ask again")
    receipt: str | None = Field(description="where its receipt is")
    new: bool = Field(description="false: it was sealed, or waited, before")


class SealRecord(BaseModel):
    """A seal on the ledger."""

    entry: int
    event_id: str
    ledger_time_ms: int
    report: str
    laboratory: str
    item: str
    test: str
    verdict: str
    report_digest: str
    corrected_by: int | None = Field(description="entry of the correction; null: it stands")
    receipt: str


class SealsAnswer(BaseModel):
    """Seals, in the order of the ledger."""

    seals: list[SealRecord]
    more: bool = Field(description="there are more than are told here; ask for less")


_EVERYWHERE = problem_answers(401, 403, 429, 503)


def make_app(
    desk: SealingDesk, doorkeeper: Doorkeeper, *, epcis: EpcisDesks, origins: Sequence[str] = ()
) -> FastAPI:
    """Return the application.

    Args:
        desk: Seals and looks seals up.
        doorkeeper: Decides who may ask.
        epcis: Captures and queries EPCIS events.
        origins: Of web pages whose scripts may ask and read the answers.
    """
    app = FastAPI(
        title="lotmark",
        version=version("lotmark"),
        description="Seal laboratory reports and look up what is sealed; capture and query EPCIS"
        " events.",
        docs_url=None,  # the pages would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    bearer = HTTPBearer(auto_error=False, description="an API key of `lotmark node api-key new`")

    def may(wanted: May | None) -> Any:
        async def admit(request: Request, _shown: Annotated[object, Depends(bearer)]) -> Caller:
            return await run_in_threadpool(doorkeeper.admit, shown(request.scope), wanted)

        return Depends(admit)

    _add_sealing(app, desk, may(May.SEAL))
    _add_looking_up(app, desk, may(May.READ))
    add_epcis(app, epcis, may)
    add_problem_handlers(app)
    app.add_middleware(BodyLimit, size_max=_size_max(doorkeeper))
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", *REQUEST_HEADERS],
            expose_headers=["Link", "Location", "Retry-After", *RESPONSE_HEADERS],
        )
    _tell_what_is_answered(app)
    return app


def shown(scope: "Scope") -> Shown:
    """Return what a request shows of who sends it."""
    found = Headers(scope=scope).get("authorization", "")
    return Shown(found, scope.get("state", {}).get(CERTIFICATE))


def _size_max(doorkeeper: Doorkeeper) -> SizeMax:
    """Return what lets those who may capture, and nobody else, send large bodies."""

    def size_max(scope: "Scope") -> int:
        if scope["path"] != CAPTURE_PATH:
            return BODY_SIZE_MAX
        try:
            caller = doorkeeper.find(shown(scope))
        except ApiKeyFileError:
            return BODY_SIZE_MAX
        return CAPTURE_SIZE_MAX if caller and caller.may_do(May.CAPTURE) else BODY_SIZE_MAX

    return size_max


def _tell_what_is_answered(app: FastAPI) -> None:
    """Mend the OpenAPI: every error is a problem, also FastAPI's own of wrong parameters, a 400."""
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for methods in app.openapi()["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            for code, response in operation["responses"].items():
                if int(code) >= 400:
                    response["content"] = problem


def _add_sealing(app: FastAPI, desk: SealingDesk, allowed: Any) -> None:
    @app.post(
        "/v1/seals",
        dependencies=[allowed],
        response_model=SealAnswer,
        responses={
            200: {"model": SealAnswer, "description": "It was sealed before."},
            201: {"model": SealAnswer, "description": "It is sealed now."},
            202: {"model": SealAnswer, "description": "It waits for the ledger; ask again."},
            **_EVERYWHERE,
            **problem_answers(400, 408, 409, 413, 415),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": report_schema()}},
            }
        },
    )
    async def seal(
        request: Request,
        corrects: Annotated[
            list[Annotated[int, Field(ge=0, le=ENTRY_MAX)]] | None,
            Query(description="entries of earlier seals of other content that it corrects"),
        ] = None,
    ) -> Response:
        """Seal a report; the same report again is sealed no second time."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise NoJson(
                "the body is to be a report in JSON; say so: Content-Type: application/json"
            )
        raw = await request.body()

        def work() -> DeskSeal:
            return desk.seal(parse_document(raw, Place("report")), corrects or ())

        return _seal_response(await run_in_threadpool(work))


def _seal_response(sealed: DeskSeal) -> Response:
    receipt = None if sealed.index is None else _receipt_path(sealed.index)
    answer = SealAnswer(
        report_digest=sealed.report_digest.hex(),
        event_id=sealed.event_id.hex(),
        entry=sealed.index,
        receipt=receipt,
        new=sealed.is_new,
    )
    if receipt is None:
        code, headers = 202, {"Retry-After": str(RETRY_S)}
    else:
        code, headers = 201 if sealed.is_new else 200, {"Location": receipt}
    return JSONResponse(answer.model_dump(), status_code=code, headers=headers)


def _add_looking_up(app: FastAPI, desk: SealingDesk, allowed: Any) -> None:
    @app.get(
        "/v1/seals",
        dependencies=[allowed],
        responses={**_EVERYWHERE, **problem_answers(400)},
    )
    def seals(
        item: Annotated[str, Query(min_length=1, max_length=128, description="the item's id")],
        test: Annotated[str, Query(max_length=64, description="empty: any")] = "",
        laboratory: Annotated[str, Query(max_length=64, description="empty: any")] = "",
    ) -> SealsAnswer:
        """Look up which reports about an item are sealed."""
        return _seals_answer(desk.find(item=item, test=test, laboratory=laboratory))

    @app.get(
        "/v1/reports/{digest}",
        dependencies=[allowed],
        responses={**_EVERYWHERE, **problem_answers(400, 404)},
    )
    def report(
        digest: Annotated[str, Path(pattern=_DIGEST, description="SHA-256 of the report, hex")],
    ) -> SealsAnswer:
        """Look up where a report is sealed."""
        found = desk.find(report_digest=bytes.fromhex(digest))
        if not found[0]:
            raise NotOnLedgerError(f"no report with digest {digest} is sealed")
        return _seals_answer(found)

    @app.get(
        "/v1/receipts/{entry}",
        dependencies=[allowed],
        response_class=PlainTextResponse,
        responses={
            200: {
                "description": "The receipt, a C2SP tlog-proof: keep it beside the report.",
                "headers": {
                    "Lotmark-Standing": {
                        "description": "final or durable: then fetch it again later",
                        "schema": {"type": "string", "enum": ["final", "durable"]},
                    }
                },
            },
            **_EVERYWHERE,
            **problem_answers(400, 404),
        },
    )
    def receipt(
        entry: Annotated[int, Path(ge=0, le=ENTRY_MAX)],
    ) -> PlainTextResponse:
        """Fetch the receipt of an event."""
        raw, is_final = desk.receipt(entry)
        standing = "final" if is_final else "durable"
        return PlainTextResponse(raw, headers={"Lotmark-Standing": standing})


def _seals_answer(found: tuple[list[FoundSeal], bool]) -> SealsAnswer:
    seals, more = found
    return SealsAnswer(seals=[_record(seal) for seal in seals], more=more)


def _record(found: FoundSeal) -> SealRecord:
    head, seal = found.entry.head, found.event.report_seal
    event_id = found.entry.event_id
    assert event_id is not None, "a found seal is an event"
    return SealRecord(
        entry=head.index,
        event_id=event_id.hex(),
        ledger_time_ms=head.time_ms,
        report=seal.report,
        laboratory=seal.laboratory,
        item=found.event.items[0].id,
        test=seal.test,
        verdict=short_names(quality_pb2.Verdict.DESCRIPTOR)[seal.verdict],
        report_digest=seal.report_digest.hex(),
        corrected_by=found.corrected_by,
        receipt=_receipt_path(head.index),
    )


def _receipt_path(index: int) -> str:
    return f"/v1/receipts/{index}"
