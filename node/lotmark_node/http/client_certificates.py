"""Client certificates of the node's own party, which may stand in for API keys."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lotmark.certificates import peer_identity
from lotmark.errors import SignatureError
from lotmark_node.http.api_keys import Rights

PER_MINUTE = 6_000  # requests, for each holder
CHECKED_MAX = 256


@dataclass(frozen=True, slots=True)
class CertificateHolder:
    """A client of the party that its certificate names."""

    holder: str
    may: Rights
    per_minute: int = PER_MINUTE


class ClientCertificates:
    """Who may come in by certificate; any thread may ask.

    Attributes:
        ca_pem: Who issues the certificates: nobody else's are asked for.
    """

    def __init__(
        self,
        party: str,
        ca_pem: str,
        chain_id: bytes,
        rights: Mapping[str, Rights],
        now_ms: Callable[[], int],
    ) -> None:
        self.ca_pem = ca_pem
        self._party = party
        self._chain_id = chain_id
        self._rights = rights
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._checked: dict[tuple[bytes, int], CertificateHolder | None] = {}

    def find(self, certificate: bytes) -> CertificateHolder | None:
        """Return whose certificate this is; None: nobody's who may come in.

        Args:
            certificate: DER, whose private key the caller has proved to have. It is looked at
                again every minute.
        """
        now_ms = self._now_ms()
        key = certificate, now_ms // 60_000
        with self._lock:
            if key not in self._checked:
                if len(self._checked) >= CHECKED_MAX:
                    self._checked.clear()
                self._checked[key] = self._check(certificate, now_ms)
            return self._checked[key]

    def _check(self, certificate: bytes, now_ms: int) -> CertificateHolder | None:
        try:
            pem = x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)
            named = peer_identity(pem, {self._party: self.ca_pem}, self._chain_id, now_ms=now_ms)
        except (SignatureError, ValueError):
            return None
        rights = self._rights.get(named.node)
        return CertificateHolder(named.node, rights) if rights else None
