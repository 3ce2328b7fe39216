"""JSON that is hashed: RFC 8785, narrowed to what every language reads the same.

RFC 8785 fixes the order of keys, the escapes and the white space. What still goes wrong between
implementations is not allowed in the first place: numbers are integers that a double holds
exactly (anything else is a decimal string), keys are ASCII, so that all ways to sort them agree,
and nesting has a bound, so that no reader runs out of stack.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, TypeAlias

import rfc8785

from lotmark.errors import MalformedError

# At run time sequences are lists or tuples and mappings are dicts; `load` makes lists and dicts.
JsonValue: TypeAlias = bool | int | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
ForeignJson: TypeAlias = (
    bool | int | float | str | Sequence["ForeignJson"] | Mapping[str, "ForeignJson"] | None
)

INTEGER_MAX = 2**53 - 1
DEPTH_MAX = 32
FOREIGN_DEPTH_MAX = 64


def dump(value: JsonValue) -> bytes:
    """Return the one encoding of `value`.

    Raises:
        MalformedError: It holds a float, an integer beyond 2^53 - 1, a key that is not ASCII, a
            lone surrogate, something that is no JSON value, or nests deeper than 32.
    """
    _check(value, 0)
    return rfc8785.dumps(value)


def _check(value: JsonValue, depth: int) -> None:
    """Refuse what `dump` refuses; `depth` counts the arrays and objects around `value`."""
    match value:
        case None | bool():
            return
        case str():
            _check_surrogates(value)
        case int():
            if abs(value) > INTEGER_MAX:
                raise MalformedError(
                    f"integer {_shown(value)} is beyond 2^53 - 1; write it as a decimal string"
                )
        case list() | tuple():
            _check_depth(depth + 1, DEPTH_MAX)
            for item in value:
                _check(item, depth + 1)
        case dict():
            _check_depth(depth + 1, DEPTH_MAX)
            for key, item in value.items():
                if not (isinstance(key, str) and key.isascii()):
                    raise MalformedError(f"object key {_shown(key)} is not an ASCII string")
                _check(item, depth + 1)
        case float():
            raise MalformedError(f"number {value!r} is a float; write it as a decimal string")
        case _:
            raise MalformedError(f"{type(value).__name__} is no JSON value")


def load(raw: bytes, *, size_max: int) -> JsonValue:
    """Return the value of an encoding that `dump` made.

    Args:
        raw: The encoding.
        size_max: The most bytes it may have.

    Raises:
        MalformedError: It is too long, no JSON, has a duplicate key, or is not what `dump` makes
            of its value.
    """
    value = _parse(raw, size_max, DEPTH_MAX, parse_float=_refuse_float)
    if dump(value) != raw:
        raise MalformedError(
            f"JSON of {len(raw)} bytes is not canonical: its keys' order, white space, escapes or"
            " numbers are not those of RFC 8785"
        )
    return value


def load_foreign(raw: bytes, *, size_max: int) -> ForeignJson:
    """Return the value of another system's document, which need not be canonical.

    Floats and any keys are allowed. What two readers could take differently is not.

    Args:
        raw: The document, in UTF-8 without byte order mark.
        size_max: The most bytes it may have.

    Raises:
        MalformedError: It is too long, no JSON, has a duplicate key, a lone surrogate, a number
            that is not finite, or nests deeper than 64.
    """
    value = _parse(raw, size_max, FOREIGN_DEPTH_MAX, parse_float=_finite_float)
    _check_foreign(value, 0)
    return value


def _check_foreign(value: ForeignJson, depth: int) -> None:
    if isinstance(value, str):
        _check_surrogates(value)
    elif isinstance(value, list):
        _check_depth(depth + 1, FOREIGN_DEPTH_MAX)
        for item in value:
            _check_foreign(item, depth + 1)
    elif isinstance(value, dict):
        _check_depth(depth + 1, FOREIGN_DEPTH_MAX)
        for key, item in value.items():
            _check_surrogates(key)
            _check_foreign(item, depth + 1)


def _parse(
    raw: bytes, size_max: int, depth_max: int, *, parse_float: Callable[[str], float]
) -> JsonValue:
    """Return the value of `raw`; what is checked on values is left to the caller."""
    if len(raw) > size_max:
        raise MalformedError(f"JSON has {len(raw)} bytes; at most {size_max} are allowed")
    try:
        # Decoded here: json.loads would guess UTF-16 and skip a byte order mark.
        parsed: JsonValue = json.loads(
            raw.decode(),
            object_pairs_hook=_object_without_duplicates,
            parse_float=parse_float,
            parse_constant=_refuse_constant,
        )
    except RecursionError as error:
        # Python's stack holds far more than either bound, so this is always the document's fault.
        raise MalformedError(f"JSON nests deeper than {depth_max}") from error
    except ValueError as error:  # no UTF-8, no JSON, or an integer of thousands of digits
        raise MalformedError(f"not JSON in UTF-8: {error}") from error
    return parsed


def _object_without_duplicates(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise MalformedError(f"object key {_shown(key)} stands twice in one object")
            seen.add(key)
    return made


def _refuse_float(number: str) -> NoReturn:
    raise MalformedError(f"number {_shown(number)} is a float; write it as a decimal string")


def _finite_float(number: str) -> float:
    value = float(number)
    if value in (float("inf"), float("-inf")):
        raise MalformedError(f"number {_shown(number)} is too large for a float")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedError(f"{name} is no JSON number")


def _check_depth(depth: int, depth_max: int) -> None:
    if depth > depth_max:
        raise MalformedError(f"JSON nests deeper than {depth_max}")


def _check_surrogates(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise MalformedError(f"string {_shown(value)} has a lone surrogate") from error


def _shown(value: object) -> str:
    """Return the beginning of `value`, however long or odd it is."""
    try:
        return ascii(value)[:40]
    except ValueError:  # an integer of more digits than Python converts
        return "of thousands of digits"
