"""The values of expressions, how they are compared, and how large they may become."""

from collections.abc import Iterable

from lotmark_contracts.wcel import gas
from lotmark_contracts.wcel.types import ListType, MapType, RecordType, StringType, Type

# A number, a truth value, a text, a list of values, or values under names.
Value = int | bool | str | list["Value"] | dict[str, "Value"]

VALUE_NODES_MAX = 2_000  # of a value that is kept
KEY_LENGTH_MAX = 256  # of a map's key, in characters
_CHARACTERS_PER_NODE = 16  # of text, which count as one more


class TooLarge(Exception):
    """A value has more than `VALUE_NODES_MAX` nodes when it is written out."""


class Meter:
    """What may still be spent."""

    __slots__ = ("gas_left",)

    def __init__(self, gas_left: int) -> None:
        self.gas_left = gas_left


class OutOfGas(Exception):
    """The next step of a comparison cannot be paid."""


def equal(left: Value, right: Value, meter: Meter) -> bool:
    """Compare two values of one type, and pay for every pair before it is compared.

    A value may hold the same list twice, and that list another one twice: what is shared is paid
    for as often as it is visited. No value is deeper than its type, whose depth is bounded.

    Raises:
        OutOfGas: The meter has run out.
    """
    cost = gas.EQUAL_NODE
    if isinstance(left, str) and isinstance(right, str):
        cost += gas.comparing(min(len(left), len(right)))
    meter.gas_left -= cost
    if meter.gas_left < 0:
        raise OutOfGas
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            equal(mine, other, meter) for mine, other in zip(left, right, strict=True)
        )
    if isinstance(left, dict) and isinstance(right, dict):
        # By name, so that gas does not depend on the order in which keys came in.
        return left.keys() == right.keys() and all(
            equal(left[key], right[key], meter) for key in sorted(left)
        )
    return left == right


def measured(value: Value, nodes_max: int = VALUE_NODES_MAX) -> int:
    """Return how large a value is when it is written out: its nodes, keys and text.

    Raises:
        TooLarge: It is larger than `nodes_max`; what it shares was not visited to the end.
    """
    size = 0
    # Siblings wait together, and the most frequent kind is asked for first: half the time.
    waiting: list[Iterable[Value]] = [(value,)]
    while waiting:
        for each in waiting.pop():
            size += 1
            if isinstance(each, int):
                continue
            if isinstance(each, str):
                size += len(each) // _CHARACTERS_PER_NODE
                continue
            if len(each) > nodes_max:
                raise TooLarge
            if isinstance(each, list):
                waiting.append(each)
            else:
                size += sum([1 + len(key) // _CHARACTERS_PER_NODE for key in each])
                waiting.append(each.values())
        if size > nodes_max:
            raise TooLarge
    return size


def size_max(given: Type) -> int:
    """Return what `measured` says at most of a value of a type."""
    match given:
        case StringType():
            return 1 + given.length_max // _CHARACTERS_PER_NODE
        case ListType():
            return 1 + given.count_max * size_max(given.item)
        case MapType():
            key = 1 + KEY_LENGTH_MAX // _CHARACTERS_PER_NODE
            return 1 + given.count_max * (key + size_max(given.value))
        case RecordType():
            keys = sum(1 + len(name) // _CHARACTERS_PER_NODE for name, _ in given.fields)
            return 1 + keys + sum(size_max(each.type) for _, each in given.fields)
        case _:
            return 1
