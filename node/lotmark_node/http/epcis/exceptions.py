"""What the EPCIS standard calls what goes wrong, and the bounds that it announces.

The names stand in the type of a problem.
"""

from lotmark_node.http.errors import (
    CaptureLimitExceeded,
    EpcisNotImplemented,
    QueryParameterRefused,
    QueryTooComplex,
    QueryTooLarge,
    UnsupportedMedia,
)

PREFIX = "/epcis"  # of all paths of the standard's
CAPTURE_EVENTS_MAX = 2_000  # of a document
CAPTURE_SIZE_MAX = 4 << 20  # bytes of a document
CAPTURE_LIMITS = {
    "GS1-EPCIS-Capture-Limit": str(CAPTURE_EVENTS_MAX),
    "GS1-EPCIS-Capture-File-Size-Limit": str(CAPTURE_SIZE_MAX),
}

_NAMESPACE = "epcisException:"
_OF_ERROR: dict[type[Exception], str] = {
    QueryParameterRefused: "QueryParameterException",
    QueryTooLarge: "QueryTooLargeException",
    QueryTooComplex: "QueryTooComplexException",
    CaptureLimitExceeded: "CaptureLimitExceededException",
    UnsupportedMedia: "UnsupportedMediaTypeException",
    EpcisNotImplemented: "ImplementationException",
}
_OF_STATUS = {
    400: "ValidationException",
    401: "SecurityException",
    403: "SecurityException",
    404: "NoSuchNameException",
    406: "NotAcceptableException",
    409: "ResourceAlreadyExistsException",
    413: "CaptureLimitExceededException",
    414: "URITooLongException",
    415: "UnsupportedMediaTypeException",
}
VALIDATION = _NAMESPACE + _OF_STATUS[400]
_STATUS_OF = {_NAMESPACE + name: status for status, name in _OF_STATUS.items()}


def is_epcis(path: str) -> bool:
    """Tell whether a path is one of the standard's."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def epcis_exception(error: Exception | None, status: int) -> str:
    """Return the standard's name of an error, or of what a status means."""
    named = _OF_ERROR.get(type(error)) if error is not None else None
    return _NAMESPACE + (named or _OF_STATUS.get(status, "ImplementationException"))


def status_of_exception(name: str) -> int:
    """Return the HTTP status that a name of the standard's goes with."""
    return _STATUS_OF.get(name, 500)
