"""Who may come in: the API key of a request, and how often it has been used."""

import logging
import threading

from lotmark_node.http.api_keys import ApiKey, ApiKeyFile, May, Service
from lotmark_node.http.errors import ApiKeyMayNot, ApiKeyRefused, RateExceeded
from lotmark_node.http.rate_limit import TokenBuckets

logger = logging.getLogger(__name__)

REFUSED_LINES_PER_MINUTE = 6  # in the log; further ones are counted and told with the next

_SCHEME = "bearer "
_REFUSED = "*"  # no name of a key


class Doorkeeper:
    """Lets requests in; any thread may ask."""

    def __init__(self, keys: ApiKeyFile, service: Service, buckets: TokenBuckets) -> None:
        self._keys = keys
        self._service = service
        self._buckets = buckets
        self._lock = threading.Lock()
        self._refused_count = 0
        self._untold_count = 0

    @property
    def refused_count(self) -> int:
        """How many requests had no key that is valid."""
        return self._refused_count

    def admit(self, authorization: str, wanted: May) -> ApiKey:
        """Return the key of a request that may do what it wants.

        Args:
            authorization: The request's header of that name; "" where it has none.
            wanted: What it wants to do.

        Raises:
            ApiKeyRefused: There is no key, or none that is valid: always in the same words.
            ApiKeyMayNot: It is for reading only.
            RateExceeded: It was used more often than it may be.
            ApiKeyFileError: The file of keys cannot be read, so nobody comes in.
        """
        secret = ""
        if authorization[: len(_SCHEME)].lower() == _SCHEME:
            secret = authorization[len(_SCHEME) :].strip()
        with self._lock:
            key = self._keys.find(secret, self._service) if secret else None
        if key is None:
            self._tell_refused()
            raise ApiKeyRefused(
                "no valid API key; send one in the header Authorization: Bearer KEY"
            )
        if wait_s := self._buckets.take(key.name, key.per_minute):
            raise RateExceeded(
                f"API key {key.name} may be used {key.per_minute} times a minute; try again in"
                f" {wait_s:.1f} s",
                wait_s,
            )
        if wanted is May.SEAL and key.may is not May.SEAL:
            raise ApiKeyMayNot(f"API key {key.name} is for reading only; make one that may seal")
        return key

    def _tell_refused(self) -> None:
        """Log that a request was refused; never what it showed."""
        with self._lock:
            self._refused_count += 1
            self._untold_count += 1
            if self._buckets.take(_REFUSED, REFUSED_LINES_PER_MINUTE):
                return
            untold, self._untold_count = self._untold_count, 0
        logger.warning("requests without a valid API key were refused", extra={"count": untold})
