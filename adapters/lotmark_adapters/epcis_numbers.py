"""Decimals of the ledger and of XML as numbers of JSON, where one says the same."""

import re
from decimal import Decimal

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_INTEGER_LIMIT = 2**53


def is_number(text: str) -> bool:
    """Return whether a text is a decimal number."""
    return _NUMBER.fullmatch(text) is not None


def json_number(text: str) -> int | float | None:
    """Return the JSON number of a decimal; None where a double would not keep all its digits."""
    if not is_number(text):
        return None
    exact = Decimal(text)
    if exact == exact.to_integral_value() and abs(exact) < _INTEGER_LIMIT:
        return int(exact)
    number = float(text)
    return number if Decimal(repr(number)) == exact else None
