"""Text that every node judges alike, now and after any upgrade of Python.

Normalising text at run time would fork the network: the tables differ between Python versions.
So nothing is normalised. Identifiers are ASCII; free text holds only characters that Unicode 14
assigns, already in normalisation form C; numbers with a fraction are decimal strings.
"""

import re
import unicodedata
from bisect import bisect_right

from lotmark.errors import MalformedError
from lotmark.unicode_14 import ASSIGNED_RANGES

IDENTIFIER_CHARACTER = r"[A-Za-z0-9\-._:/~%+()@!$&'*,;=?#\[\]]"
DECIMAL_PATTERN = r"(?!-[0.]*$)-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,12})?"

_IDENTIFIER = re.compile(f"{IDENTIFIER_CHARACTER}+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DECIMAL = re.compile(DECIMAL_PATTERN)
_NEGATIVE_ZERO = re.compile(r"-[0.]+")

_BOUNDS = [range_.split("-") for range_ in ASSIGNED_RANGES.split()]
_FIRSTS = [int(first, 16) for first, _ in _BOUNDS]
_LASTS = [int(last, 16) for _, last in _BOUNDS]

_SHOWN_MAX = 40  # characters of a refused value that a message repeats


def check_identifier(value: str, *, what: str, size_max: int = 128) -> None:
    """Check an identifier: 1 to `size_max` ASCII letters, digits and ``-._:/~%+()@!$&'*,;=?#[]``.

    Args:
        value: The identifier.
        what: What it identifies, for the message.
        size_max: The most bytes it may have.

    Raises:
        MalformedError: It is empty, too long or has another character.
    """
    if len(value) > size_max:
        raise MalformedError(f"{what} has {len(value)} characters; at most {size_max} are allowed")
    if not _IDENTIFIER.fullmatch(value):
        raise MalformedError(
            f"{what} {_shown(value)} is not an identifier; use ASCII letters, digits and"
            " -._:/~%+()@!$&'*,;=?#[] without spaces"
        )


def check_text(value: str, *, what: str, size_max: int) -> None:
    r"""Check free text; it may be empty.

    Args:
        value: The text.
        what: What it is, for the message.
        size_max: The most bytes it may have in UTF-8.

    Raises:
        MalformedError: It is too long, has a control character other than ``\n`` and ``\t``,
            a code point that is no character of Unicode 14, or is not in normalisation form C.
    """
    # Before anything that takes time in proportion to the size: a character is a byte or more.
    if len(value) > size_max:
        raise MalformedError(f"{what} has over {size_max} bytes in UTF-8; shorten it")
    if control := _CONTROL.search(value):
        raise MalformedError(
            f"{what} has the control character U+{ord(control[0]):04X} at index {control.start()};"
            " only line feed and tab are allowed"
        )
    if value.isascii():
        return  # all of ASCII is assigned and in form C
    for character in sorted(set(value)):
        if not _is_assigned(ord(character)):
            raise MalformedError(
                f"{what} has U+{ord(character):04X}, which is no character of Unicode 14"
            )
    if (size := len(value.encode())) > size_max:
        raise MalformedError(f"{what} has {size} bytes in UTF-8; at most {size_max} are allowed")
    # Python's own table does here, though it grows with each version: Unicode's stability policy
    # promises that a string of characters assigned in one version is normalised the same way in
    # all later ones, and only such strings reach this line (Python 3.11 has Unicode 14).
    if not unicodedata.is_normalized("NFC", value):
        raise MalformedError(
            f"{what} {_shown(value)} is not in Unicode normalisation form C; normalise it before"
            " it is signed"
        )


def _is_assigned(code_point: int) -> bool:
    at = bisect_right(_FIRSTS, code_point) - 1
    return code_point <= _LASTS[at]


def check_decimal(value: str, *, what: str) -> None:
    """Check a decimal number: up to 18 digits, then up to 12 after a point; zero has no sign.

    Trailing zeros of the fraction are allowed, since they state a resolution.

    Raises:
        MalformedError: It is not one, for example ``1e3``, ``01``, ``.5`` or ``-0.0``.
    """
    if _NEGATIVE_ZERO.fullmatch(value):
        raise MalformedError(f"{what} {value!r} is a zero with a sign; write it without")
    if not _DECIMAL.fullmatch(value):
        raise MalformedError(
            f"{what} {_shown(value)} is not a decimal number such as -12.050: at most 18 digits"
            " without leading zeros, then at most 12 after a point"
        )


def _shown(value: str) -> str:
    return ascii(value if len(value) <= _SHOWN_MAX else value[:_SHOWN_MAX] + "...")
