"""Every error and outcome that a call can end with has one gRPC status and HTTP code, the right."""

import inspect
from itertools import combinations

import grpc
import pytest

from lotmark import errors as protocol_errors
from lotmark.client import (
    EventResult,
    NothingToCorrect,
    OutboxFull,
    SealedOtherwise,
    SubmissionRefused,
)
from lotmark.client.calls import NotOnLedgerError
from lotmark.errors import ProtocolError
from lotmark.event import EventRefused
from lotmark.key_file import KeyFileError
from lotmark.outcome import MEANINGS, Outcome
from lotmark.report_fields import ReportIncompleteError
from lotmark.snapshot import SnapshotRefused
from lotmark.ustar import CutOffError
from lotmark_node.engine import errors as engine_errors
from lotmark_node.http import errors as http_errors
from lotmark_node.rpc.status import (
    ERROR_STATUS,
    HTTP_CODE,
    http_code_of_error,
    status_of_error,
    status_of_outcome,
)

RETRIED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
# What a caller can do nothing about; nobody chooses these for an answer.
UNINFORMATIVE = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNIMPLEMENTED,
}


def classes_of(module: object) -> list[type[Exception]]:
    return [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Exception)
    ]


@pytest.mark.parametrize(
    "kind",
    [*classes_of(engine_errors), *classes_of(protocol_errors)],
    ids=lambda kind: kind.__name__,
)
def test_every_error_class_of_engine_and_protocol_stands_in_the_table(
    kind: type[Exception],
) -> None:
    assert kind in ERROR_STATUS
    assert status_of_error(kind("it happened")) is ERROR_STATUS[kind]


@pytest.mark.parametrize("kind", classes_of(http_errors), ids=lambda kind: kind.__name__)
def test_every_error_of_the_http_endpoint_says_whose_fault_it_is(kind: type[Exception]) -> None:
    further: dict[type[Exception], tuple[object, ...]] = {
        http_errors.RateExceeded: (1.0,),
        http_errors.EventExists: ("/epcis/events/x",),
    }
    error = kind("it happened", *further.get(kind, ()))
    expected = {
        http_errors.ApiKeyRefused: 401,
        http_errors.ApiKeyMayNot: 403,
        http_errors.ApiKeyFileError: 503,
        http_errors.RateExceeded: 429,
        http_errors.BodyTooLarge: 413,
        http_errors.BodyTooSlow: 408,
        http_errors.NoJson: 415,
        http_errors.Busy: 503,
        http_errors.HttpError: 400,
        http_errors.EpcisRequestError: 400,
        http_errors.ValidationRefused: 400,
        http_errors.QueryParameterRefused: 400,
        http_errors.QueryTooLarge: 413,
        http_errors.QueryTooComplex: 413,
        http_errors.NoSuchResource: 404,
        http_errors.EventExists: 409,
        http_errors.NotAcceptable: 406,
        http_errors.UnsupportedMedia: 415,
        http_errors.CaptureLimitExceeded: 413,
        http_errors.UriTooLong: 414,
        http_errors.EpcisNotImplemented: 501,
        http_errors.CaptureJobsUnusable: 503,
        ProtocolError: 400,
    }
    assert http_code_of_error(error) == expected[kind]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SealedOtherwise("x"), 409),
        (NothingToCorrect("x"), 409),
        (OutboxFull("x"), 503),
        (ReportIncompleteError("report", ()), 400),
        (NotOnLedgerError("x"), 404),
        (ConnectionRefusedError("x"), 503),
        (TimeoutError("x"), 503),
        (ZeroDivisionError(), 500),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_client_meets_has_an_http_code_of_its_own_kind(error: Exception, code: int) -> None:
    assert http_code_of_error(error) == code


def test_every_status_of_an_error_or_a_refusal_has_an_http_code() -> None:
    refused = {status_of_outcome(outcome) for outcome in Outcome} - {grpc.StatusCode.OK}

    assert {*ERROR_STATUS.values(), *refused, grpc.StatusCode.INTERNAL} <= set(HTTP_CODE)
    for outcome in Outcome:
        if outcome:
            result = EventResult(
                event_id=b"", index=1, height=1, time_ms=1, outcome=outcome, detail="no"
            )
            code = http_code_of_error(SubmissionRefused(result))
            assert code == HTTP_CODE[status_of_outcome(outcome)]


def test_no_row_of_the_error_table_hides_a_later_one() -> None:
    for earlier, later in combinations(ERROR_STATUS, 2):
        assert not issubclass(later, earlier), f"{earlier.__name__} hides {later.__name__}"


def test_no_error_in_the_table_has_a_status_that_tells_nothing() -> None:
    assert not UNINFORMATIVE & set(ERROR_STATUS.values())


def test_errors_that_modules_derive_get_the_status_of_their_root() -> None:
    refused = EventRefused(Outcome.FIELD_INVALID, "nonce has 3 bytes, not 16")

    for error in (refused, SnapshotRefused("no"), KeyFileError("no"), CutOffError("no")):
        assert isinstance(error, ProtocolError)
        assert status_of_error(error) is grpc.StatusCode.INVALID_ARGUMENT


def test_what_nobody_foresaw_is_internal() -> None:
    assert status_of_error(ZeroDivisionError()) is grpc.StatusCode.INTERNAL


def test_every_outcome_has_a_meaning_with_a_status_of_its_own_kind() -> None:
    assert set(MEANINGS) == set(Outcome)
    for outcome in Outcome:
        status = status_of_outcome(outcome)
        assert (status is grpc.StatusCode.OK) == (outcome is Outcome.ACCEPTED), outcome
        assert status not in UNINFORMATIVE, outcome


@pytest.mark.parametrize("outcome", Outcome, ids=lambda outcome: outcome.name)
def test_only_what_passes_by_itself_has_a_status_that_clients_try_again(outcome: Outcome) -> None:
    passing = {
        Outcome.QUOTA_EXCEEDED,
        Outcome.WAITING_FOR_PREDECESSOR,
        Outcome.STORAGE_FULL,
        Outcome.STOPPING,
        Outcome.NO_LEADER,
    }

    assert (status_of_outcome(outcome) in RETRIED) == (outcome in passing)
