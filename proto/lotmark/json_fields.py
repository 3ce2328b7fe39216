"""Reads the members of a JSON object, each with its type, and names the place of a refused one."""

import re
from collections.abc import Iterator, Sequence

from lotmark.canonical_json import JsonValue
from lotmark.errors import MalformedError

_HEX = re.compile(r"(?:[0-9a-f]{2})*")
_UNSIGNED = re.compile(r"0|[1-9][0-9]{0,19}")

U64_MAX = 2**64 - 1
_SHOWN_MAX = 40  # characters of a refused value that a message repeats


class JsonFields:
    """An object that has exactly the expected members."""

    __slots__ = ("_members", "_place")

    def __init__(
        self,
        value: JsonValue,
        members: Sequence[str],
        *,
        place: str,
        optional: Sequence[str] = (),
    ) -> None:
        """Take a value that must be an object.

        Args:
            value: What `canonical_json.load` returned, or a part of it.
            members: The names that the object must have.
            place: Where the object stands, for messages.
            optional: The names that it may have besides; it may have no other.

        Raises:
            MalformedError: It is no object, lacks a member, or has one that is not expected.
        """
        if not isinstance(value, dict):
            raise MalformedError(f"{place} is {_kind(value)}, not an object")
        if missing := [name for name in members if name not in value]:
            raise MalformedError(f"{place} lacks {', '.join(missing)}")
        if unknown := sorted(set(value) - {*members, *optional}):
            raise MalformedError(
                f"{place} has the unknown member {_shown(unknown[0])};"
                f" it may have {', '.join([*members, *optional])}"
            )
        self._members: dict[str, JsonValue] = value
        self._place = place

    def has(self, name: str) -> bool:
        """Return whether an optional member is there."""
        return name in self._members

    def text(self, name: str) -> str:
        """Return a string."""
        value = self._members[name]
        if not isinstance(value, str):
            raise self._refusal(name, "a string", value)
        return value

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self._members[name]
        if not isinstance(value, bool):
            raise self._refusal(name, "true or false", value)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an array of strings."""
        values = self._array(name)
        for value in values:
            if not isinstance(value, str):
                raise self._refusal(name, "an array of strings", value)
        return tuple(str(value) for value in values)

    def hex(self, name: str, *, size: int) -> bytes:
        """Return `size` bytes that stand there as lower-case hex."""
        return _hex(self._members[name], size, f"{self._place}.{name}")

    def hexes(self, name: str, *, size: int) -> tuple[bytes, ...]:
        """Return an array of such bytes."""
        return tuple(
            _hex(value, size, f"{self._place}.{name}[{at}]")
            for at, value in enumerate(self._array(name))
        )

    def number(self, name: str) -> int:
        """Return an integer that stands there as a JSON number."""
        return _number(self._members[name], f"{self._place}.{name}")

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return an array of such integers."""
        return tuple(
            _number(value, f"{self._place}.{name}[{at}]")
            for at, value in enumerate(self._array(name))
        )

    def u64(self, name: str) -> int:
        """Return an integer of 0 to 2^64 - 1 that stands there as a decimal string."""
        value = self._members[name]
        if not (isinstance(value, str) and _UNSIGNED.fullmatch(value)) or int(value) > U64_MAX:
            raise self._refusal(name, "a decimal string of 0 to 2^64 - 1", value)
        return int(value)

    def object(
        self, name: str, members: Sequence[str], *, optional: Sequence[str] = ()
    ) -> "JsonFields":
        """Return an object with these members, and perhaps the optional ones."""
        place = f"{self._place}.{name}"
        return JsonFields(self._members[name], members, place=place, optional=optional)

    def objects(self, name: str, members: Sequence[str]) -> "Iterator[JsonFields]":
        """Return the objects of an array, each with exactly these members."""
        for at, value in enumerate(self._array(name)):
            yield JsonFields(value, members, place=f"{self._place}.{name}[{at}]")

    def _array(self, name: str) -> Sequence[JsonValue]:
        value = self._members[name]
        if not isinstance(value, list):
            raise self._refusal(name, "an array", value)
        return value

    def _refusal(self, name: str, wanted: str, value: JsonValue) -> MalformedError:
        return MalformedError(f"{self._place}.{name} is {_kind(value)}, not {wanted}")


def _hex(value: JsonValue, size: int, place: str) -> bytes:
    if not (isinstance(value, str) and len(value) == 2 * size and _HEX.fullmatch(value)):
        raise MalformedError(
            f"{place} is {_kind(value)}, not {size} bytes as {2 * size} lower-case hex digits"
        )
    return bytes.fromhex(value)


def _number(value: JsonValue, place: str) -> int:
    if type(value) is not int:  # `true` is an int to isinstance
        raise MalformedError(f"{place} is {_kind(value)}, not an integer")
    return value


def _kind(value: JsonValue) -> str:
    """Describe a refused value."""
    match value:
        case None | bool() | int() | str():
            return _shown(value)
        case list():
            return "an array"
        case _:
            return "an object"


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
