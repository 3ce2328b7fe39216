"""What a digital calibration certificate (DCC) of PTB's schema says, as far as a site needs it.

Of the laboratory the organisation is read, of the document no person's name. What stands in the
record is only what the file says: whether it is to be believed, `judge` tells.
"""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import date
from typing import NoReturn

from lxml import etree

from lotmark.document_fields import shown
from lotmark.errors import MalformedError
from lotmark.text import check_identifier
from lotmark_adapters.calibration.document import DCC_NAMESPACE, parse_document
from lotmark_adapters.errors import CertificateRefused

NUMBER_SIZE_MAX = 64  # of a certificate's number on the ledger
FIELD_SIZE_MAX = 512
ITEMS_MAX = 1_000

_NAMESPACES = {"dcc": DCC_NAMESPACE}
_VERSION = re.compile(r"2\.4\.0|3\.[0-9]{1,2}\.[0-9]{1,2}")
_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2})?")
_NOT_IN_NUMBER = re.compile(r"[^A-Za-z0-9\-._:/]+")
_DIGEST_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedItem:
    """A device that was calibrated."""

    manufacturer: str  # "": not stated
    model: str
    identifications: tuple[str, ...]  # serial, inventory and laboratory's numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationCertificate:
    """What the file says. Days are days in UTC."""

    number: str  # as it stands on the ledger
    stated_number: str
    schema_version: str
    laboratory: str  # organisation
    laboratory_code: str  # as accreditation bodies give it; "": none is stated
    items: tuple[CalibratedItem, ...]
    set_identifications: tuple[str, ...]  # of all items together
    performed_from: date
    performed_until: date
    issued: date | None
    next_calibration: date | None  # the earliest that is stated
    conformity: str  # "pass", "fail" and the like; "": none is stated
    document: bytes = field(repr=False)

    @property
    def identifications(self) -> frozenset[str]:
        """All numbers of what was calibrated."""
        return frozenset(self.set_identifications).union(
            *(item.identifications for item in self.items)
        )


def read_certificate(raw: bytes) -> CalibrationCertificate:
    """Return what a certificate says; its signature is not looked at.

    Raises:
        CertificateRefused: It is no such certificate, of an unknown version, or lacks a field.
    """
    return certificate_of(parse_document(raw), raw)


def certificate_of(root: etree._Element, raw: bytes) -> CalibrationCertificate:
    """Return what the certificate under `root`, read from `raw`, says.

    Raises:
        CertificateRefused: It is of an unknown version, or lacks a field.
    """
    version = root.get("schemaVersion", "")
    if not _VERSION.fullmatch(version):
        raise CertificateRefused(
            f"schema version {shown(version)} is not known here; 2.4.0 and 3.x.y are read"
        )
    core = _one(root, "dcc:administrativeData/dcc:coreData")
    laboratory = _one(root, "dcc:administrativeData/dcc:calibrationLaboratory")
    items = _one(root, "dcc:administrativeData/dcc:items")
    stated_number = _required(core, "dcc:uniqueIdentifier")
    return CalibrationCertificate(
        number=certificate_number(stated_number),
        stated_number=stated_number,
        schema_version=version,
        laboratory=_required(laboratory, "dcc:contact/dcc:name/dcc:content"),
        laboratory_code=_text(laboratory, "dcc:calibrationLaboratoryCode"),
        items=_items(items),
        set_identifications=_identifications(items),
        performed_from=_day(core, "dcc:beginPerformanceDate"),
        performed_until=_day(core, "dcc:endPerformanceDate"),
        issued=_optional_day(core, "dcc:issueDate"),
        next_calibration=_next_calibration(root),
        conformity=_conformity(root),
        document=raw,
    )


def certificate_number(stated: str) -> str:
    """Return the number of a certificate as it stands on the ledger.

    A number that is an identifier of at most 64 characters stays as it is. Of another, what may
    stand is kept, up to 47 characters, and 16 digits of the SHA-256 of the stated number follow:
    the same certificate always gets the same number, and two hardly ever share one.
    """
    try:
        check_identifier(stated, what="certificate number", size_max=NUMBER_SIZE_MAX)
    except MalformedError:
        kept = _NOT_IN_NUMBER.sub("_", stated)[: NUMBER_SIZE_MAX - _DIGEST_DIGITS - 1]
        digest = hashlib.sha256(stated.encode()).hexdigest()
        return f"{kept}~{digest[:_DIGEST_DIGITS]}"
    return stated


def _items(items: etree._Element) -> tuple[CalibratedItem, ...]:
    elements = items.findall(".//dcc:item", _NAMESPACES)
    if not 1 <= len(elements) <= ITEMS_MAX:
        raise CertificateRefused(
            f"the certificate is for {len(elements)} items; 1 to {ITEMS_MAX} are read"
        )
    return tuple(
        CalibratedItem(
            manufacturer=_text(element, "dcc:manufacturer/dcc:name/dcc:content"),
            model=_text(element, "dcc:model"),
            identifications=_identifications(element),
        )
        for element in elements
    )


def _identifications(element: etree._Element) -> tuple[str, ...]:
    values = element.findall("dcc:identifications/dcc:identification/dcc:value", _NAMESPACES)
    return tuple(_content(value) for value in values[:ITEMS_MAX])


def _next_calibration(root: etree._Element) -> date | None:
    """Return the earliest day by which a statement says to calibrate again."""
    days = [
        _day(statement, "dcc:date")
        for statement in _statements(root, "basic_recalibration")
        if statement.find("dcc:date", _NAMESPACES) is not None
    ]
    return min(days, default=None)


def _conformity(root: etree._Element) -> str:
    """Return the conformity that the statements agree on; "" where they do not."""
    stated = {
        _text(statement, "dcc:conformity") for statement in _statements(root, "basic_conformity")
    }
    return stated.pop() if len(stated) == 1 else ""


def _statements(root: etree._Element, kind: str) -> list[etree._Element]:
    path = "dcc:administrativeData/dcc:statements/dcc:statement"
    return [
        statement
        for statement in root.findall(path, _NAMESPACES)
        if kind in statement.get("refType", "").split()
    ]


def _one(element: etree._Element, path: str) -> etree._Element:
    found = element.findall(path, _NAMESPACES)
    if len(found) != 1:
        raise CertificateRefused(
            f"the certificate has {len(found)} of {path}; it must have exactly one"
        )
    return found[0]


def _required(element: etree._Element, path: str) -> str:
    value = _text(element, path)
    if not value:
        raise CertificateRefused(f"the certificate has no {path}; ask the laboratory to state it")
    return value


def _text(element: etree._Element, path: str) -> str:
    """Return the text of the first such element, "" where there is none."""
    found = element.find(path, _NAMESPACES)
    return "" if found is None else _content(found)


def _content(element: etree._Element) -> str:
    content = (element.text or "").strip()
    if len(content) > FIELD_SIZE_MAX:
        local = etree.QName(element).localname
        raise CertificateRefused(
            f"{local} has {len(content):,} characters; {FIELD_SIZE_MAX} are read"
        )
    return content


def _day(element: etree._Element, path: str) -> date:
    day = _optional_day(element, path)
    if day is None:
        raise CertificateRefused(f"the certificate has no {path}; ask the laboratory to state it")
    return day


def _optional_day(element: etree._Element, path: str) -> date | None:
    value = _text(element, path)
    if not value:
        return None
    match = _DAY.fullmatch(value)
    try:
        return date.fromisoformat(match[1]) if match else _no_day(path, value)
    except ValueError:
        return _no_day(path, value)


def _no_day(path: str, value: str) -> NoReturn:
    raise CertificateRefused(f"{path} {shown(value)} is no day such as 2026-01-12")
