"""A connection to an OPC UA server whose certificate is checked before anything is told to it."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from asyncua import Client, ua
from asyncua.crypto import uacrypto
from asyncua.crypto.security_policies import (
    SecurityPolicy,
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
)
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from lotmark_adapters.errors import SourceRefused, SourceUnavailable
from lotmark_adapters.opcua.bounded_client import BoundedClient
from lotmark_adapters.opcua.certificates import make_client_certificate
from lotmark_adapters.opcua.server_trust import ServerTrust
from lotmark_adapters.opcua.settings import OpcuaSettings, Security

SESSION_S = 60  # after so long without a word the server forgets the session

# What asyncua lets through when a server is gone, or says what it must not.
FOREIGN_ERRORS = (ua.UaError, OSError, ValueError, LookupError, struct.error, InvalidSignature)

_POLICIES: dict[Security, type[SecurityPolicy]] = {
    Security.BASIC256_SHA256: SecurityPolicyBasic256Sha256,
    Security.AES256_SHA256_RSA_PSS: SecurityPolicyAes256Sha256RsaPss,
}
_WRONG_USER = (
    ua.uaerrors.BadUserAccessDenied,
    ua.uaerrors.BadIdentityTokenInvalid,
    ua.uaerrors.BadIdentityTokenRejected,
)
_CLIENT_UNKNOWN = (
    ua.uaerrors.BadSecurityChecksFailed,
    ua.uaerrors.BadCertificateUntrusted,
    ua.uaerrors.BadCertificateUseNotAllowed,
    ua.uaerrors.BadCertificateUriInvalid,
    ua.uaerrors.BadCertificateInvalid,
)
_PASSWORD_SIZE_MAX = 1_024


@asynccontextmanager
async def connected(
    settings: OpcuaSettings, on_lost: Callable[[], None] | None = None
) -> AsyncIterator[Client]:
    """Connect with a new client, and close it in the end.

    asyncua can also reconnect by itself, but then shows neither that it did nor what was lost.

    Args:
        settings: Of the server.
        on_lost: Called when the connection is gone, or nothing was answered for `answer_s`.

    Raises:
        SourceRefused: The server is not to be trusted, or not what the settings say.
        SourceUnavailable: It does not answer.
    """
    client = BoundedClient(settings.address, settings.answer_s)
    client.name = client.description = "lotmark"
    client.application_uri = settings.application_uri
    client.session_timeout = SESSION_S * 1_000
    if on_lost is not None:
        client.connection_lost_callback = _answering(on_lost)
    try:
        with foreign_errors(settings):
            if not settings.is_insecure:
                await _secure(client, settings)
            client.trust_server()  # whoever is insecure has said so
            await client.connect()
        yield client
    finally:
        await _close(client)


@contextmanager
def foreign_errors(settings: OpcuaSettings) -> Iterator[None]:
    """Turn what asyncua raises into what a source raises."""
    shown = f"source {settings.name} at {settings.address}"
    try:
        yield
    except _WRONG_USER as error:
        raise SourceRefused(
            f"{shown} refuses user {settings.user or 'anonymous'!r} ({type(error).__name__});"
            " correct user and password_file, or let the user in at the server"
        ) from error
    except _CLIENT_UNKNOWN as error:
        raise SourceUnavailable(
            f"{shown} refuses this client ({type(error).__name__}); put the certificate in"
            f" {settings.own} into the trusted ones of the server"
        ) from error
    except TimeoutError as error:
        raise SourceUnavailable(f"{shown} has not answered within {settings.answer_s} s") from error
    except FOREIGN_ERRORS as error:
        raise SourceUnavailable(f"{shown} is not available: {error!r}") from error


async def _secure(client: BoundedClient, settings: OpcuaSettings) -> None:
    """Check the server's certificate, then agree on keys with it and no other."""
    assert settings.trusted is not None
    trust = await ServerTrust.read(settings.trusted)
    policy = _POLICIES[settings.security]
    mode = ua.MessageSecurityMode.SignAndEncrypt
    endpoints = await client.connect_and_get_server_endpoints()
    try:
        endpoint = Client.find_endpoint(endpoints, mode, policy.URI)
    except ua.UaError as error:
        offered = {each.SecurityPolicyUri.rpartition("#")[2] for each in endpoints}
        raise SourceRefused(
            f"source {settings.name} at {settings.address} offers"
            f" {', '.join(sorted(offered)) or 'nothing'}, not {settings.security} signed and"
            " encrypted; switch that on at the server, or set security"
        ) from error

    async def check(certificate: x509.Certificate, server: ua.ApplicationDescription) -> None:
        await trust.check(certificate, server, settings.host)

    certificate: x509.Certificate | None = uacrypto.x509_from_der(  # type: ignore[no-untyped-call]
        endpoint.ServerCertificate
    )
    if certificate is None:
        raise SourceRefused(f"source {settings.name} at {settings.address} has no certificate")
    await check(certificate, endpoint.Server)
    client.certificate_validator = check  # again, with what the server says once it has signed
    own, key = await asyncio.to_thread(
        make_client_certificate, settings.own, settings.application_uri
    )
    await client.set_security(
        policy, own, key, server_certificate=certificate.public_bytes(Encoding.DER), mode=mode
    )
    if settings.password_file is not None:
        client.set_user(settings.user)
        client.set_password(await asyncio.to_thread(_password, settings))


def _password(settings: OpcuaSettings) -> str:
    assert settings.password_file is not None
    try:
        password = settings.password_file.read_text()
    except (OSError, ValueError) as error:
        raise SourceRefused(
            f"source {settings.name}: password_file {settings.password_file}: {error}"
        ) from error
    if len(password) > _PASSWORD_SIZE_MAX:
        raise SourceRefused(
            f"source {settings.name}: password_file {settings.password_file} has over"
            f" {_PASSWORD_SIZE_MAX} characters; it must hold the password alone"
        )
    return password.rstrip("\r\n")


def _answering(on_lost: Callable[[], None]) -> Callable[[Exception], Coroutine[Any, Any, None]]:
    async def lost(_: Exception) -> None:
        on_lost()

    return lost


async def _close(client: Client) -> None:
    """End the session where the server still answers; let go of everything in any case."""
    with suppress(*FOREIGN_ERRORS):
        await client.close_session()
    if client.uaclient.has_transport:
        with suppress(*FOREIGN_ERRORS):
            await client.close_secure_channel()
        client.disconnect_socket()
