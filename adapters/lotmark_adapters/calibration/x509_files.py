"""X.509 certificates and revocation lists from bytes, with one error for all that can be wrong.

The library reads many parts only when they are asked for. All parts that are used here are asked
for at once, so that a damaged certificate is refused where it comes in and nowhere later.
"""

import cryptography.exceptions
from cryptography import x509

from lotmark_adapters.errors import CertificateRefused

# What the library raises on bytes that are no sound certificate or list.
X509_ERRORS = (
    ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType, cryptography.exceptions.UnsupportedAlgorithm,
)  # fmt: skip

_PEM = b"-----BEGIN"


def certificates_of(content: bytes, source: str) -> list[x509.Certificate]:
    """Return the X.509 certificates of a file in PEM, or the one in DER.

    Args:
        content: The bytes.
        source: Where they are from, for the message.

    Raises:
        CertificateRefused: One is damaged or of a kind that is not read, or there is none.
    """
    try:
        if _PEM in content:
            certificates = x509.load_pem_x509_certificates(content)
        else:
            certificates = [x509.load_der_x509_certificate(content)]
        for certificate in certificates:
            _ = certificate.subject, certificate.issuer, certificate.extensions
            _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            certificate.public_key()
    except X509_ERRORS as error:
        raise CertificateRefused(
            f"{source} holds no X.509 certificate in PEM or DER that can be read; get it anew"
        ) from error
    return certificates


def crl_of(content: bytes, source: str) -> x509.CertificateRevocationList:
    """Return a revocation list in PEM or DER.

    Args:
        content: The bytes.
        source: Where they are from, for the message.

    Raises:
        CertificateRefused: It is damaged, or none.
    """
    try:
        is_pem = _PEM in content
        crl = x509.load_pem_x509_crl(content) if is_pem else x509.load_der_x509_crl(content)
        _ = crl.issuer, crl.last_update_utc, crl.extensions
    except X509_ERRORS as error:
        raise CertificateRefused(
            f"{source} holds no revocation list in PEM or DER that can be read; get it anew"
        ) from error
    return crl


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether a certificate names an issuer and is signed by it; dates are not looked at."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (cryptography.exceptions.InvalidSignature, *X509_ERRORS):
        return False
    return True
