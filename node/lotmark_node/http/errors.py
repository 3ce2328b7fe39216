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
