"""Which certificate an OPC UA server shows, for a person who is to compare it."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from asyncua.crypto import uacrypto
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lotmark_adapters.errors import SourceRefused, SourceUnavailable
from lotmark_adapters.opcua.bounded_client import BoundedClient
from lotmark_adapters.opcua.connection import FOREIGN_ERRORS

ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """A certificate that a server shows; nobody has said that it is the right one."""

    der: bytes
    subject: str
    starts: datetime
    ends: datetime

    @property
    def digest(self) -> str:
        """SHA-256 of it, hex: what a person compares with the server's own panel."""
        return sha256(self.der).hexdigest()


async def fetch_certificate(address: str) -> ShownCertificate:
    """Ask a server for its certificate. Nothing is told to it, and nothing of it is believed.

    Raises:
        SourceRefused: It has none.
        SourceUnavailable: It does not answer in time, or not as an OPC UA server.
    """
    client = BoundedClient(address, ANSWER_S)
    try:
        endpoints = await client.connect_and_get_server_endpoints()
        shown = next((each.ServerCertificate for each in endpoints if each.ServerCertificate), None)
        certificate: x509.Certificate | None = (
            None if shown is None else uacrypto.x509_from_der(shown)  # type: ignore[no-untyped-call]
        )
    except (TimeoutError, *FOREIGN_ERRORS) as error:
        raise SourceUnavailable(
            f"{address} shows no certificate: {error!r}; is this the address of an OPC UA server"
            " that runs?"
        ) from error
    if certificate is None:
        raise SourceRefused(
            f"{address} has no certificate, so nobody can know it; switch security on at the server"
        )
    return ShownCertificate(
        der=certificate.public_bytes(Encoding.DER),
        subject=certificate.subject.rfc4514_string(),
        starts=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
    )
