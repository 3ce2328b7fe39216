"""What the adapters raise. Callers catch the root or a leaf."""


class AdapterError(Exception):
    """What a machine or office system gave cannot be turned into events."""


class EpcisError(AdapterError):
    """A document is not EPCIS 2.0 in JSON-LD, or lacks what an event needs."""


class ContextRefused(EpcisError):
    """A document's JSON-LD context is not pinned, or says more than prefixes."""


class CatenaxError(AdapterError):
    """A document is not in a shape of Catena-X, or lacks what an event needs."""


class SourceRefused(AdapterError):
    """A source is not what the settings say, or not to be trusted: no retry mends that."""


class SourceUnavailable(AdapterError):
    """A source does not answer, or breaks its protocol, at present."""


class UnreadableDocument(SourceUnavailable):
    """An answer is truncated, too large, or no document of the protocol."""


class RequestRefused(SourceUnavailable):
    """A source answers, in its protocol, that it does not do what was asked.

    Attributes:
        codes: Why, in the words of the protocol, such as OUT_OF_RANGE.
    """

    def __init__(self, message: str, codes: frozenset[str]) -> None:
        super().__init__(message)
        self.codes = codes


class CertificateRefused(AdapterError):
    """A calibration certificate cannot be relied on."""


class WebhookRefused(AdapterError):
    """A webhook's settings or a message for it cannot be used."""


class WebhookOutboxUnusable(AdapterError):
    """The file of waiting messages is full, in use, damaged, or cannot be written."""
