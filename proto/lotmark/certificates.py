"""TLS certificates of a consortium: each party issues its own nodes', and vouches for no other's.

Whoever accepts a connection reads the peer's party and node from the URI name and checks that the
issuer is that very party's CA. Whoever connects expects the DNS name, since gRPC in Python refuses
certificates that have a URI alone. Both names hold the chain id: a certificate of one consortium
is worth nothing in another. The CA certificate cannot hold it, as it stands in the genesis.

TLS keys are not ledger keys: losing one lets somebody connect, not sign.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lotmark.ca_certificate import load_ca
from lotmark.errors import MalformedError, SignatureError

CA_DAYS = 20 * 365
LEAF_DAYS_MAX = 825  # beyond this, TLS libraries of some systems refuse a certificate

_CLOCK_SLACK = timedelta(days=1)  # a peer's clock may be behind its issuer's
_URI = re.compile(r"lotmark:([0-9a-f]{64})/([A-Z0-9][A-Z0-9-]{0,30})/([a-z0-9][a-z0-9-]{0,30})")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerIdentity:
    """Who is at the other end of a connection."""

    party: str
    node: str  # a node's name, or that of a client


def tls_name(party: str, node: str, chain_id: bytes) -> str:
    """Return the DNS name that a node's certificate has, and that whoever connects expects."""
    return f"{node}.{party.lower()}.{chain_id.hex()[:16]}.lotmark.invalid"


def make_ca(party: str, chain_name: str, *, now_ms: int) -> tuple[bytes, bytes]:
    """Make a party's CA.

    Args:
        party: The party's id.
        chain_name: The consortium's name, for people who read the certificate.
        now_ms: When it begins to be valid; it is for 20 years.

    Returns:
        The certificate and the private key, both in PEM.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, chain_name),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{party} CA"),
        ]
    )
    certificate = (
        _builder(subject, key.public_key(), now_ms=now_ms, days=CA_DAYS)
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), _key_pem(key)


def make_leaf(
    ca_cert: bytes,
    ca_key: bytes,
    *,
    chain_id: bytes,
    party: str,
    node: str,
    addresses: Iterable[str],
    days: int,
    now_ms: int,
) -> tuple[bytes, bytes]:
    """Make a node's or client's certificate, for connecting and for being connected to.

    Args:
        ca_cert: The party's CA certificate, PEM.
        ca_key: Its private key, PEM.
        chain_id: The chain it is valid for.
        party: The party's id.
        node: The node's or client's name.
        addresses: Host names and IP addresses at which it can be reached, loopback too. Nodes do
            not need them to find each other; browsers and foreign tools do.
        days: For how long it is valid, 1 to 825.
        now_ms: When it begins to be valid.

    Returns:
        The certificate and the private key, both in PEM.

    Raises:
        MalformedError: The CA is none, the key is another's, or `days` is out of bounds.
    """
    if not 1 <= days <= LEAF_DAYS_MAX:
        raise MalformedError(f"a certificate for {days} days; use 1 to {LEAF_DAYS_MAX}")
    ca = load_ca(ca_cert.decode(errors="replace"), party=party)
    issuer_key = _load_ca_key(ca_key)
    if issuer_key.public_key() != ca.public_key():
        raise MalformedError(f"the CA key is not that of {party}'s CA certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{party}/{node}")])
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(f"lotmark:{chain_id.hex()}/{party}/{node}"),
        x509.DNSName(tls_name(party, node, chain_id)),
        *(_address_name(address) for address in addresses),
    ]
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    certificate = (
        _builder(subject, key.public_key(), now_ms=now_ms, days=days)
        .issuer_name(ca.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), _key_pem(key)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, *, now_ms: int, days: int
) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(now_ms // 1000, tz=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SLACK)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_ca_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedError(f"the CA key is no unencrypted key in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise MalformedError("the CA key is not one of an elliptic curve")
    return key


def _address_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def certificate_not_after_ms(cert_pem: bytes) -> int:
    """Return when a certificate ends, Unix time in ms.

    Raises:
        MalformedError: It is none.
    """
    try:
        ends = x509.load_pem_x509_certificate(cert_pem).not_valid_after_utc
    except ValueError as error:
        raise MalformedError(f"no certificate in PEM: {error}") from error
    return int(ends.timestamp()) * 1000


def peer_identity(
    cert_pem: bytes, ca_certificates: Mapping[str, str], chain_id: bytes, *, now_ms: int
) -> PeerIdentity:
    """Return who presented a certificate, after all that a TLS library does not check.

    A server takes connections from all parties, so its TLS library accepts what any of their CAs
    issued. Only here is a certificate that names one party but comes from another's CA refused.

    Args:
        cert_pem: The certificate, whose private key the peer proved to have.
        ca_certificates: Each member's, PEM.
        chain_id: The consortium's chain.
        now_ms: When it must be valid.

    Raises:
        SignatureError: It names another chain or nobody, was issued by any other than the named
            party's CA, is a CA's itself, or is not valid at that time.
    """
    try:
        certificate = x509.load_pem_x509_certificate(cert_pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        is_ca = _is_ca(certificate)
    except (
        ValueError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.ExtensionNotFound,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise SignatureError(f"the peer's certificate names nobody: {error}") from error
    named = _URI.fullmatch(uris[0]) if len(uris) == 1 else None
    if named is None:
        raise SignatureError(
            f"the peer's certificate names {[uri[:120] for uri in uris[:3]]!a}, not one"
            " lotmark:<chain id>/<party>/<node>; issue it with `lotmark init`"
        )
    chain_hex, party, node = named.groups()
    if chain_hex != chain_id.hex():
        raise SignatureError(
            f"the certificate of {party}/{node} is for chain {chain_hex}, not {chain_id.hex()}"
        )
    if is_ca:
        raise SignatureError(f"the certificate of {party}/{node} is a CA's; present a node's")
    _check_issuer(certificate, ca_certificates, party=party, node=node, now_ms=now_ms)
    return PeerIdentity(party=party, node=node)


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _check_issuer(
    certificate: x509.Certificate,
    ca_certificates: Mapping[str, str],
    *,
    party: str,
    node: str,
    now_ms: int,
) -> None:
    ca_pem = ca_certificates.get(party)
    if ca_pem is None:
        raise SignatureError(f"the certificate names {party}/{node}, but {party} is no party")
    ca = load_ca(ca_pem, party=party)
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignatureError(
            f"the certificate of {party}/{node} was not issued by the CA of {party}"
        ) from error
    now = datetime.fromtimestamp(now_ms / 1000, tz=UTC)
    for what, checked in ((f"{party}/{node}", certificate), (f"{party}'s CA", ca)):
        first, last = checked.not_valid_before_utc, checked.not_valid_after_utc
        if not first <= now <= last:
            raise SignatureError(
                f"the certificate of {what} is valid from {first:%Y-%m-%d %H:%M} to"
                f" {last:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M}; renew it"
            )
