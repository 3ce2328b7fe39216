"""A certificate's signature covers all of it, or is refused; whoever moved or altered what."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree
from signxml.algorithms import DigestAlgorithm

from lotmark_adapters.calibration.document import DEPTH_MAX, DOCUMENT_SIZE_MAX
from lotmark_adapters.calibration.signature import verify_signature
from lotmark_adapters.errors import CertificateRefused
from tests.adapters.calibration_documents import (
    PERSON,
    SIGNED,
    Laboratory,
    a_document,
    a_laboratory,
    at,
)

DS = "{http://www.w3.org/2000/09/xmldsig#}"


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    return a_laboratory(tmp_path_factory.mktemp("site") / "labs")


def changed(document: bytes, change: Callable[[etree._Element], None]) -> bytes:
    root = etree.fromstring(document)
    change(root)
    return etree.tostring(root)


def refusal(document: bytes) -> str:
    with pytest.raises(CertificateRefused) as refused:
        verify_signature(document)
    assert PERSON not in str(refused.value)
    return str(refused.value)


def test_a_signature_with_properties_tells_who_signed_and_when(laboratory: Laboratory) -> None:
    found = verify_signature(laboratory.signed(a_document(), signed_at="2026-01-14T12:00:00Z"))

    assert found.signer == laboratory.signer.certificate
    assert found.certificates == (laboratory.authority.certificate,)
    assert found.signed_ms == at("2026-01-14")


def test_a_plain_signature_is_verified_and_tells_no_time(laboratory: Laboratory) -> None:
    found = verify_signature(laboratory.signed(a_document(), signed_at=None))

    assert found.signer == laboratory.signer.certificate
    assert found.signed_ms is None


def test_a_document_without_a_signature_is_refused() -> None:
    assert refusal(a_document()) == (
        "the certificate carries no signature; ask the laboratory for the signed file"
    )


@pytest.mark.parametrize("signed_at", [SIGNED, None])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"SN-4711", b"SN-4712"),
        (b"2027-01-12", b"2037-01-12"),
        (b"Lab One</dcc:content>", b"Lab Two</dcc:content>"),
        (b"</dcc:coreData>", b"<dcc:issueDate>2026-01-12</dcc:issueDate></dcc:coreData>"),
        (b'schemaVersion="3.3.0"', b'schemaVersion="3.3.1"'),
    ],
)
def test_an_altered_value_is_refused(
    laboratory: Laboratory, old: bytes, new: bytes, signed_at: str | None
) -> None:
    document = laboratory.signed(a_document(), signed_at=signed_at)
    assert document.count(old) == 1

    assert "does not fit the document (InvalidDigest)" in refusal(document.replace(old, new))


def test_an_altered_signing_time_is_refused(laboratory: Laboratory) -> None:
    document = laboratory.signed(a_document()).replace(SIGNED.encode(), b"2020-01-14T10:00:00Z")

    assert "does not fit the document (InvalidDigest)" in refusal(document)


def test_an_altered_comment_changes_nothing_that_is_read(laboratory: Laboratory) -> None:
    document = laboratory.signed(a_document())
    split = document.replace(b"DCC-2026-17", b"DCC-<!-- x -->2026-17")

    number = verify_signature(split).content.findtext(".//{https://ptb.de/dcc}uniqueIdentifier")
    assert number == "DCC-2026-17"


def test_another_signers_certificate_is_refused(laboratory: Laboratory) -> None:
    stranger = laboratory.authority.issue("Lab Two")
    document = laboratory.signed(a_document(), signed_at=None)
    theirs = re.sub(rb"<ds:X509Certificate>[^<]*", b"<ds:X509Certificate>" + b"".join(
        stranger.pem.splitlines()[1:-1]
    ), document, count=1)  # fmt: skip

    assert "does not fit the document (InvalidSignature)" in refusal(theirs)


def test_a_signature_that_was_moved_is_refused(laboratory: Laboratory) -> None:
    def move(root: etree._Element) -> None:
        part, signature = root.find("{*}measurementResults"), root.find(f"{DS}Signature")
        assert part is not None
        assert signature is not None
        part.append(signature)

    assert "does not stand directly under" in refusal(
        changed(laboratory.signed(a_document()), move)
    )


def test_a_signed_document_wrapped_in_another_is_refused(laboratory: Laboratory) -> None:
    """The classic: what was signed is kept somewhere, and read is what stands around it."""
    original = etree.fromstring(laboratory.signed(a_document()))
    signature = original.find(f"{DS}Signature")
    assert signature is not None

    def wrap(root: etree._Element) -> None:
        root.append(signature)
        holder = etree.SubElement(signature, f"{DS}Object")
        original.set("Id", "original")
        holder.append(original)
        reference = signature.find(f"{DS}SignedInfo/{DS}Reference")
        assert reference is not None
        reference.set("URI", "#original")

    forged = changed(a_document(serial="SN-1"), wrap)
    assert "first reference is '#original" in refusal(forged)


def test_a_signature_of_a_part_alone_is_refused(laboratory: Laboratory) -> None:
    document = laboratory.signed(a_document(), signed_at=None)

    assert "it must be the whole document" in refusal(document.replace(b'URI=""', b'URI="#part"'))


def test_two_signatures_are_refused(laboratory: Laboratory) -> None:
    twice = laboratory.signed(laboratory.signed(a_document()))

    assert refusal(twice).startswith("the certificate carries 2 signatures")


def test_a_second_element_with_the_id_of_the_signed_properties_is_refused(
    laboratory: Laboratory,
) -> None:
    def double(root: etree._Element) -> None:
        properties = root.find(".//{http://uri.etsi.org/01903/v1.3.2#}SignedProperties")
        assert properties is not None
        etree.SubElement(root, "forged").set("Id", properties.get("Id", ""))

    document = changed(laboratory.signed(a_document()), double)
    assert "its own signed properties or key" in refusal(document)


@pytest.mark.parametrize(
    "transform",
    [
        "http://www.w3.org/TR/1999/REC-xpath-19991116",
        "http://www.w3.org/TR/1999/REC-xslt-19991116",
        "http://www.w3.org/2002/06/xmldsig-filter2",
        "http://www.w3.org/2006/12/xml-c14n11#WithComments",
    ],
)
def test_a_transform_that_could_leave_something_out_is_refused(
    laboratory: Laboratory, transform: str
) -> None:
    def replace(root: etree._Element) -> None:
        transforms = root.findall(f".//{DS}Transform")
        transforms[1].set("Algorithm", transform)

    sentence = refusal(changed(laboratory.signed(a_document()), replace))
    assert transform in sentence
    assert "are verified here" in sentence


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"xmldsig-more#ecdsa-sha256", b"xmldsig-more#ecdsa-sha1"),
        (b"xmldsig-more#ecdsa-sha256", b"xmldsig-more#hmac-sha256"),
        (b"2001/04/xmlenc#sha256", b"2000/09/xmldsig#sha1"),
    ],
)
def test_a_weak_or_symmetric_algorithm_is_refused(
    laboratory: Laboratory, old: bytes, new: bytes
) -> None:
    document = laboratory.signed(a_document(), signed_at=None)
    assert old in document

    assert "the algorithm is not allowed" in refusal(document.replace(old, new))


def test_a_digest_that_is_not_on_the_list_is_refused(laboratory: Laboratory) -> None:
    document = laboratory.signed(a_document(), digest=DigestAlgorithm.SHA224)

    assert "SHA-256, SHA-384 and SHA-512 are allowed" in refusal(document)


def test_a_truncated_file_is_refused_wherever_it_ends(laboratory: Laboratory) -> None:
    document = laboratory.signed(a_document())

    for size in range(0, len(document) - 1, 97):
        assert "no XML" in refusal(document[:size])


def test_an_entity_bomb_is_refused_unread() -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE d [<!ENTITY e0 "lol">{levels}]><d>&e9;</d>'

    assert "has a document type" in refusal(bomb.encode())
    assert "no XML: Maximum entity" in refusal(bomb.encode("utf-16"))


def test_a_file_of_the_network_is_not_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    document = a_document().replace(
        b"<dcc:digital", f'<!DOCTYPE d [<!ENTITY s SYSTEM "{secret}">]><dcc:digital'.encode(), 1
    )

    assert "has a document type" in refusal(document)


def test_what_is_too_large_or_too_deep_is_refused() -> None:
    deep = "<dcc:list>" * DEPTH_MAX + "</dcc:list>" * DEPTH_MAX

    assert f"may have {DOCUMENT_SIZE_MAX:,}" in refusal(b" " * (DOCUMENT_SIZE_MAX + 1))
    assert f"deeper than {DEPTH_MAX} elements" in refusal(a_document(extra=deep))
    assert "over 200,000 elements" in refusal(a_document(extra="<a/>" * 200_001))


def test_another_namespace_is_refused() -> None:
    foreign = a_document().replace(b"https://ptb.de/dcc", b"https://ptb.example/dcc")

    assert "root is '{https://ptb.example/dcc}digital" in refusal(foreign)


@pytest.mark.parametrize("start", [b"\x30\x82\x8a\x9d", b"-----BEGIN PKCS7-----\n"])
def test_a_cms_file_is_refused_by_its_name(start: bytes) -> None:
    assert "(.p7m), which is not verified here" in refusal(start + bytes(100))
