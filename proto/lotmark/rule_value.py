"""Values that rules read and keep, between Python and `lotmark.v1.Value`.

In Python: `int` of 64 bits, `bool`, `str`, `list`, and `dict` by name. On the wire and in rows:
canonical protobuf, the names of a record ascending by their UTF-8 bytes.
"""

from typing import Final, TypeAlias

from lotmark.errors import MalformedError
from lotmark.text import check_text
from lotmark.v1 import contracts_pb2

RuleValue: TypeAlias = int | bool | str | list["RuleValue"] | dict[str, "RuleValue"]

DEPTH_MAX: Final = 16
VALUES_MAX: Final = 2_000
NAME_SIZE_MAX: Final = 256
TEXT_SIZE_MAX: Final = 16_384


def check_record(record: contracts_pb2.ValueRecord, *, what: str) -> None:
    """Check the form of a record that came in.

    Args:
        record: The record.
        what: Its name in messages.

    Raises:
        MalformedError: A value is not set, names repeat or do not ascend, it is nested too deep,
            has too many values, or a text is not as texts are.
    """
    if _count(record, what, 1) > VALUES_MAX:
        raise MalformedError(f"{what} has more than {VALUES_MAX:,} values; keep them in a file")


def _count(record: contracts_pb2.ValueRecord, what: str, depth: int) -> int:
    """Return how many values there are; stops counting once there are too many."""
    if depth > DEPTH_MAX:
        raise MalformedError(f"{what} is nested deeper than {DEPTH_MAX} levels")
    count, before = 0, b""
    for each in record.fields:
        name = each.name.encode()
        if name <= before:
            raise MalformedError(
                f"{what}: {each.name[:60]!r} is empty, or does not ascend after {before[:60]!r}"
            )
        check_text(each.name, what=f"{what}: a name", size_max=NAME_SIZE_MAX)
        count += _count_value(each.value, f"{what}.{each.name[:60]}", depth)
        if count > VALUES_MAX:
            break
        before = name
    return count


def _count_value(value: contracts_pb2.Value, what: str, depth: int) -> int:
    match value.WhichOneof("kind"):
        case "record":
            return 1 + _count(value.record, what, depth + 1)
        case "list":
            if depth + 1 > DEPTH_MAX:
                raise MalformedError(f"{what} is nested deeper than {DEPTH_MAX} levels")
            count = 1
            for at, each in enumerate(value.list.values):
                count += _count_value(each, f"{what}[{at}]", depth + 1)
                if count > VALUES_MAX:
                    break
            return count
        case "text":
            check_text(value.text, what=what, size_max=TEXT_SIZE_MAX)
            return 1
        case None:
            raise MalformedError(f"{what} has no value")
        case _:
            return 1


def record_of(values: dict[str, RuleValue]) -> contracts_pb2.ValueRecord:
    """Return the record of named values.

    Raises:
        MalformedError: A number does not fit 64 bits, or a value is of another kind.
    """
    record = contracts_pb2.ValueRecord()
    for name in sorted(values, key=str.encode):
        field = record.fields.add()
        field.name = name
        _fill(field.value, values[name])
    return record


def _fill(message: contracts_pb2.Value, value: RuleValue) -> None:
    match value:
        case bool():
            message.truth = value
        case int():
            if not -(2**63) <= value < 2**63:
                raise MalformedError(f"{value} does not fit 64 bits")
            message.integer = value
        case str():
            message.text = value
        case list():
            message.list.SetInParent()
            for each in value:
                _fill(message.list.values.add(), each)
        case dict():
            message.record.CopyFrom(record_of(value))
        case _:
            raise MalformedError(f"{value!r:.60} is no number, text, truth value, list or record")


def values_of(record: contracts_pb2.ValueRecord) -> dict[str, RuleValue]:
    """Return the named values of a record whose form was checked."""
    return {each.name: value_of(each.value) for each in record.fields}


def value_of(message: contracts_pb2.Value) -> RuleValue:
    """Return a value whose form was checked."""
    match message.WhichOneof("kind"):
        case "integer":
            return message.integer
        case "text":
            return message.text
        case "truth":
            return message.truth
        case "list":
            return [value_of(each) for each in message.list.values]
        case _:
            return values_of(message.record)


def encode_value(value: RuleValue) -> bytes:
    """Return the canonical bytes of a value, as rows hold it."""
    message = contracts_pb2.Value()
    _fill(message, value)
    return message.SerializeToString(deterministic=True)


def parse_value(raw: bytes) -> RuleValue:
    """Return the value of a row that `encode_value` made."""
    return value_of(contracts_pb2.Value.FromString(raw))
