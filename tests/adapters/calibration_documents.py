"""Calibration certificates for tests, signed by authorities that live as long as the test."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner
from signxml.xades.xades import XAdESSigner

PERSON = "Mona Example"  # stands as a signer, and must come out nowhere
SERIAL = "SN-4711"
SINCE = datetime(2025, 1, 1, tzinfo=UTC)
UNTIL = datetime(2028, 1, 1, tzinfo=UTC)
SIGNED = "2026-01-14T10:00:00Z"

_SIGNING_TIME = "{http://uri.etsi.org/01903/v1.3.2#}SigningTime"


def at(day: str) -> int:
    """Return the Unix milliseconds of a day's noon in UTC."""
    return int(datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp()) * 1_000


@dataclass(frozen=True)
class Party:
    """Somebody with a key and an X.509 certificate."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def issue(self, name: str, **options: Any) -> "Party":
        """Return a party that this one vouches for."""
        return a_party(name, issuer=self, **options)

    def crl(self, *revoked: x509.Certificate, since: datetime = SINCE) -> bytes:
        """Return this party's revocation list in PEM."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(since)
            .next_update(since + timedelta(days=30))
        )
        for certificate in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(since)
                .build()
            )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM)


def a_party(
    name: str,
    *,
    issuer: Party | None = None,
    is_authority: bool = False,
    path_length: int | None = None,
    since: datetime = SINCE,
    until: datetime = UNTIL,
    signs: bool = True,
) -> Party:
    """Return a party, self-signed without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
            x509.NameAttribute(NameOID.COMMON_NAME, name if is_authority else PERSON),
        ]
    )
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(is_authority, path_length), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=signs and not is_authority, key_cert_sign=is_authority,
                crl_sign=is_authority, **usage,
            ),
            critical=True,
        )
        .sign(key if issuer is None else issuer.key, hashes.SHA256())
    )  # fmt: skip
    return Party(certificate, key)


def a_document(
    *,
    number: str = "DCC-2026-17",
    version: str = "3.3.0",
    serial: str = SERIAL,
    performed: str = "2026-01-12",
    again: str | None = "2027-01-12",
    conformity: str | None = "pass",
    extra: str = "",
) -> bytes:
    """Return an unsigned certificate."""
    statements = ""
    if again is not None:
        statements += (
            '<dcc:statement refType="basic_recalibration">'
            f"<dcc:date>{again}</dcc:date></dcc:statement>"
        )
    if conformity is not None:
        statements += (
            '<dcc:statement refType="basic_conformity">'
            f"<dcc:conformity>{conformity}</dcc:conformity></dcc:statement>"
        )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<dcc:digitalCalibrationCertificate xmlns:dcc="https://ptb.de/dcc" schemaVersion="{version}">
  <!-- made for a test -->
  <dcc:administrativeData>
    <dcc:coreData>
      <dcc:uniqueIdentifier>{number}</dcc:uniqueIdentifier>
      <dcc:beginPerformanceDate>2026-01-11</dcc:beginPerformanceDate>
      <dcc:endPerformanceDate>{performed}</dcc:endPerformanceDate>
    </dcc:coreData>
    <dcc:items>
      <dcc:item>
        <dcc:manufacturer><dcc:name><dcc:content>Gauge Works</dcc:content></dcc:name></dcc:manufacturer>
        <dcc:model>G-7</dcc:model>
        <dcc:identifications>
          <dcc:identification><dcc:issuer>manufacturer</dcc:issuer><dcc:value>{serial}</dcc:value></dcc:identification>
          <dcc:identification><dcc:issuer>customer</dcc:issuer><dcc:value>INV-9</dcc:value></dcc:identification>
        </dcc:identifications>
      </dcc:item>
    </dcc:items>
    <dcc:calibrationLaboratory>
      <dcc:calibrationLaboratoryCode>D-K-00001</dcc:calibrationLaboratoryCode>
      <dcc:contact><dcc:name><dcc:content>Lab One</dcc:content></dcc:name></dcc:contact>
    </dcc:calibrationLaboratory>
    <dcc:respPersons><dcc:respPerson><dcc:person><dcc:name><dcc:content>{PERSON}</dcc:content></dcc:name></dcc:person></dcc:respPerson></dcc:respPersons>
    <dcc:statements>{statements}</dcc:statements>
  </dcc:administrativeData>
  <dcc:measurementResults>{extra}</dcc:measurementResults>
</dcc:digitalCalibrationCertificate>
""".encode()  # noqa: E501  # as laboratories write them


class _SignerAtATime(XAdESSigner):
    """Signs with properties, at a time that the test states."""

    signed_at = SIGNED

    def add_signing_time(
        self, signed_signature_properties: Any, sig_root: Any, signing_settings: Any
    ) -> None:
        time = etree.SubElement(signed_signature_properties, _SIGNING_TIME)
        time.text = self.signed_at


def signed(
    document: bytes,
    signer: Party,
    *between: Party,
    signed_at: str | None = SIGNED,
    digest: DigestAlgorithm = DigestAlgorithm.SHA256,
) -> bytes:
    """Return a document with a signature in it; without a time it has no signed properties."""
    options: dict[str, Any] = {
        "signature_algorithm": SignatureMethod.ECDSA_SHA256,
        "digest_algorithm": digest,
    }
    xml_signer: Any = XMLSigner(**options)
    if signed_at is not None:
        xml_signer = _SignerAtATime(**options)
        xml_signer.signed_at = signed_at
    root = xml_signer.sign(
        etree.fromstring(document),
        key=signer.key,
        cert=[each.certificate for each in (signer, *between)],
    )
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


@dataclass(frozen=True)
class Laboratory:
    """A laboratory under an authority, and the folder of a site that trusts its root."""

    root: Party
    authority: Party
    signer: Party
    folder: Path

    def signed(self, document: bytes, **options: Any) -> bytes:
        """Return a document that this laboratory signed."""
        return signed(document, self.signer, self.authority, **options)


def a_laboratory(folder: Path) -> Laboratory:
    """Return a laboratory whose root a site trusts."""
    root = a_party("Root Authority", is_authority=True)
    authority = root.issue("Sub Authority", is_authority=True, path_length=0)
    signer = authority.issue("Lab One")
    folder.mkdir()
    (folder / "root.pem").write_bytes(root.pem)
    return Laboratory(root, authority, signer, folder)
