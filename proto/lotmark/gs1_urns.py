"""EPC URNs of GS1 keys, taken apart: a company prefix and references between points.

A URN leaves check digits out and has the first digit of a GTIN or SSCC behind the company prefix.
Schemes without a GS1 key (``adi``, ``gid``, ``usdod`` and the like) are no business of this module.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from lotmark.errors import MalformedError
from lotmark.gs1_keys import check_digit

URN_PREFIXES = ("urn:epc:id:", "urn:epc:class:", "urn:epc:idpat:")

_PLAIN = r"""(?:[!'()*+,\-.0-9:;=A-Z_a-z]|%[0-9A-Fa-f]{2})"""
_PART = r"(?:[\-0-9A-Z]|%[0-9A-Fa-f]{2})"
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")

_Found = tuple[str, str, str, str]  # key, value, qualifier and its value


class _Scheme(NamedTuple):
    """A kind of EPC URN."""

    digits: int  # of company prefix and reference together; 0: the reference is no number
    rest: str  # pattern of what follows them
    found: Callable[[str, str, str], _Found]  # from company prefix, reference and rest
    example: str


def _gtin(prefix: str, reference: str) -> str:
    return _checked(reference[0] + prefix + reference[1:])


def _checked(digits: str) -> str:
    return digits + check_digit(digits)


def _qualified(key: str, qualifier: str) -> Callable[[str, str, str], _Found]:
    return lambda prefix, reference, rest: (key, _gtin(prefix, reference), qualifier, rest)


def _serialised(key: str, filler: str = "") -> Callable[[str, str, str], _Found]:
    return lambda prefix, reference, rest: (
        key, _checked(filler + prefix + reference) + rest, "", "",
    )  # fmt: skip


def _numbered(key: str) -> Callable[[str, str, str], _Found]:
    return lambda prefix, reference, _rest: (key, _checked(prefix + reference), "", "")


def _free(key: str) -> Callable[[str, str, str], _Found]:
    return lambda prefix, _reference, rest: (key, prefix + rest, "", "")


def _sscc(prefix: str, reference: str, _rest: str) -> _Found:
    return "00", _gtin(prefix, reference), "", ""


def _sgln(prefix: str, reference: str, rest: str) -> _Found:
    return "414", _checked(prefix + reference), "254", rest


def _cpi(prefix: str, _reference: str, rest: str) -> _Found:
    part, _, serial = rest.rpartition(".")
    return "8010", prefix + part, "8011", serial


def _itip(prefix: str, reference: str, rest: str) -> _Found:
    piece, total, serial = rest.split(".", 2)
    return "8006", _gtin(prefix, reference) + piece + total, "21", serial


_ANY = rf"\.({_PLAIN}+)"
_NOTHING = "()"

_SCHEMES = {
    "id:sgtin": _Scheme(13, _ANY, _qualified("01", "21"), "4012345.011111.9876"),
    "id:sscc": _Scheme(17, _NOTHING, _sscc, "4012345.0000000333"),
    "id:sgln": _Scheme(12, _ANY, _sgln, "4012345.00005.0"),
    "id:grai": _Scheme(12, _ANY, _serialised("8003", "0"), "4012345.00022.334455"),
    "id:giai": _Scheme(0, _ANY, _free("8004"), "4012345.ABC345"),
    "id:gsrn": _Scheme(17, _NOTHING, _numbered("8018"), "4012345.0000006765"),
    "id:gsrnp": _Scheme(17, _NOTHING, _numbered("8017"), "4012345.0000000007"),
    "id:gdti": _Scheme(12, _ANY, _serialised("253"), "4012345.00009.PO-4711"),
    "id:cpi": _Scheme(0, rf"\.({_PART}+\.[0-9]+)", _cpi, "0614141.AB-1.1234"),
    "id:itip": _Scheme(
        13, rf"\.([0-9]{{2}}\.[0-9]{{2}}\.{_PLAIN}+)", _itip, "4012345.011111.01.02.987"
    ),
    "id:upui": _Scheme(13, _ANY, _qualified("01", "235"), "1234567.098765.AB12"),
    "id:ginc": _Scheme(0, _ANY, _free("401"), "0614141.xyz47"),
    "id:gsin": _Scheme(16, _NOTHING, _numbered("402"), "4012345.222333444"),
    "id:sgcn": _Scheme(12, r"\.([0-9]+)", _serialised("255"), "4012345.67890.04711"),
    "id:pgln": _Scheme(12, _NOTHING, _numbered("417"), "4012345.00005"),
    "class:lgtin": _Scheme(13, _ANY, _qualified("01", "10"), "4012345.012345.Lot987"),
    "idpat:sgtin": _Scheme(13, r"\.\*()", _qualified("01", ""), "4012345.011111.*"),
    "idpat:upui": _Scheme(13, r"\.\*()", _qualified("01", ""), "1234567.098765.*"),
    "idpat:grai": _Scheme(12, r"\.\*()", _serialised("8003", "0"), "4012345.00022.*"),
    "idpat:gdti": _Scheme(12, r"\.\*()", _serialised("253"), "4012345.00009.*"),
    "idpat:sgcn": _Scheme(12, r"\.\*()", _serialised("255"), "4012345.67890.*"),
    "idpat:itip": _Scheme(
        13, r"\.([0-9]{2}\.[0-9]{2}\.)\*",
        lambda *parts: (*_itip(*parts)[:2], "", ""), "4012345.011111.01.02.*",
    ),
    "idpat:cpi": _Scheme(
        0, rf"\.({_PART}+\.)\*", lambda *parts: (*_cpi(*parts)[:2], "", ""), "0614141.AB-1.*"
    ),
}  # fmt: skip

_PATTERNS = {
    name: re.compile(r"([0-9]{6,12})" + (r"\.([0-9]*)" if scheme.digits else "()") + scheme.rest)
    for name, scheme in _SCHEMES.items()
}


def read_urn(urn: str) -> _Found | None:
    """Return key, value, qualifier and its value of an EPC URN; None where no GS1 key is in it.

    Raises:
        MalformedError: Its scheme is one of GS1's keys, but it is not written like one.
    """
    _, _, kind, name, rest = (*urn.split(":", 4), "")[:5]
    scheme = _SCHEMES.get(f"{kind}:{name}")
    if scheme is None:
        return None
    match = _PATTERNS[f"{kind}:{name}"].fullmatch(rest)
    if match is None or (scheme.digits and len(match[1]) + len(match[2]) != scheme.digits):
        digits = f", {scheme.digits} digits of prefix and reference" if scheme.digits else ""
        raise MalformedError(
            f"{urn[:60]!a} is no urn:epc:{kind}:{name}: a company prefix of 6 to 12 digits"
            f"{digits}; write it like urn:epc:{kind}:{name}:{scheme.example}"
        )
    return scheme.found(match[1], match[2], _ESCAPE.sub(_character, match[3]))


def _character(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16))
