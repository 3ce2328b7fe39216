"""Who may come in: by API key or client certificate, for what, and how often."""

import logging
import threading
from dataclasses import dataclass

from lotmark_node.http.api_keys import ApiKeyFile, May, Rights, Service
from lotmark_node.http.client_certificates import ClientCertificates
from lotmark_node.http.errors import ApiKeyMayNot, ApiKeyRefused, RateExceeded
from lotmark_node.http.rate_limit import TokenBuckets

logger = logging.getLogger(__name__)

REFUSED_LINES_PER_MINUTE = 6  # in the log; further ones are counted and told with the next

_SCHEME = "bearer "
_REFUSED = "*"  # no name of a caller


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows of who sends it."""

    authorization: str = ""  # the header of that name
    certificate: bytes | None = None  # the connection's, DER


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request."""

    kind: str  # "key" or "certificate"
    system: str  # the key's name, or who holds the certificate
    may: Rights
    per_minute: int  # requests

    @property
    def name(self) -> str:
        """Kind and system: nobody else has the same."""
        return f"{self.kind} {self.system}"

    def may_do(self, wanted: May | None) -> bool:
        """Tell whether that is among the caller's rights; None: anybody may."""
        return wanted is None or wanted in self.may or (wanted is May.READ and May.SEAL in self.may)


class Doorkeeper:
    """Lets requests in; any thread may ask."""

    def __init__(
        self,
        keys: ApiKeyFile,
        service: Service,
        buckets: TokenBuckets,
        certificates: ClientCertificates | None = None,
    ) -> None:
        self._keys = keys
        self._service = service
        self._buckets = buckets
        self._certificates = certificates
        self._lock = threading.Lock()
        self._refused_count = 0
        self._untold_count = 0

    @property
    def refused_count(self) -> int:
        """How many requests showed nothing that is valid."""
        return self._refused_count

    def admit(self, shown: Shown, wanted: May | None) -> Caller:
        """Return who sends a request, if it may do what it wants.

        Args:
            shown: An API key, or else a certificate.
            wanted: What it wants to do; None: what everybody may who is known.

        Raises:
            ApiKeyRefused: There is no key or certificate that is valid: always in the same words.
            ApiKeyMayNot: It is not for this.
            RateExceeded: It was used more often than it may be.
            ApiKeyFileError: The file of keys cannot be read, so nobody comes in.
        """
        caller = self.find(shown)
        if caller is None:
            self._tell_refused()
            raise ApiKeyRefused(
                "no valid API key; send one in the header Authorization: Bearer KEY"
            )
        if wait_s := self._buckets.take(caller.name, caller.per_minute):
            raise RateExceeded(
                f"{caller.name} may be used {caller.per_minute} times a minute; try again in"
                f" {wait_s:.1f} s",
                wait_s,
            )
        if not caller.may_do(wanted):
            raise ApiKeyMayNot(
                f"{caller.name} may {_listed(caller.may)}, and not {wanted}; make a key that may"
            )
        return caller

    def find(self, shown: Shown) -> Caller | None:
        """Return who sends a request; None: nobody who is known here.

        Raises:
            ApiKeyFileError: The file of keys cannot be read.
        """
        if not shown.authorization:
            if shown.certificate is None or self._certificates is None:
                return None
            found = self._certificates.find(shown.certificate)
            if found is None:
                return None
            return Caller("certificate", found.holder, found.may, found.per_minute)
        secret = ""
        if shown.authorization[: len(_SCHEME)].lower() == _SCHEME:
            secret = shown.authorization[len(_SCHEME) :].strip()
        with self._lock:
            key = self._keys.find(secret, self._service) if secret else None
        return None if key is None else Caller("key", key.name, key.may, key.per_minute)

    def _tell_refused(self) -> None:
        """Log that a request was refused; never what it showed."""
        with self._lock:
            self._refused_count += 1
            self._untold_count += 1
            if self._buckets.take(_REFUSED, REFUSED_LINES_PER_MINUTE):
                return
            untold, self._untold_count = self._untold_count, 0
        logger.warning("requests without a valid API key were refused", extra={"count": untold})


def _listed(rights: Rights) -> str:
    return " and ".join(each for each in May if each in rights)
