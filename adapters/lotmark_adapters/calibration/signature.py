"""The XML signature inside a calibration certificate, and what it covers.

Two steps, the order matters. First the shape: one signature, directly under the root, over the
whole document and nothing but it, by transforms and algorithms of a short list. So nothing can be
moved, wrapped or added beside what was signed. Then signxml checks digests and the signature.
Readers take fields from the returned content alone, which is made from the bytes that were signed.
"""

import base64
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
from lotmark_adapters.errors import CertificateRefused

CERTIFICATES_MAX = 32  # that a signature may bring
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
_QUALIFYING = "ds:Object/xades:QualifyingProperties"
_SIGNED = f"{_QUALIFYING}/xades:SignedProperties"
_UNSIGNED = f"{_QUALIFYING}/xades:UnsignedProperties/xades:UnsignedSignatureProperties"
_ID_ATTRIBUTES = ("Id", "ID", "id", "{http://www.w3.org/XML/1998/namespace}id")

# What signxml and what it stands on raise when a signature is wrong, or too odd to be read.
_REFUSALS = (
    SignXMLException, etree.LxmlError, cryptography.exceptions.InvalidSignature,
    cryptography.exceptions.UnsupportedAlgorithm, NotImplementedError,
    ValueError, TypeError, KeyError, AttributeError,
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
    is_qualified = _check_references(signature)
    _check_certificate_digests(signature)
    signer, *others = _embedded_certificates(signature, "ds:KeyInfo/ds:X509Data/ds:X509Certificate")
    results = _verified(raw, signer, is_qualified=is_qualified)
    content = results[0].signed_xml
    if content is None or content.tag != root.tag:
        raise CertificateRefused("the signature does not cover the certificate")
    return SignedDocument(
        content=content,
        signer=signer,
        certificates=(
            *others,
            *_embedded_certificates(
                signature, f"{_UNSIGNED}/xades:CertificateValues/xades:EncapsulatedX509Certificate"
            ),
        ),
        crls=_embedded_crls(signature),
        signed_ms=_signing_time(results[1].signed_xml) if is_qualified else None,
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


def _check_references(signature: etree._Element) -> bool:
    """Check what is signed; return whether there are signed properties beside the document."""
    references = signature.findall("ds:SignedInfo/ds:Reference", _NAMESPACES)
    uris = [reference.get("URI") for reference in references]
    if uris[:1] != [""]:
        raise CertificateRefused(
            f"the signature's first reference is {shown(uris[0] if uris else None)}; it must be the"
            ' whole document, ""'
        )
    transforms = _transforms(references[0])
    if transforms[:1] != [_ENVELOPED] or not _is_canonical(transforms[1:]):
        raise CertificateRefused(
            f"the signature covers the document by {', '.join(transforms)[:200] or 'no'} transforms;"
            " enveloped signature and one canonical form without comments are verified here"
        )
    properties = signature.findall(_SIGNED, _NAMESPACES)
    if len(references) == 1 and not properties:
        return False
    if len(references) != 2 or len(properties) != 1:
        raise CertificateRefused(
            f"the signature has {len(references)} references and {len(properties)} signed"
            " properties; the document, and at most one of these, are verified here"
        )
    identifier = properties[0].get("Id", "")
    named_so = [
        element
        for element in signature.getroottree().getroot().iter("*")
        if identifier in map(element.get, _ID_ATTRIBUTES)
    ]
    if uris[1] != f"#{identifier}" or len(named_so) != 1 or not _is_canonical(
        _transforms(references[1])
    ):  # fmt: skip
        raise CertificateRefused(
            "the signature's second reference is not, in canonical form, its own signed properties"
        )
    return True


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


def _verified(raw: bytes, signer: x509.Certificate, *, is_qualified: bool) -> list[VerifyResult]:
    """Return what signxml verified: the document, then the signed properties if there are."""
    configuration = XAdESSignatureConfiguration if is_qualified else SignatureConfiguration
    verifier = XAdESVerifier() if is_qualified else XMLVerifier()
    try:
        results = verifier.verify(
            raw,
            x509_cert=signer,
            parser=parser(),
            expect_config=configuration(
                location="./",
                expect_references=2 if is_qualified else 1,
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


def _embedded_certificates(
    signature: etree._Element, path: str
) -> tuple[x509.Certificate, ...]:  # fmt: skip
    elements = signature.findall(path, _NAMESPACES)
    if len(elements) > CERTIFICATES_MAX or (not elements and "KeyInfo" in path):
        raise CertificateRefused(
            f"the signature brings {len(elements)} X.509 certificates; 1 to {CERTIFICATES_MAX},"
            " the signer's first, are read"
        )
    try:
        return tuple(x509.load_der_x509_certificate(_decoded(each)) for each in elements)
    except (ValueError, cryptography.exceptions.UnsupportedAlgorithm) as error:
        raise CertificateRefused("an X.509 certificate in the signature is damaged") from error


def _embedded_crls(signature: etree._Element) -> tuple[x509.CertificateRevocationList, ...]:
    elements = signature.findall(
        f"{_UNSIGNED}/xades:RevocationValues/xades:CRLValues/xades:EncapsulatedCRLValue",
        _NAMESPACES,
    )
    if len(elements) > CRLS_MAX:
        raise CertificateRefused(
            f"the signature brings {len(elements)} revocation lists; {CRLS_MAX} are read"
        )
    try:
        return tuple(x509.load_der_x509_crl(_decoded(each)) for each in elements)
    except (ValueError, cryptography.exceptions.UnsupportedAlgorithm) as error:
        raise CertificateRefused("a revocation list in the signature is damaged") from error


def _decoded(element: etree._Element) -> bytes:
    return base64.b64decode(element.text or "")


def _signing_time(properties: etree._Element | None) -> int | None:
    if properties is None:
        raise CertificateRefused("the signed properties are no XML")
    text = properties.findtext(
        "xades:SignedSignatureProperties/xades:SigningTime", namespaces=_NAMESPACES
    )
    if text is None:
        return None
    try:
        return enclosing_ms(text.strip())[0]
    except MalformedError as error:
        raise CertificateRefused(f"the signature's time {error}") from error
