"""The XML of a calibration certificate: bounded, and nothing outside it is looked at."""

from lxml import etree

from lotmark.document_fields import shown
from lotmark_adapters.errors import CertificateRefused

DCC_NAMESPACE = "https://ptb.de/dcc"
DOCUMENT_SIZE_MAX = 8_388_608  # a certificate may carry drawings
ELEMENTS_MAX = 200_000
DEPTH_MAX = 64

_ROOT = f"{{{DCC_NAMESPACE}}}digitalCalibrationCertificate"
_DER_SEQUENCE = b"\x30"  # how every CMS file begins
_PEM_CMS = (b"-----BEGIN PKCS7", b"-----BEGIN CMS")


def parser() -> etree.XMLParser:
    """Return a parser that opens no file, no address and no entity.

    Comments are left out: canonical XML does not sign them, so they must not split what is read.
    """
    return etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
    )


def parse_document(raw: bytes) -> etree._Element:
    """Return the root element of a digital calibration certificate.

    Raises:
        CertificateRefused: It is too large, a CMS file, no XML, or no such certificate.
    """
    if len(raw) > DOCUMENT_SIZE_MAX:
        raise CertificateRefused(
            f"the file has {len(raw):,} bytes; a certificate may have {DOCUMENT_SIZE_MAX:,}: ask"
            " the laboratory for one without attached files"
        )
    if raw[:1] == _DER_SEQUENCE or raw.startswith(_PEM_CMS):
        raise CertificateRefused(
            "the file is a CMS signature around a certificate (.p7m), which is not verified here;"
            " ask the laboratory for the XML file with its signature inside"
        )
    try:
        root = None if b"<!DOCTYPE" in raw else etree.fromstring(raw, parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise CertificateRefused(f"the file is no XML: {error}") from error
    if root is None or root.getroottree().docinfo.doctype:  # type: ignore[union-attr]  # not in the stubs
        raise CertificateRefused(
            "the file has a document type, which a certificate has no use for; ask the laboratory"
            " for one without"
        )
    _check_size(root)
    if root.tag != _ROOT:
        raise CertificateRefused(
            f"the file's root is {shown(str(root.tag))}; a digital calibration certificate has"
            f" {_ROOT}"
        )
    return root


def _check_size(root: etree._Element) -> None:
    depth = elements = 0
    for action, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if action == "start" else -1
        elements += action == "start"
        if depth > DEPTH_MAX:
            raise CertificateRefused(f"the file nests deeper than {DEPTH_MAX} elements")
        if elements > ELEMENTS_MAX:
            raise CertificateRefused(f"the file has over {ELEMENTS_MAX:,} elements")
