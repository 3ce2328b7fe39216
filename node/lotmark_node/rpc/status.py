"""Which gRPC status each error and each outcome has: the one table, tested for completeness."""

import grpc

from lotmark.errors import MalformedError, ProofError, ProtocolError, SignatureError
from lotmark.outcome import MEANINGS, Outcome
from lotmark_consensus.errors import ConsensusError
from lotmark_node.engine.errors import (
    EngineError,
    ExportRefused,
    ForeignStore,
    HistoryConflict,
    NotOnLedger,
    PeerUnreachable,
    Regression,
    StaleRead,
    StoreCorrupt,
    StoreLocked,
)

# Error class -> status; the first class that fits counts, so leaves stand before roots.
ERROR_STATUS: dict[type[Exception], grpc.StatusCode] = {
    NotOnLedger: grpc.StatusCode.NOT_FOUND,
    StoreCorrupt: grpc.StatusCode.DATA_LOSS,
    ForeignStore: grpc.StatusCode.FAILED_PRECONDITION,
    StoreLocked: grpc.StatusCode.UNAVAILABLE,
    Regression: grpc.StatusCode.FAILED_PRECONDITION,
    ExportRefused: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HistoryConflict: grpc.StatusCode.DATA_LOSS,
    PeerUnreachable: grpc.StatusCode.UNAVAILABLE,
    StaleRead: grpc.StatusCode.UNAVAILABLE,
    EngineError: grpc.StatusCode.UNAVAILABLE,
    ConsensusError: grpc.StatusCode.UNAVAILABLE,
    ProofError: grpc.StatusCode.INVALID_ARGUMENT,
    MalformedError: grpc.StatusCode.INVALID_ARGUMENT,
    SignatureError: grpc.StatusCode.UNAUTHENTICATED,
    ProtocolError: grpc.StatusCode.INVALID_ARGUMENT,
}


def status_of_error(error: Exception) -> grpc.StatusCode:
    """Return the status of an error that a call ends with."""
    for kind, status in ERROR_STATUS.items():
        if isinstance(error, kind):
            return status
    return grpc.StatusCode.INTERNAL


def status_of_outcome(outcome: Outcome) -> grpc.StatusCode:
    """Return the status of a call whose batches all had this outcome at admission."""
    return grpc.StatusCode[MEANINGS[outcome].status]
