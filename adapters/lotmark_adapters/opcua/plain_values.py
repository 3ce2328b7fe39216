"""OPC UA values as text: decimals that say no more and no less than the number told.

What is signed holds no floats, so every number becomes a decimal in plain notation, and what is
more than one value becomes canonical JSON.
"""

import dataclasses
import math
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from asyncua import ua

from lotmark.canonical_json import INTEGER_MAX, JsonValue, dump
from lotmark.errors import MalformedError
from lotmark.text import check_text

TEXT_SIZE_MAX = 1_024  # bytes of one value
WHOLE_DIGITS_MAX = 18  # of a decimal, as `lotmark.text.check_decimal` has it
FRACTION_DIGITS_MAX = 12
ROUNDED = f"rounded to {FRACTION_DIGITS_MAX} decimals"

_FLOAT = struct.Struct("<f")
_FINEST = Decimal(1).scaleb(-FRACTION_DIGITS_MAX)
_CONTEXT = Context(prec=WHOLE_DIGITS_MAX + FRACTION_DIGITS_MAX, rounding=ROUND_HALF_EVEN)
_FLOAT_DIGITS_MIN = 6  # so many always survive a 32-bit float; nine always tell it
_FLOAT_DIGITS_MAX = 9
_DEPTH_MAX = 16  # of structures within structures


class Unkept(Exception):
    """A value cannot be kept; the text says why."""


def plain_text(value: object, kind: ua.VariantType) -> tuple[str, str]:
    """Return a value as text, and what was done to it, "" where nothing was.

    Args:
        value: A scalar, a list, or a structure.
        kind: The OPC UA type of it, or of the list's items.

    Raises:
        Unkept: It is not finite, too long, or of a type that has no text.
    """
    if isinstance(value, list):
        return _json_text(value, kind), ""
    if write := _SCALARS.get(kind):
        return write(value)
    if kind is ua.VariantType.ExtensionObject:
        return _json_text(value, kind), ""
    return _checked(str(_json(value, kind, 0))), ""


def json_value(value: object, kind: ua.VariantType | None = None) -> JsonValue:
    """Return a value as JSON without floats: what is no integer of 53 bits is a decimal's text.

    Args:
        value: A scalar, a list, or a structure.
        kind: The OPC UA type, so that a 32-bit float is written as one; None: not known.

    Raises:
        Unkept: It nests too deep, or is of a type that has no JSON.
    """
    return _json(value, kind, 0)


def utc_text(moment: datetime) -> str:
    """Return a time in RFC 3339, in UTC, with six digits of a second."""
    if moment.tzinfo is None:  # asyncua's older servers give UTC without saying so
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _double(value: Any) -> tuple[str, str]:
    return _plain(repr(float(value)))


def _float(value: Any) -> tuple[str, str]:
    """Return the shortest decimal that gives the same 32-bit float, not the double's."""
    if not math.isfinite(value):
        return _plain(repr(value))
    packed = _FLOAT.pack(value)
    for digits in range(_FLOAT_DIGITS_MIN, _FLOAT_DIGITS_MAX):
        text = f"{value:.{digits}g}"
        if _FLOAT.pack(float(text)) == packed:
            return _plain(text)
    return _plain(f"{value:.{_FLOAT_DIGITS_MAX}g}")


def _integer(value: Any) -> tuple[str, str]:
    return _plain(str(int(value)))  # an enumeration is its number


def _plain(number: str) -> tuple[str, str]:
    """Return a number, which may have an exponent, within the bounds of a decimal."""
    done = ""
    if number.isdigit() and len(number) <= WHOLE_DIGITS_MAX:
        return number, ""
    if number in ("nan", "inf", "-inf"):
        raise Unkept({"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[number])
    if "e" in number or len(number.partition(".")[2]) > FRACTION_DIGITS_MAX:
        exact = Decimal(number)
        if exact.adjusted() < WHOLE_DIGITS_MAX:
            rounded = exact.quantize(_FINEST, context=_CONTEXT)
            done = "" if rounded == exact else ROUNDED
            exact = rounded
        number = f"{exact:f}"
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    if number in ("-0", ""):
        number = "0"
    whole = number.partition(".")[0].lstrip("-")
    if len(whole) > WHOLE_DIGITS_MAX:
        raise Unkept(f"{len(whole)} digits before the point, of {WHOLE_DIGITS_MAX}")
    return number, done


def _checked(text: str) -> str:
    try:
        check_text(text, what="text", size_max=TEXT_SIZE_MAX)
    except MalformedError as error:
        raise Unkept(str(error)) from error
    return text


def _json_text(value: object, kind: ua.VariantType) -> str:
    try:
        text = dump(_json(value, kind, 0))
    except MalformedError as error:
        raise Unkept(str(error)) from error
    if len(text) > TEXT_SIZE_MAX:
        raise Unkept(f"{len(text)} bytes as JSON, of {TEXT_SIZE_MAX}")
    return _checked(text.decode())


_SCALARS: dict[ua.VariantType, Callable[[Any], tuple[str, str]]] = {
    ua.VariantType.Double: _double,
    ua.VariantType.Float: _float,
    ua.VariantType.Boolean: lambda value: ("true" if value else "false", ""),
    ua.VariantType.String: lambda value: (_checked(value), ""),
    ua.VariantType.LocalizedText: lambda value: (_checked(value.Text or ""), ""),
    ua.VariantType.DateTime: lambda value: (utc_text(value), ""),
    **dict.fromkeys(
        (
            ua.VariantType.SByte, ua.VariantType.Byte, ua.VariantType.Int16,
            ua.VariantType.UInt16, ua.VariantType.Int32, ua.VariantType.UInt32,
            ua.VariantType.Int64, ua.VariantType.UInt64,
        ),
        _integer,
    ),
}  # fmt: skip


def _json(value: object, kind: ua.VariantType | None, depth: int) -> JsonValue:
    if depth > _DEPTH_MAX:
        raise Unkept(f"a structure deeper than {_DEPTH_MAX}")
    match value:
        case None | bool() | str():
            return value
        case Enum():
            return _json(value.value, None, depth)
        case int():
            return int(value) if abs(value) <= INTEGER_MAX else str(value)
        case float():
            return _json_number(value, kind)
        case bytes():
            return value.hex()
        case datetime():
            return utc_text(value)
        case list() | tuple():
            return [_json(each, kind, depth + 1) for each in value]
        case ua.LocalizedText():
            return value.Text
        case ua.QualifiedName() | ua.NodeId():
            return value.to_string()
        case ua.StatusCode():
            return f"0x{value.value:08X}"
        case UUID():
            return str(value)
        case ua.Variant():
            return _json(value.Value, value.VariantType, depth + 1)
    if dataclasses.is_dataclass(value):
        return {
            field.name: _json(getattr(value, field.name), _declared(field), depth + 1)
            for field in dataclasses.fields(value)
            if field.name != "Encoding"  # of optional fields, on the wire alone
        }
    raise Unkept(f"type {type(value).__name__} has no text")


def _json_number(value: float, kind: ua.VariantType | None) -> str:
    try:
        text, _ = _float(value) if kind is ua.VariantType.Float else _double(value)
    except Unkept as unkept:
        return str(unkept)  # one NaN among many values: it says so in its place
    return text


def _declared(field: "dataclasses.Field[Any]") -> ua.VariantType | None:
    return ua.VariantType.Float if "Float" in str(field.type) else None
