"""What goes wrong in a call to a node, as this package's own errors."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc

from lotmark.errors import ProtocolError

CANDIDATE_KEY = "lotmark-candidate-bin"  # in a refusal's metadata: an item that a name may mean

_CONNECT_PREFIX = "last error: "  # gRPC lists what it tried; what follows is the reason
_WHERE = re.compile(r"^([A-Z_]+: )?(ipv[46]:\S+: )?(Failed to connect to remote host: )?")
# What gRPC says where TLS fails; a socket closed this early was closed in the handshake.
_IDENTITY = re.compile(r"handshake|verification|socket closed", re.IGNORECASE)


class CallRefused(ProtocolError):
    """The node answered that it will not; the message is the node's."""


class NotOnLedgerError(CallRefused):
    """The ledger has no such entry, event, item or proof."""


class AmbiguousItemError(CallRefused):
    """A name means several items.

    Attributes:
        candidates: Some of them, by their one name each, from which to choose.
    """

    def __init__(self, message: str, candidates: Sequence[str]) -> None:
        super().__init__(message)
        self.candidates = tuple(candidates)


@contextmanager
def node_errors(node: str, timeout_s: float) -> Iterator[None]:
    """Turn what a call raises into errors that say what to do.

    Args:
        node: The node and its address, for messages.
        timeout_s: The call's deadline, for messages.

    Raises:
        ConnectionError: The node cannot be reached, or went away.
        TimeoutError: It did not answer in time.
        CallRefused: It refused the call.
    """
    try:
        yield
    except grpc.RpcError as error:
        raise _own_error(error, node, timeout_s) from error


def _own_error(error: grpc.RpcError, node: str, timeout_s: float) -> Exception:
    assert isinstance(error, grpc.Call), "every error of a call tells its status"
    details = error.details() or "no reason was given"
    match error.code():
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            _, separator, reason = details.rpartition(_CONNECT_PREFIX)
            if not separator:
                return ConnectionError(f"{node}: {reason}")
            return _not_connected(node, _WHERE.sub("", reason))
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return TimeoutError(f"{node} did not answer within {timeout_s:g} s; try again")
        case grpc.StatusCode.NOT_FOUND:
            return NotOnLedgerError(details)
        case grpc.StatusCode.FAILED_PRECONDITION if candidates := _candidates(error):
            return AmbiguousItemError(details, candidates)
        case _:
            return CallRefused(f"{node}: {details}")


def _candidates(error: grpc.Call) -> list[str]:
    """Return the items that a name may mean, where that is why the call was refused."""
    return [
        value.decode(errors="replace")
        for key, value in error.trailing_metadata() or ()
        if key == CANDIDATE_KEY and isinstance(value, bytes)
    ]


def _not_connected(node: str, reason: str) -> ConnectionError:
    if _IDENTITY.search(reason):
        return ConnectionError(
            f"{node}: whoever answers there is not that node of this chain, or refuses the client's"
            f" certificate; check its address and the certificates ({reason})"
        )
    return ConnectionError(
        f"{node} cannot be reached: {reason}; is it running, and is its address in the client's"
        " settings right?"
    )
