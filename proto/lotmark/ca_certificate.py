"""The certificate by which a party issues its nodes' TLS certificates, as the genesis holds it."""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lotmark.errors import MalformedError


def load_ca(pem: str, *, party: str) -> x509.Certificate:
    """Return the one CA certificate that `pem` holds.

    Args:
        pem: The certificate, exactly as PEM is written, with nothing before or after it.
        party: Whose CA it is, for messages.

    Raises:
        MalformedError: It is not one self-signed CA certificate of ECDSA on P-256 with SHA-256.
    """
    what = f"the CA certificate of {party}"
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        # TLS libraries take a certificate of another issuer for no trust anchor.
        certificate.verify_directly_issued_by(certificate)
    except x509.ExtensionNotFound as error:
        raise MalformedError(
            f"{what} does not say that it is a CA's (basic constraints)"
        ) from error
    except InvalidSignature as error:
        raise MalformedError(f"{what} is not signed by its own key") from error
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.InvalidVersion,
    ) as error:
        raise MalformedError(f"{what} is no self-signed certificate in PEM: {error}") from error
    # One algorithm, so that every verifier finds the same genesis valid.
    key, digest = certificate.public_key(), certificate.signature_hash_algorithm
    if not (
        isinstance(key, ec.EllipticCurvePublicKey)
        and isinstance(key.curve, ec.SECP256R1)
        and isinstance(digest, hashes.SHA256)
    ):
        raise MalformedError(f"{what} is not signed by ECDSA on P-256 with SHA-256")
    if certificate.serial_number <= 0:  # libraries begin to refuse these, and a genesis is for ever
        raise MalformedError(f"{what} has serial number {certificate.serial_number}, not above 0")
    if not constraints.value.ca:
        raise MalformedError(f"{what} says that it is not a CA's (basic constraints)")
    # Equal certificates have equal text, and none can hide behind the first.
    if certificate.public_bytes(Encoding.PEM).decode("ascii") != pem:
        raise MalformedError(f"{what} is not one certificate in PEM with nothing around it")
    return certificate


def ca_key(certificate: x509.Certificate) -> bytes:
    """Return the public key of a CA that `load_ca` returned, as its DER encoding."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
