"""Whether an OPC UA server is the one that an operator put his trust in.

asyncua asks for no server certificate to be trusted unless it is told to, and then checks dates,
application URI, usage and issuer; the host it is told nothing of, so that is checked here.
"""

import asyncio
import hashlib
import ipaddress
from pathlib import Path

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.truststore import TrustStore
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from lotmark_adapters.errors import SourceRefused

CERTIFICATE_FILES = ("*.der", "*.pem")

_CHECKS = CertificateValidatorOptions.TRUSTED_VALIDATION | CertificateValidatorOptions.PEER_SERVER


class ServerTrust:
    """The certificates of servers, or of who issues them, in one folder."""

    def __init__(self, folder: Path, validator: CertificateValidator) -> None:
        self._folder = folder
        self._validator = validator

    @classmethod
    async def read(cls, folder: Path) -> "ServerTrust":
        """Return what a folder holds.

        Raises:
            SourceRefused: It cannot be read, or a certificate in it cannot.
        """
        store = TrustStore([folder], [])
        if await asyncio.to_thread(
            _holds_certificates, folder
        ):  # an empty store cannot be made; without one nobody is trusted
            try:
                await store.load()
            except (OSError, ValueError) as error:
                raise SourceRefused(
                    f"{folder} holds a certificate that cannot be read ({error}); trusted"
                    " certificates are files .der or .pem"
                ) from error
        return cls(folder, CertificateValidator(_CHECKS, store))

    async def check(
        self, certificate: x509.Certificate, server: ua.ApplicationDescription, host: str
    ) -> None:
        """Check that a server is to be trusted.

        Args:
            certificate: The server's.
            server: What it says of itself.
            host: Name or address that it was reached under.

        Raises:
            SourceRefused: It is not; the message says what to do.
        """
        try:
            await self._validator(certificate, server)
        except ServiceError as error:
            raise SourceRefused(self._refusal(error.code, certificate, server, host)) from error
        if host.lower() not in (names := _hosts(certificate)):
            raise SourceRefused(
                f"{host}: the server's certificate {digest_of(certificate)} is for"
                f" {', '.join(names) or 'no host'}; use one of these in the address, or give the"
                f" server a certificate with {host} in it"
            )

    def _refusal(
        self,
        code: int,
        certificate: x509.Certificate,
        server: ua.ApplicationDescription,
        host: str,
    ) -> str:
        shown = f"{host}: the server's certificate {digest_of(certificate)}"
        match code:
            case ua.StatusCodes.BadCertificateUntrusted:
                return (
                    f"{shown} is not trusted; compare the digest at the machine, then put the"
                    f" certificate into {self._folder} as a file .der or .pem"
                )
            case ua.StatusCodes.BadCertificateTimeInvalid:
                starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
                return (
                    f"{shown} is valid from {starts:%Y-%m-%d} to {ends:%Y-%m-%d}; give the server"
                    " a new one, or set this machine's clock"
                )
            case ua.StatusCodes.BadCertificateUriInvalid:
                return (
                    f"{shown} is not for the application {server.ApplicationUri!r} that the server"
                    " says it is; give the server a certificate with that URI in it"
                )
            case ua.StatusCodes.BadCertificateUseNotAllowed:
                return f"{shown} is not for use by an OPC UA server; give the server another"
            case _:
                return f"{shown} lacks what OPC 10000-6, 6.2.2 asks for; give the server another"


def _holds_certificates(folder: Path) -> bool:
    return any(path for pattern in CERTIFICATE_FILES for path in folder.glob(pattern))


def digest_of(certificate: x509.Certificate) -> str:
    """Return the SHA-256 by which a person compares certificates."""
    raw = certificate.public_bytes(serialization.Encoding.DER)
    return f"SHA-256 {hashlib.sha256(raw).hexdigest()}"


def _hosts(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    addresses = names.get_values_for_type(x509.IPAddress)
    return hosts + [
        str(each)
        for each in addresses
        if isinstance(each, ipaddress.IPv4Address | ipaddress.IPv6Address)
    ]
