"""Certificates of OPC UA applications: self-signed, with the application's URI in them."""

import datetime
import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLIENT_NAME = "client"  # files client.der and client-key.pem

_KEY_BITS = 2_048
_VALID_DAYS = 3_650  # whoever trusts it has compared its digest; there is no authority to renew it
_BACKDATED_H = 24  # a machine's clock may be behind


def make_client_certificate(folder: Path, application_uri: str) -> tuple[Path, Path]:
    """Return the files of a client's certificate (DER) and key (PEM, mode 0600).

    They are written where the key is absent; what is there is left alone.
    """
    certificate, key = folder / f"{CLIENT_NAME}.der", folder / f"{CLIENT_NAME}-key.pem"
    if key.exists() and certificate.exists():
        return certificate, key
    return write_certificate(
        folder, CLIENT_NAME, application_uri=application_uri, hosts=[socket.gethostname()]
    )


def write_certificate(
    folder: Path,
    name: str,
    *,
    application_uri: str,
    hosts: Sequence[str],
    is_server: bool = False,
    valid_days: int = _VALID_DAYS,
) -> tuple[Path, Path]:
    """Make a key with a self-signed certificate; return the files of certificate and key.

    Args:
        folder: Where they are written; made if absent.
        name: Of the files, and the certificate's common name.
        application_uri: The URI by which the application names itself.
        hosts: Names and IP addresses under which it is reached.
        is_server: Whether it is for a server rather than a client.
        valid_days: How long from now on; negative: it has ended.
    """
    key = rsa.generate_private_key(public_exponent=65_537, key_size=_KEY_BITS)
    now = datetime.datetime.now(datetime.UTC)
    ends = now + datetime.timedelta(days=valid_days)
    starts = min(now, ends) - datetime.timedelta(hours=_BACKDATED_H)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = ExtendedKeyUsageOID.SERVER_AUTH if is_server else ExtendedKeyUsageOID.CLIENT_AUTH
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(application_uri)]
    names += [_host_name(host) for host in hosts]
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder(subject, subject, public, x509.random_serial_number(), starts, ends)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_KEY_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    certificate_file, key_file = folder / f"{name}.der", folder / f"{name}-key.pem"
    _write_secret(
        key_file,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    return certificate_file, key_file


# What OPC 10000-6, 6.2.2 asks of an application instance's certificate.
_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=True,
    key_encipherment=True,
    data_encipherment=True,
    key_agreement=False,
    key_cert_sign=True,  # it signs itself
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_secret(path: Path, content: bytes) -> None:
    # Removed first: opened with O_CREAT alone, a file that is there would keep its mode.
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
