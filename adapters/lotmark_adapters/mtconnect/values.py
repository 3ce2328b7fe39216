"""What an observation's element says, as a decimal or as text; nothing goes through a float."""

import hashlib
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NamedTuple

from lxml import etree

from lotmark.canonical_json import JsonValue, dump
from lotmark.errors import MalformedError
from lotmark.text import DECIMAL_PATTERN
from lotmark_adapters.observation import Quality

TEXT_SIZE_MAX = 1_024  # of a value; a longer one is named by its digest
NUMBER_SIZE_MAX = 64  # characters of one number
UNAVAILABLE = "UNAVAILABLE"

_DECIMAL = re.compile(DECIMAL_PATTERN)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")
_NO_NUMBERS = frozenset({"NAN", "INF", "-INF", "+INF", "INFINITY", "-INFINITY"})
_INTEGER_DIGITS_MAX = 18
_PLACES_MAX = 12
_LAST_PLACE = Decimal(1).scaleb(-_PLACES_MAX)
_EXACT = Context(prec=_INTEGER_DIGITS_MAX + _PLACES_MAX + 2, rounding=ROUND_HALF_EVEN)


class Value(NamedTuple):
    """A value as it is kept; the fields are those of `Observation`."""

    value: str | None
    quality: Quality = Quality.GOOD
    status: str = ""


_NO_VALUE = Value(None, Quality.BAD, UNAVAILABLE)


def sample_value(element: etree._Element) -> Value:
    """Return the value of an element of Samples: a number, several, or a time series."""
    text = element.text or ""
    if _DECIMAL.fullmatch(text):  # most are
        return Value(text)
    text = text.strip()
    if text == UNAVAILABLE:
        return _NO_VALUE
    if len(element):
        return _structured(element)
    if "sampleCount" in element.attrib:
        return _time_series(element, text.split())
    numbers = text.split()
    if len(numbers) == 1:
        return decimal_value(text)
    return Value(" ".join(numbers)) if _all_numbers(numbers) else _no_number(text)


def event_value(element: etree._Element) -> Value:
    """Return the value of an element of Events: text, a data set or a table."""
    text = element.text or ""
    if len(element):
        return _structured(element)
    if text == UNAVAILABLE:
        return _NO_VALUE
    return bounded(text)


def condition_value(element: etree._Element) -> Value:
    """Return ``LEVEL[ CODE][: MESSAGE]`` of an element of Condition."""
    level = etree.QName(element).localname
    if level == "Unavailable":
        return _NO_VALUE
    code, message = element.get("nativeCode", ""), (element.text or "").strip()
    return bounded(f"{level} {code}".strip() + (f": {message}" if message else ""))


def decimal_value(text: str) -> Value:
    """Return a number as a decimal that `lotmark.text.check_decimal` accepts.

    One that does is kept as it is written. One with an exponent, a plus or other zeros is the same
    number in plain notation. Beyond 12 places it is rounded, half to even, and the status keeps
    what was written.
    """
    if _DECIMAL.fullmatch(text):
        return Value(text)
    if text.upper() in _NO_NUMBERS:
        return Value(None, Quality.BAD, text)
    if len(text) > NUMBER_SIZE_MAX or not _NUMBER.fullmatch(text):
        return _no_number(text)
    exact = Decimal(text)
    if not exact:
        return Value("0")  # whatever its sign and exponent
    # The exponent is looked at first: 1e999999999 in plain notation has a billion digits.
    if exact.adjusted() < _INTEGER_DIGITS_MAX:
        places = -exact.as_tuple().exponent  # type: ignore[operator]  # it is finite
        kept = exact if places <= _PLACES_MAX else exact.quantize(_LAST_PLACE, context=_EXACT)
        plain = f"{kept:f}" if kept else "0"
        if _DECIMAL.fullmatch(plain):
            return Value(plain, status="" if kept == exact else f"rounded from {text}")
    return Value(None, Quality.BAD, f"{text} has over {_INTEGER_DIGITS_MAX} digits")


def bounded(text: str) -> Value:
    """Return text as it is, or its digest where it is too long to be kept as a value."""
    raw = text.encode()
    if len(raw) <= TEXT_SIZE_MAX:
        return Value(text)
    digest = hashlib.sha256(raw).hexdigest()
    return Value(f"sha256:{digest}", Quality.UNCERTAIN, f"too long: {len(raw)} bytes")


def _no_number(text: str) -> Value:
    value = bounded(text)
    return Value(value.value, Quality.UNCERTAIN, value.status or "no number")


def _all_numbers(texts: list[str]) -> bool:
    return bool(texts) and all(_NUMBER.fullmatch(each) for each in texts)


def _time_series(element: etree._Element, numbers: list[str]) -> Value:
    return _json(
        {
            "count": str(element.get("sampleCount")),
            "rate": str(element.get("sampleRate", "")),
            "values": numbers,
        }
    )


def _structured(element: etree._Element) -> Value:
    """Return the entries of a data set, or those of a table with their cells, by key."""
    return _json({str(entry.get("key", "")): _entry(entry) for entry in element})


def _entry(entry: etree._Element) -> JsonValue:
    if entry.get("removed") == "true":
        return None
    if len(entry):
        return {str(cell.get("key", "")): (cell.text or "").strip() for cell in entry}
    return (entry.text or "").strip()


def _json(members: JsonValue) -> Value:
    try:
        return bounded(dump(members).decode())
    except MalformedError as error:  # a key beyond ASCII
        return Value(None, Quality.BAD, f"cannot be kept: {error}"[:TEXT_SIZE_MAX])
