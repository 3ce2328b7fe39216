"""What goes wrong between an HTTP caller and the ledger."""

from lotmark.errors import ProtocolError


class HttpError(ProtocolError):
    """The root of what the HTTP endpoint raises by itself."""


class ApiKeyRefused(HttpError):
    """There is no API key, or none that is valid here; the message never says which."""


class ApiKeyMayNot(HttpError):
    """The API key is valid, but not for this."""


class ApiKeyFileError(HttpError):
    """The file of API keys cannot be used or changed."""


class RateExceeded(HttpError):
    """An API key was used more often than it may be.

    Attributes:
        wait_s: After so many seconds it may be used again.
    """

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class BodyTooLarge(HttpError):
    """A request's body has more bytes than may be."""


class BodyTooSlow(HttpError):
    """A request's body has not arrived in time."""


class NoJson(HttpError):
    """A request's body is not said to be JSON."""


class Busy(HttpError):
    """As many requests are being answered as may be at once, or one about the same report."""


class EpcisRequestError(HttpError):
    """The root of what ends a request to the EPCIS interface; each has its name in the standard."""


class ValidationRefused(EpcisRequestError):
    """What was to be captured is no EPCIS event or document."""


class QueryParameterRefused(EpcisRequestError):
    """A query's parameter is unknown or has a value that cannot be."""


class QueryTooLarge(EpcisRequestError):
    """More events fit than the query takes as an answer."""


class QueryTooComplex(EpcisRequestError):
    """More events would have to be looked at than one request may."""


class NoSuchResource(EpcisRequestError):
    """There is no such event, capture job or value."""


class EventExists(EpcisRequestError):
    """The event was captured before.

    Attributes:
        location: Path of the event.
    """

    def __init__(self, message: str, location: str) -> None:
        super().__init__(message)
        self.location = location


class NotAcceptable(EpcisRequestError):
    """The answer cannot be given in the form or version that was asked for."""


class UnsupportedMedia(EpcisRequestError):
    """The body is of a media type that is not read."""


class CaptureLimitExceeded(EpcisRequestError):
    """A document has more events than one capture takes."""


class UriTooLong(EpcisRequestError):
    """The request's URI has more characters than are read."""


class EpcisNotImplemented(EpcisRequestError):
    """The standard has it, but it is not served here."""


class CaptureJobsUnusable(HttpError):
    """The file of capture jobs cannot be read or written."""
