"""The GS1 keys that name things in events: their shape, their check digit, their qualifiers.

Source: GS1 General Specifications, section 3 (formats) and 7.9 (check digits, character sets 82
and 39); GS1 Digital Link: URI syntax (names and order of qualifiers).
"""

import re
from typing import NamedTuple

_CHARACTER = r"""[!"%&'()*+,\-./0-9:;<=>?A-Z_a-z]"""  # character set 82
_PART_CHARACTER = r"[#\-/0-9A-Z]"  # character set 39


class Key(NamedTuple):
    """A GS1 identification key."""

    name: str
    pattern: re.Pattern[str]  # of the value as it would stand in a barcode
    rule: str  # what the pattern asks, in words
    checked: int = 0  # the place, from 1, of the digit that checks those before it; 0: none
    qualifiers: tuple[str, ...] = ()  # in the order in which a Digital Link may have them
    class_size: int | None = None  # characters of the value that name a class; None: never one


class Qualifier(NamedTuple):
    """What narrows a key down."""

    pattern: re.Pattern[str]
    rule: str


def _of_digits(count: int) -> re.Pattern[str]:
    return re.compile(f"[0-9]{{{count}}}")


def _up_to(size_max: int) -> Qualifier:
    return Qualifier(
        re.compile(f"{_CHARACTER}{{1,{size_max}}}"),
        f"it has 1 to {size_max} characters of GS1's set 82",
    )


def _from_prefix(name: str, character: str, qualifiers: tuple[str, ...] = ()) -> Key:
    """Return a key that begins with a company prefix and goes on with anything."""
    pattern = re.compile(f"(?=.{{5,30}}$)[0-9]{{4}}{character}+")
    rule = "it has a company prefix and a reference, 30 characters in all at most"
    return Key(name, pattern, rule, 0, qualifiers, 30 if qualifiers else None)


def _with_serial(name: str, digits: str, size: int, serial: str) -> Key:
    """Return a key of a class that may go on with a serial."""
    rule = f"it has {size} digits, then at most the serial"
    return Key(name, re.compile(digits + serial), rule, size, (), size)


KEYS = {
    "00": Key("SSCC", _of_digits(18), "it has 18 digits", 18),
    "01": Key(
        "GTIN", _of_digits(14), "it has 8, 12, 13 or 14 digits", 14, ("22", "10", "21", "235"), 14
    ),
    "253": _with_serial("GDTI", "[0-9]{13}", 13, f"{_CHARACTER}{{0,17}}"),
    "255": _with_serial("GCN", "[0-9]{13}", 13, "[0-9]{0,12}"),
    "401": _from_prefix("GINC", _CHARACTER),
    "402": Key("GSIN", _of_digits(17), "it has 17 digits", 17),
    "414": Key("GLN of a place", _of_digits(13), "it has 13 digits", 13, ("254",)),
    "417": Key("GLN of a party", _of_digits(13), "it has 13 digits", 13),
    "8003": _with_serial("GRAI", "0[0-9]{13}", 14, f"{_CHARACTER}{{0,16}}"),
    "8004": _from_prefix("GIAI", _CHARACTER),
    "8006": Key("ITIP", _of_digits(18), "it has 18 digits", 14, ("22", "10", "21"), 18),
    "8010": _from_prefix("CPID", _PART_CHARACTER, ("8011",)),
    "8017": Key("GSRN of a provider", _of_digits(18), "it has 18 digits", 18),
    "8018": Key("GSRN of a recipient", _of_digits(18), "it has 18 digits", 18),
}

QUALIFIERS = {
    "10": _up_to(20),
    "21": _up_to(20),
    "22": _up_to(20),
    "235": _up_to(28),
    "254": _up_to(20),
    "8011": Qualifier(re.compile("0|[1-9][0-9]{0,11}"), "it has 1 to 12 digits"),
}
QUALIFIERS_LEFT_OUT = frozenset({"22"})

# Application identifiers as a Digital Link may spell them: numbers, and the words of its release 1.
NAMES_OF_KEYS = {ai: ai for ai in KEYS} | {
    "sscc": "00", "gtin": "01", "gdti": "253", "gcn": "255", "ginc": "401", "gsin": "402",
    "gln": "414", "party": "417", "grai": "8003", "giai": "8004", "itip": "8006", "cpid": "8010",
    "gsrnp": "8017", "gsrn": "8018",
}  # fmt: skip
NAMES_OF_QUALIFIERS = {ai: ai for ai in QUALIFIERS} | {
    "lot": "10", "ser": "21", "cpv": "22", "glnx": "254", "cpsn": "8011",
}  # fmt: skip


def check_digit(digits: str) -> str:
    """Return the digit that follows `digits`: weights 3 and 1 from the right, to the next ten."""
    total = sum(int(digit) for digit in digits) + 2 * sum(int(digit) for digit in digits[::-2])
    return str(-total % 10)
