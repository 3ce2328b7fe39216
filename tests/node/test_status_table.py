"""Every error and every outcome that a call can end with has one gRPC status, and the right one."""

import inspect
from itertools import combinations

import grpc
import pytest

from lotmark import errors as protocol_errors
from lotmark.errors import ProtocolError
from lotmark.event import EventRefused
from lotmark.key_file import KeyFileError
from lotmark.outcome import MEANINGS, Outcome
from lotmark.snapshot import SnapshotRefused
from lotmark.ustar import CutOffError
from lotmark_node.engine import errors as engine_errors
from lotmark_node.rpc.status import ERROR_STATUS, status_of_error, status_of_outcome

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
