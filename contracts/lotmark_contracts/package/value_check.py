"""Checks that a value from outside is of a type: what a checked expression may then rely on."""

from collections.abc import Callable
from typing import Any

from lotmark_contracts.wcel.lexer import INT_MAX, INT_MIN
from lotmark_contracts.wcel.types import (
    BoolType,
    IntType,
    ListType,
    MapType,
    RecordType,
    StringType,
    Type,
)
from lotmark_contracts.wcel.values import KEY_LENGTH_MAX

# Raises ValueRefused. What comes in may be anything.
Check = Callable[[Any], None]


class ValueRefused(Exception):
    """A value is not of the type that is declared for it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = ""  # of the place in the value: ".evidence[3].weight"

    def inside(self, step: str) -> "ValueRefused":
        """Say that the place is within another value."""
        self.path = step + self.path
        return self


def value_check(wanted: Type) -> Check:
    """Return a function that refuses every value which is not of this type and its bounds."""
    match wanted:
        case IntType():
            return _check_int
        case BoolType():
            return _check_bool
        case StringType():
            return _string_check(wanted.length_max)
        case ListType():
            return _list_check(wanted)
        case MapType():
            return _map_check(wanted)
        case RecordType():
            return _record_check(wanted)
        case _:
            raise AssertionError(f"{wanted} cannot be declared")


def field_checks(record: RecordType) -> dict[str, tuple[Check, bool]]:
    """Return the check of each field, and whether it may be absent."""
    return {name: (value_check(each.type), each.is_optional) for name, each in record.fields}


def _check_int(value: Any) -> None:
    # `True` is an int to Python, and a float may equal one: only the very type will do.
    if type(value) is not int or not INT_MIN <= value <= INT_MAX:
        raise ValueRefused("expected a whole number of 64 bits")


def _check_bool(value: Any) -> None:
    if type(value) is not bool:
        raise ValueRefused("expected true or false")


def _string_check(length_max: int) -> Check:
    reason = f"expected a text of at most {length_max} characters"

    def check(value: Any) -> None:
        if type(value) is str and len(value) <= length_max and value.isascii():
            return  # as most are: one question less
        if type(value) is not str or len(value) > length_max or _has_half_a_pair(value):
            raise ValueRefused(reason)

    return check


def _has_half_a_pair(value: str) -> bool:
    """Return whether a string has a surrogate, which no UTF-8 can hold."""
    return any("\ud800" <= each <= "\udfff" for each in value)


def _list_check(wanted: ListType) -> Check:
    check_item = value_check(wanted.item)
    reason = f"expected a list of at most {wanted.count_max} items"

    def check(value: Any) -> None:
        if type(value) is not list or len(value) > wanted.count_max:
            raise ValueRefused(reason)
        at = 0
        try:
            for at, item in enumerate(value):  # noqa: B007 - the place of what is refused
                check_item(item)
        except ValueRefused as error:
            raise error.inside(f"[{at}]") from None

    return check


def _map_check(wanted: MapType) -> Check:
    check_value = value_check(wanted.value)
    check_key = _string_check(KEY_LENGTH_MAX)
    reason = f"expected at most {wanted.count_max} values, each under a key"

    def check(value: Any) -> None:
        if type(value) is not dict or len(value) > wanted.count_max:
            raise ValueRefused(reason)
        # By key, so that every node refuses the same one; which it was, the path does not repeat.
        if not all(type(key) is str for key in value):
            raise ValueRefused(reason)
        try:
            for key in sorted(value):
                check_key(key)
                check_value(value[key])
        except ValueRefused as error:
            raise error.inside("[…]") from None

    return check


def _record_check(wanted: RecordType) -> Check:
    checks = tuple((name, *each) for name, each in field_checks(wanted).items())

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise ValueRefused("expected an object")
        present = 0
        name = ""
        try:
            for name, check_field, is_optional in checks:
                if name in value:
                    check_field(value[name])
                    present += 1
                elif not is_optional:
                    raise ValueRefused("is missing")
        except ValueRefused as error:
            raise error.inside(f".{name}") from None
        if present != len(value):
            raise ValueRefused("has a field that is not declared")

    return check
