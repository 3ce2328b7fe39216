"""From who signed a certificate to a root that the site trusts, and what was revoked on the way.

Nothing is fetched: revocation lists are those of the site's folder, and those that the document
brings, which their issuer's signature vouches for.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509 import verification

from lotmark_adapters.calibration.days import datetime_of_ms, moment_text, ms_of_datetime
from lotmark_adapters.calibration.laboratories import TrustedLaboratories
from lotmark_adapters.calibration.signature import SignedDocument
from lotmark_adapters.calibration.x509_files import X509_ERRORS
from lotmark_adapters.errors import CertificateRefused

INTERMEDIATES_MAX = 4  # between the signer and a root


@dataclass(frozen=True, slots=True)
class Revocation:
    """A certificate of the chain is no longer good."""

    organisation: str  # whose certificate it was
    since_ms: int


def chain_to_root(
    signed: SignedDocument, signing_ms: int, trusted: TrustedLaboratories
) -> list[x509.Certificate]:
    """Return the signer's certificate, those between, and a trusted root.

    Args:
        signed: Who signed, and which certificates came along.
        signing_ms: When it was signed: all of the chain must have been valid then.
        trusted: Whose roots count.

    Raises:
        CertificateRefused: There is no such chain.
    """
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(list(trusted.roots)))
        .time(datetime_of_ms(signing_ms))
        .max_chain_depth(INTERMEDIATES_MAX)
        .extension_policies(ee_policy=_signer_policy(), ca_policy=_authority_policy())
        .build_client_verifier()
    )
    try:
        return verifier.verify(signed.signer, [*trusted.links, *signed.certificates]).chain
    except (verification.VerificationError, *X509_ERRORS) as error:
        signer = signed.signer
        raise CertificateRefused(
            f"no valid chain leads from who signed, {organisation(signer)} (certificate"
            f" {signer.serial_number:x}, valid {signer.not_valid_before_utc:%Y-%m-%d} to"
            f" {signer.not_valid_after_utc:%Y-%m-%d}), to a root in {trusted.folder} at the time"
            f" of signing, {moment_text(signing_ms)}; put the root of its authority, and those"
            " between, there if you trust it"
        ) from error


def first_revocation(
    chain: Sequence[x509.Certificate], crls: Sequence[x509.CertificateRevocationList]
) -> Revocation | None:
    """Return the earliest revocation of a certificate of a chain, None if there is none."""
    revocations = [
        Revocation(organisation(certificate), since_ms)
        for certificate, issuer in itertools.pairwise(chain)
        for crl in crls
        if _is_of(crl, issuer)
        and (since_ms := _revoked_since_ms(crl, certificate.serial_number)) is not None
    ]
    return min(revocations, key=lambda revocation: revocation.since_ms, default=None)


def newest_lists(
    chain: Sequence[x509.Certificate], crls: Sequence[x509.CertificateRevocationList]
) -> list[datetime | None]:
    """Return of when the newest revocation list of each issuer in a chain is; None: it has none."""
    return [
        max((crl.last_update_utc for crl in crls if _is_of(crl, issuer)), default=None)
        for issuer in chain[1:]
    ]


def organisation(certificate: x509.Certificate) -> str:
    """Return the organisation that a certificate was issued to, never a person's name."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return str(names[0].value) if names else "an organisation that it does not name"


def _signer_policy() -> verification.ExtensionPolicy:
    """Return what a signer's certificate must be: not an authority's, and for signing."""
    return (
        verification.ExtensionPolicy.permit_all()
        .may_be_present(
            x509.BasicConstraints, verification.Criticality.AGNOSTIC, _check_no_authority
        )
        .may_be_present(x509.KeyUsage, verification.Criticality.AGNOSTIC, _check_may_sign)
    )


def _authority_policy() -> verification.ExtensionPolicy:
    """Return what an authority's certificate must be. The path length is checked in any case."""
    return (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, _check_authority)
        .may_be_present(x509.KeyUsage, verification.Criticality.AGNOSTIC, _check_may_certify)
    )


def _check_no_authority(
    _policy: verification.Policy, _of: x509.Certificate, extension: x509.BasicConstraints | None
) -> None:
    if extension is not None and extension.ca:
        raise ValueError("an authority's certificate signs certificates, no documents")


def _check_may_sign(
    _policy: verification.Policy, _of: x509.Certificate, extension: x509.KeyUsage | None
) -> None:
    if extension is not None and not (extension.digital_signature or extension.content_commitment):
        raise ValueError("the signer's key is not for signatures")


def _check_authority(
    _policy: verification.Policy, _of: x509.Certificate, extension: x509.BasicConstraints
) -> None:
    if not extension.ca:
        raise ValueError("an issuer is no authority")


def _check_may_certify(
    _policy: verification.Policy, _of: x509.Certificate, extension: x509.KeyUsage | None
) -> None:
    if extension is not None and not extension.key_cert_sign:
        raise ValueError("an issuer's key is not for certificates")


def _is_of(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Return whether a revocation list is signed by an issuer."""
    try:
        return crl.issuer == issuer.subject and crl.is_signature_valid(
            issuer.public_key()  # type: ignore[arg-type]  # another kind of key raises TypeError
        )
    except X509_ERRORS:
        return False


def _revoked_since_ms(crl: x509.CertificateRevocationList, serial: int) -> int | None:
    entry = crl.get_revoked_certificate_by_serial_number(serial)
    if entry is None:
        return None
    since = entry.revocation_date_utc
    try:
        invalidity = entry.extensions.get_extension_for_class(x509.InvalidityDate).value
        since = min(since, invalidity.invalidity_date_utc)
    except (x509.ExtensionNotFound, *X509_ERRORS):
        pass  # then the day of the revocation is all that is known
    return ms_of_datetime(since)
