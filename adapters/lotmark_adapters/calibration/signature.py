"""The XML signature inside a calibration certificate, and what it covers.

Two steps, the order matters. First the shape: one signature, directly under the root, over the
whole document and nothing but it, by transforms and algorithms of a short list. So nothing can be
moved, wrapped or added beside what was signed. Then signxml checks digests and the signature.
Readers take fields from the returned content alone, which is made from the bytes that were signed.
"""

import base64
from contextlib import suppress
from dataclasses import dataclass

import cryptography.exceptions
from cryptography import x509
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, VerifyResult, XMLVerifier
from signxml.xades.xades import XAdESSignatureConfiguration, XAdESVerifier

from lotmark.document_fields import shown
from lotmark.errors import MalformedError
from lotmark.rfc3339 import enclosing_ms
from lotmark_adapters.calibration.document import DCC_NAMESPACE, parse_document, parser
from lotmark_adapters.calibration.x509_files import X509_ERRORS, certificates_of, crl_of
from lotmark_adapters.errors import CertificateRefused

CERTIFICATES_MAX = 32  # that a signature may bring beside the signer's
CRLS_MAX = 32

_DS = "http://www.w3.org/2000/09/xmldsig#"
_XADES = "http://uri.etsi.org/01903/v1.3.2#"
_NAMESPACES = {"ds": _DS, "xades": _XADES, "dcc": DCC_NAMESPACE}
_ENVELOPED = f"{_DS}enveloped-signature"
_CANONICAL = frozenset(
    {
        "http://www.w3.org/2001/10/xml-exc-c14n#",
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
        "http://www.w3.org/2006/12/xml-c14n11",
    }
)
_SIGNATURE_METHODS = frozenset(
    {
        SignatureMethod.ECDSA_SHA256, SignatureMethod.ECDSA_SHA384, SignatureMethod.ECDSA_SHA512,
        SignatureMethod.RSA_SHA256, SignatureMethod.RSA_SHA384, SignatureMethod.RSA_SHA512,
        SignatureMethod.SHA256_RSA_MGF1, SignatureMethod.SHA384_RSA_MGF1,
        SignatureMethod.SHA512_RSA_MGF1,
    }
)  # fmt: skip
_DIGESTS = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})
_KEY_CERTIFICATES = "ds:KeyInfo/ds:X509Data/ds:X509Certificate"
_QUALIFYING = "ds:Object/xades:QualifyingProperties"
_SIGNED = f"{_QUALIFYING}/xades:SignedProperties"
_UNSIGNED = f"{_QUALIFYING}/xades:UnsignedProperties/xades:UnsignedSignatureProperties"
_ID_ATTRIBUTES = ("Id", "ID", "id", "{http://www.w3.org/XML/1998/namespace}id")

# What signxml and what it stands on raise when a signature is wrong, or too odd to be read.
_REFUSALS = (
    SignXMLException, etree.LxmlError, cryptography.exceptions.InvalidSignature,
    NotImplementedError, KeyError, AttributeError, *X509_ERRORS,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedDocument:
    """What was signed, and by whose key; whether that one is trusted is not said yet."""

    content: etree._Element  # root of the document as it was signed
    signer: x509.Certificate
    certificates: tuple[x509.Certificate, ...]  # others that came along, trusted or not
    crls: tuple[x509.CertificateRevocationList, ...]  # that came along
    signed_ms: int | None  # when, as the signer says; None: it does not say


def verify_signature(raw: bytes) -> SignedDocument:
    """Return what the signature of a certificate's file covers, and the signer.

    Raises:
        CertificateRefused: There is no signature, it does not cover the whole document, does not
            fit it, or uses what is not allowed here.
    """
    root = parse_document(raw)
    signature = _only_signature(root)
    reference_count = _check_references(signature)
    _check_certificate_digests(signature)
    signer = _signer(signature)
    document, *further = _verified(raw, signer, signature, reference_count)
    if document.signed_xml is None or document.signed_xml.tag != root.tag:
        raise CertificateRefused("the signature does not cover the certificate")
    return SignedDocument(
        content=document.signed_xml,
        signer=signer,
        certificates=_further_certificates(signature),
        crls=_crls(signature),
        signed_ms=_signing_time([result.signed_xml for result in further]),
    )


def _only_signature(root: etree._Element) -> etree._Element:
    signatures = list(root.iter(f"{{{_DS}}}Signature"))
    if not signatures:
        raise CertificateRefused(
            "the certificate carries no signature; ask the laboratory for the signed file"
        )
    if len(signatures) > 1:
        raise CertificateRefused(
            f"the certificate carries {len(signatures)} signatures; one that covers all of it is"
            " verified here"
        )
    if signatures[0].getparent() is not root:
        raise CertificateRefused(
            "the signature does not stand directly under the certificate's root, so it may be"
            " that of another document"
        )
    return signatures[0]


def _check_references(signature: etree._Element) -> int:
    """Check what is signed; return the number of references, of which the document is the first."""
    references = signature.findall("ds:SignedInfo/ds:Reference", _NAMESPACES)
    uris = [reference.get("URI", "none") for reference in references]
    if uris[:1] != [""]:
        raise CertificateRefused(
            f"the signature's first reference is {shown(', '.join(uris))}; it must be the whole"
            ' document, ""'
        )
    transforms = _transforms(references[0])
    if transforms[:1] != [_ENVELOPED] or not _is_canonical(transforms[1:]):
        raise CertificateRefused(
            f"the signature covers the document by {', '.join(transforms)[:200] or 'no transform'};"
            " enveloped signature and one canonical form without comments are verified here"
        )
    parts = [
        *signature.findall(_SIGNED, _NAMESPACES),
        *signature.findall("ds:KeyInfo", _NAMESPACES),
    ]
    own = {f"#{part.get('Id')}" for part in parts if _is_only_one_named_so(part)}
    for uri, reference in zip(uris[1:], references[1:], strict=True):
        if uri not in own or not _is_canonical(_transforms(reference)):
            raise CertificateRefused(
                f"the signature's reference {shown(uri)} is not, in canonical form and for the"
                " first time, its own signed properties or key"
            )
        own.remove(uri)
    return len(references)


def _is_only_one_named_so(element: etree._Element) -> bool:
    identifier = element.get("Id")
    everything = element.getroottree().getroot().iter("*")
    return (
        identifier is not None
        and sum(identifier in map(each.get, _ID_ATTRIBUTES) for each in everything) == 1
    )


def _transforms(reference: etree._Element) -> list[str]:
    path = "ds:Transforms/ds:Transform"
    return [each.get("Algorithm", "") for each in reference.findall(path, _NAMESPACES)]


def _is_canonical(transforms: list[str]) -> bool:
    return not transforms or (len(transforms) == 1 and transforms[0] in _CANONICAL)


def _check_certificate_digests(signature: etree._Element) -> None:
    """Check by which digest signed properties name the signer's certificate: signxml takes any."""
    allowed = {digest.value for digest in _DIGESTS}
    for method in signature.findall(f"{_SIGNED}//xades:CertDigest/ds:DigestMethod", _NAMESPACES):
        if method.get("Algorithm") not in allowed:
            raise CertificateRefused(
                f"the signed properties name the signer by {shown(method.get('Algorithm'))};"
                " SHA-256, SHA-384 and SHA-512 are allowed"
            )


def _verified(
    raw: bytes, signer: x509.Certificate, signature: etree._Element, reference_count: int
) -> list[VerifyResult]:
    """Return what signxml verified, in the order of the references."""
    is_qualified = signature.find(_SIGNED, _NAMESPACES) is not None
    configuration = XAdESSignatureConfiguration if is_qualified else SignatureConfiguration
    verifier = XAdESVerifier() if is_qualified else XMLVerifier()
    try:
        results = verifier.verify(
            raw,
            x509_cert=signer,
            parser=parser(),
            expect_config=configuration(
                location="./",
                expect_references=reference_count,
                signature_methods=_SIGNATURE_METHODS,
                digest_algorithms=_DIGESTS,
                # The dates of the signer's certificate are judged with its chain, not here.
                verification_time=signer.not_valid_before_utc,
            ),
        )
    except _REFUSALS as error:
        # Its words may hold the name of a person who signed, so they stay out of the sentence.
        raise CertificateRefused(
            f"the signature does not fit the document ({type(error).__name__}): one of them was"
            " altered, or the algorithm is not allowed; ask the laboratory for the original file"
        ) from error
    return results if isinstance(results, list) else [results]


def _signer(signature: etree._Element) -> x509.Certificate:
    """Return the certificate of the key that signed: the first one, as all signers write it."""
    element = signature.find(_KEY_CERTIFICATES, _NAMESPACES)
    if element is None:
        raise CertificateRefused(
            "the signature does not bring the signer's X.509 certificate; ask the laboratory for"
            " a file that does"
        )
    return certificates_of(_decoded(element), "the signature's key")[0]


def _further_certificates(signature: etree._Element) -> tuple[x509.Certificate, ...]:
    """Return the certificates that may lead from the signer to a root; unreadable ones do not."""
    elements = [
        *signature.findall(_KEY_CERTIFICATES, _NAMESPACES)[1:],
        *signature.findall(
            f"{_UNSIGNED}/xades:CertificateValues/xades:EncapsulatedX509Certificate", _NAMESPACES
        ),
    ]
    if len(elements) > CERTIFICATES_MAX:
        raise CertificateRefused(
            f"the signature brings {len(elements)} X.509 certificates beside the signer's;"
            f" {CERTIFICATES_MAX} are read"
        )
    certificates: list[x509.Certificate] = []
    for element in elements:
        with suppress(CertificateRefused):
            certificates += certificates_of(_decoded(element), "the signature")
    return tuple(certificates)


def _crls(signature: etree._Element) -> tuple[x509.CertificateRevocationList, ...]:
    elements = signature.findall(
        f"{_UNSIGNED}/xades:RevocationValues/xades:CRLValues/xades:EncapsulatedCRLValue",
        _NAMESPACES,
    )
    if len(elements) > CRLS_MAX:
        raise CertificateRefused(
            f"the signature brings {len(elements)} revocation lists; {CRLS_MAX} are read"
        )
    return tuple(crl_of(_decoded(each), "the signature") for each in elements)


def _decoded(element: etree._Element) -> bytes:
    try:
        return base64.b64decode(element.text or "")
    except ValueError:
        return b""  # then it is no certificate, as whoever reads it says


def _signing_time(signed: list[etree._Element | None]) -> int | None:
    """Return the time that verified signed properties state."""
    path = "xades:SignedSignatureProperties/xades:SigningTime"
    for part in signed:
        if part is None or part.tag != f"{{{_XADES}}}SignedProperties":
            continue
        text = part.findtext(path, namespaces=_NAMESPACES)
        try:
            return None if text is None else enclosing_ms(text.strip())[0]
        except MalformedError as error:
            raise CertificateRefused(f"the signature's time: {error}") from error
    return None
