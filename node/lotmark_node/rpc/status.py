"""Which gRPC status and HTTP code each error and outcome has: the one table, tested as complete."""

import grpc

from lotmark.client import ClientError, NothingToCorrect, SealedOtherwise, SubmissionRefused
from lotmark.client.calls import CallRefused, NotOnLedgerError
from lotmark.errors import MalformedError, ProofError, ProtocolError, SignatureError
from lotmark.outcome import MEANINGS, Outcome
from lotmark_consensus.errors import ConsensusError
from lotmark_node.engine.errors import (
    AnswerOverdue,
    EngineError,
    ExportRefused,
    ForeignStore,
    HistoryConflict,
    IndexBehind,
    NotOnLedger,
    PeerUnreachable,
    Regression,
    StaleRead,
    StoreCorrupt,
    StoreLocked,
    StoreOutdated,
    TooManyAnswers,
)
from lotmark_node.http.errors import (
    ApiKeyFileError,
    ApiKeyMayNot,
    ApiKeyRefused,
    BodyTooLarge,
    BodyTooSlow,
    Busy,
    CaptureJobsUnusable,
    CaptureLimitExceeded,
    EpcisNotImplemented,
    EventExists,
    HttpError,
    NoJson,
    NoSuchResource,
    NotAcceptable,
    QueryTooComplex,
    QueryTooLarge,
    RateExceeded,
    UnsupportedMedia,
    UriTooLong,
)

# Error class -> status; the first class that fits counts, so leaves stand before roots.
ERROR_STATUS: dict[type[Exception], grpc.StatusCode] = {
    SealedOtherwise: grpc.StatusCode.ALREADY_EXISTS,
    NothingToCorrect: grpc.StatusCode.FAILED_PRECONDITION,
    ClientError: grpc.StatusCode.UNAVAILABLE,
    NotOnLedgerError: grpc.StatusCode.NOT_FOUND,
    CallRefused: grpc.StatusCode.FAILED_PRECONDITION,
    ApiKeyRefused: grpc.StatusCode.UNAUTHENTICATED,
    ApiKeyMayNot: grpc.StatusCode.PERMISSION_DENIED,
    ApiKeyFileError: grpc.StatusCode.UNAVAILABLE,
    RateExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Busy: grpc.StatusCode.UNAVAILABLE,
    CaptureJobsUnusable: grpc.StatusCode.UNAVAILABLE,
    NoSuchResource: grpc.StatusCode.NOT_FOUND,
    EventExists: grpc.StatusCode.ALREADY_EXISTS,
    HttpError: grpc.StatusCode.INVALID_ARGUMENT,
    NotOnLedger: grpc.StatusCode.NOT_FOUND,
    StoreCorrupt: grpc.StatusCode.DATA_LOSS,
    ForeignStore: grpc.StatusCode.FAILED_PRECONDITION,
    StoreOutdated: grpc.StatusCode.FAILED_PRECONDITION,
    StoreLocked: grpc.StatusCode.UNAVAILABLE,
    Regression: grpc.StatusCode.FAILED_PRECONDITION,
    IndexBehind: grpc.StatusCode.FAILED_PRECONDITION,
    ExportRefused: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooManyAnswers: grpc.StatusCode.RESOURCE_EXHAUSTED,
    AnswerOverdue: grpc.StatusCode.DEADLINE_EXCEEDED,
    HistoryConflict: grpc.StatusCode.DATA_LOSS,
    PeerUnreachable: grpc.StatusCode.UNAVAILABLE,
    StaleRead: grpc.StatusCode.UNAVAILABLE,
    EngineError: grpc.StatusCode.UNAVAILABLE,
    ConsensusError: grpc.StatusCode.UNAVAILABLE,
    ProofError: grpc.StatusCode.INVALID_ARGUMENT,
    MalformedError: grpc.StatusCode.INVALID_ARGUMENT,
    SignatureError: grpc.StatusCode.UNAUTHENTICATED,
    ProtocolError: grpc.StatusCode.INVALID_ARGUMENT,
    ConnectionError: grpc.StatusCode.UNAVAILABLE,
    TimeoutError: grpc.StatusCode.UNAVAILABLE,
}

# Status -> HTTP code.
HTTP_CODE: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
# What HTTP has a code for and gRPC has no status.
_OWN_HTTP_CODE: dict[type[Exception], int] = {
    NotAcceptable: 406,
    BodyTooSlow: 408,
    BodyTooLarge: 413,
    CaptureLimitExceeded: 413,
    QueryTooComplex: 413,
    QueryTooLarge: 413,
    UriTooLong: 414,
    NoJson: 415,
    UnsupportedMedia: 415,
    EpcisNotImplemented: 501,
}


def status_of_error(error: Exception) -> grpc.StatusCode:
    """Return the status of an error that a call ends with."""
    for kind, status in ERROR_STATUS.items():
        if isinstance(error, kind):
            return status
    return grpc.StatusCode.INTERNAL


def http_code_of_error(error: Exception) -> int:
    """Return the HTTP code of an error that a request ends with."""
    own = _OWN_HTTP_CODE.get(type(error))
    if own is not None:
        return own
    if isinstance(error, SubmissionRefused):
        return HTTP_CODE[status_of_outcome(error.outcome)]
    return HTTP_CODE[status_of_error(error)]


def status_of_outcome(outcome: Outcome) -> grpc.StatusCode:
    """Return the status of a call whose batches all had this outcome at admission."""
    return grpc.StatusCode[MEANINGS[outcome].status]
