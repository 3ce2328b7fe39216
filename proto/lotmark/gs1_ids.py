"""GS1 identifiers, read from any of their written forms into one: the canonical Digital Link URI.

A thing has many names in GS1's world: EPC URNs (``urn:epc:id:sgtin:...``), class and pattern URNs,
Digital Links under any domain, with short names for application identifiers (AI), with query
strings. One form is canonical: ``https://id.gs1.org/<AI>/<value>``, then the one qualifier that
says most (a serial rather than a lot); consumer product variants (22) are left out.

Sources: GS1 EPC Tag Data Standard (URN forms), GS1 Digital Link: URI syntax 1.2 (canonical form,
characters to escape), CBV 2.0 (which keys and qualifiers an EPCIS event uses).
"""

import re
from dataclasses import dataclass

from lotmark.errors import MalformedError
from lotmark.gs1_keys import (
    KEYS,
    NAMES_OF_KEYS,
    NAMES_OF_QUALIFIERS,
    QUALIFIERS,
    QUALIFIERS_LEFT_OUT,
    check_digit,
)
from lotmark.gs1_urns import URN_PREFIXES, read_urn

STEM = "https://id.gs1.org/"

_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")
_ESCAPED = re.compile(r"[^A-Za-z0-9\-._';=]")  # Digital Link leaves only these as they are
_LINK = re.compile(r"(?:https?|HTTPS?)://([^/?#]+)(/[^?#]*)(?:[?#].*)?", re.DOTALL)
_HOSTS = ("id.gs1.org", "ID.GS1.ORG")


@dataclass(frozen=True, slots=True)
class Gs1Id:
    """One thing or class of things, named by a GS1 key and at most one qualifier."""

    key: str  # application identifier, such as "01"
    value: str  # as it would stand in a barcode, without escapes; a GTIN has 14 digits
    qualifier: str = ""  # application identifier, such as "21"; empty: none
    qualifier_value: str = ""

    @property
    def link(self) -> str:
        """The canonical Digital Link URI: at most 128 characters, all allowed in an identifier."""
        link = f"{STEM}{self.key}/{_escaped(self.value)}"
        if self.qualifier:
            link += f"/{self.qualifier}/{_escaped(self.qualifier_value)}"
        return link

    @property
    def is_class(self) -> bool:
        """Whether many things bear it: a product, a lot, a type of asset, document or coupon."""
        if self.qualifier:
            return self.qualifier == "10"
        whole = KEYS[self.key].class_size
        return whole is not None and len(self.value) <= whole


def read_gs1(text: str) -> Gs1Id | None:
    """Return what a text names if it is written as a GS1 identifier, None if it is not.

    Raises:
        MalformedError: It is written as one, but its value breaks the key's rule. The message
            names the value, the rule and the remedy.
    """
    if text.startswith(URN_PREFIXES):
        found = read_urn(text)
    elif (match := _LINK.fullmatch(text)) is not None:
        found = _read_path(match[2], is_gs1=match[1] in _HOSTS)
    else:
        return None
    return None if found is None else checked_gs1(*found)


def checked_gs1(key: str, value: str, qualifier: str = "", qualifier_value: str = "") -> Gs1Id:
    """Return the identifier of these parts, all as they would stand in a barcode.

    Raises:
        MalformedError: The value or the qualifier's breaks its rule.
    """
    _check_value(key, value)
    if qualifier == "254" and qualifier_value == "0":  # the EPC form of "no extension"
        return Gs1Id(key, value)
    if qualifier and not QUALIFIERS[qualifier].pattern.fullmatch(qualifier_value):
        raise MalformedError(
            f"{qualifier_value[:40]!a} is no value of AI {qualifier}: {QUALIFIERS[qualifier].rule};"
            " correct it as it stands in the barcode"
        )
    return Gs1Id(key, value, qualifier, qualifier_value)


def gtin_14(gtin: str) -> str | None:
    """Return a GTIN of 8, 12, 13 or 14 digits with 14; None if it has another number of them."""
    return gtin.zfill(14) if len(gtin) in (8, 12, 13, 14) else None


def _check_value(key: str, value: str) -> None:
    rule = KEYS[key]
    if not rule.pattern.fullmatch(value):
        raise MalformedError(
            f"{value[:40]!a} is no {rule.name}: {rule.rule}; correct it as it stands in the barcode"
        )
    if rule.checked:
        right = check_digit(value[: rule.checked - 1])
        if value[rule.checked - 1] != right:
            raise MalformedError(
                f"{value!a} is no {rule.name}: the digit at place {rule.checked} checks those"
                f" before it and would be {right}; correct the digit that was mistyped"
            )


_Found = tuple[str, str, str, str]


def _read_path(path: str, *, is_gs1: bool) -> _Found | None:
    """Return key, value, qualifier and its value at the end of a Digital Link's path.

    A foreign domain's path is taken for an identifier only where the value looks like one: other
    addresses have a segment "00" or "01", too.
    """
    segments = path.strip("/").split("/")
    for pairs in range(1, min(4, len(segments) // 2) + 1):
        tail = segments[-2 * pairs :]
        key = NAMES_OF_KEYS.get(tail[0])
        if key is None:
            continue
        found = _read_pairs(key, tail)
        if found is not None and (is_gs1 or KEYS[key].pattern.fullmatch(found[1])):
            return found
        break
    if is_gs1:
        raise MalformedError(
            f"{path[:60]!a} is no path of a GS1 Digital Link; write /<AI>/<value>, such as"
            " /01/04012345000016/21/1234, each reserved character escaped"
        )
    return None


def _read_pairs(key: str, tail: list[str]) -> _Found | None:
    value = _unescaped(tail[1])
    if value is None:
        return None
    if key == "01":
        value = gtin_14(value) or value
    allowed = KEYS[key].qualifiers
    place = -1
    qualifier = qualifier_value = ""
    for name, escaped in zip(tail[2::2], tail[3::2], strict=True):
        ai = NAMES_OF_QUALIFIERS.get(name, "")
        unescaped = _unescaped(escaped)
        if ai not in allowed or allowed.index(ai) <= place or unescaped is None:
            return None
        place = allowed.index(ai)
        if ai not in QUALIFIERS_LEFT_OUT:
            qualifier, qualifier_value = ai, unescaped  # the last says most
    return key, value, qualifier, qualifier_value


def _unescaped(segment: str) -> str | None:
    """Return a segment without escapes, None where a per cent sign begins none."""
    if "%" not in segment:
        return segment
    if segment.count("%") != len(_ESCAPE.findall(segment)):
        return None
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), segment)


def _escaped(value: str) -> str:
    return _ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", value)
