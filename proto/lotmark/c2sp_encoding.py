"""The two encodings inside every C2SP text format: base64 and decimal, each with one spelling.

Readers that tolerate a second spelling (unused bits set, a leading zero) let somebody change a
document without breaking its signature, or make two readers disagree about it.
"""

import base64
import re

from lotmark.errors import MalformedError

UINT64_MAX = 2**64 - 1

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}")


def encode_base64(raw: bytes) -> str:
    """Return `raw` in the standard alphabet of RFC 4648, section 4, with padding."""
    return base64.b64encode(raw).decode("ascii")


def decode_base64(text: str, *, what: str) -> bytes:
    """Return the bytes whose encoding by `encode_base64` is exactly `text`.

    Raises:
        MalformedError: There are none; the message calls the field `what`.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise MalformedError(f"{what} {text[:60]!a} is not base64: {error}") from error
    if encode_base64(raw) != text:
        raise MalformedError(f"{what} {text[:60]!a} is not the one base64 text of its bytes")
    return raw


def decode_decimal(text: str, *, what: str) -> int:
    """Return the number from 0 to 2^64 - 1 whose decimal digits are exactly `text`.

    Raises:
        MalformedError: It has a sign, a leading zero, something else than ASCII digits, or is too
            large; the message calls the field `what`.
    """
    if not _DECIMAL.fullmatch(text):
        raise MalformedError(
            f"{what} {text[:30]!a} is not a decimal number of up to 20 digits without sign"
            " and leading zeros"
        )
    if (value := int(text)) > UINT64_MAX:
        raise MalformedError(f"{what} {value} is above {UINT64_MAX}")
    return value
