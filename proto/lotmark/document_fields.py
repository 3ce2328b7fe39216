"""Fields of any protobuf message, to and from values that a person can write in TOML or JSON.

Driven by the message descriptors alone, so that a new field or event type needs no line here:

- text is a string; a number that was measured is text too, since a float would change its digits
- bytes are hexadecimal; a field named ``*_digest`` may name a file instead: ``{path = "x.xml"}``
- a field named ``*_ms`` is a time such as ``2026-01-12T08:00:00.123Z``, or Unix milliseconds
- an enum is written without its prefix: ``CONFORMING`` for ``VERDICT_CONFORMING``
- values for rules are written as they are: whole numbers, texts, true, false, lists and tables

Numbers, flags and enums always have to be written, because 0 and false are answers that nobody
should give by leaving a line out. Whether an empty text is allowed is for the event's rules.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, TypeAlias, cast

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from lotmark.errors import MalformedError
from lotmark.rfc3339 import TEXT_MAX_MS, parse_ms, text_of_ms
from lotmark.rule_value import RuleValue, record_of, values_of
from lotmark.v1 import contracts_pb2

DocumentValue: TypeAlias = (
    bool | int | str | Sequence["DocumentValue"] | Mapping[str, "DocumentValue"]
)

_INTEGER_BOUNDS = {
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SINT64: (-(2**63), 2**63 - 1),
}
_SHOWN_MAX = 60  # characters of a refused value that a message repeats


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which document something stands."""

    document: str
    path: str = ""  # such as "event[3].measurement.value"; empty: the document itself

    def member(self, name: str) -> "Place":
        """Return the place of a table's member."""
        shown = name if name.isidentifier() and name.isascii() else ascii(name[:_SHOWN_MAX])
        return Place(self.document, f"{self.path}.{shown}" if self.path else shown)

    def element(self, index: int) -> "Place":
        """Return the place of a list's element; the first has index 0."""
        return Place(self.document, f"{self.path}[{index}]")

    def refusal(self, problem: str) -> MalformedError:
        """Return an error that names this place, then what is wrong with the value there."""
        where = f"{self.path}: " if self.path else ""
        return MalformedError(f"{self.document}: {where}{problem}")

    def missing(self, remedy: str) -> MalformedError:
        """Return an error that says that this member is missing."""
        return MalformedError(f"{self.document}: {self.path} is missing; {remedy}")


FileDigester: TypeAlias = Callable[[str, Place], bytes]  # SHA-256 of the file named at that place


def shown(value: object) -> str:
    """Return the beginning of a refused value, however long or odd it is."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    try:
        text = str(value).lower() if isinstance(value, bool) else ascii(value)
    except ValueError:  # an integer of more digits than Python converts
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def table_at(value: object, place: Place, allowed: Sequence[str]) -> dict[str, Any]:
    """Return `value` if it is a table whose members are all allowed.

    Raises:
        MalformedError: It is no table, or has another member.
    """
    if not isinstance(value, dict):
        raise place.refusal(f"{shown(value)} is no table; write its members {_listed(allowed)}")
    for name in value:
        if name not in allowed:
            at = place.member(name).path
            raise MalformedError(
                f"{place.document}: {at} is unknown; allowed here are {_listed(allowed)}"
            )
    return value


def list_at(value: object, place: Place) -> list[Any]:
    """Return `value` if it is a list.

    Raises:
        MalformedError: It is none.
    """
    if not isinstance(value, list):
        raise place.refusal(f"{shown(value)} is no list; write it in [ ]")
    return value


def string_at(value: object, place: Place) -> str:
    """Return `value` if it is a string.

    Raises:
        MalformedError: It is none; a number is asked to be put in quotes.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise place.refusal(
            f"{shown(value)} is a bare number, which loses digits on its way; write it in quotes,"
            ' such as "1.840"'
        )
    if isinstance(value, datetime | date | time):
        raise place.refusal(f"{shown(value)} is a bare time; write it in quotes")
    raise place.refusal(f"{shown(value)} is no string; write it in quotes")


def hex_at(value: object, place: Place) -> bytes:
    """Return the bytes whose hexadecimal form `value` is.

    Raises:
        MalformedError: It is no such string.
    """
    text = string_at(value, place)
    # bytes.fromhex would take spaces and any letter case: two writings of one digest.
    if len(text) % 2 or text.strip("0123456789abcdef"):
        raise place.refusal(
            f"{shown(text)} is not hexadecimal; write an even number of digits 0-9 a-f"
        )
    return bytes.fromhex(text)


def integer_at(value: object, place: Place, low: int, high: int) -> int:
    """Return `value` if it is a whole number from `low` to `high`.

    Raises:
        MalformedError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise place.refusal(f"{shown(value)} is no whole number from {low} to {high}")
    return value


def enum_at(value: object, place: Place, enum: EnumDescriptor) -> int:
    """Return the number of the enum value whose short name `value` is.

    Raises:
        MalformedError: It is none; the message lists them.
    """
    numbers = {name: number for number, name in short_names(enum).items()}
    if not isinstance(value, str) or value not in numbers:
        raise place.refusal(f"{shown(value)} is none of {_listed(tuple(numbers))}")
    return numbers[value]


def short_names(enum: EnumDescriptor) -> dict[int, str]:
    """Return number and short name of each value that is valid; 0 never is."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {value.number: value.name.removeprefix(prefix) for value in enum.values if value.number}


def fill(message: Message, value: object, place: Place, digest_file: FileDigester) -> None:
    """Set the fields of `message` from a table.

    Raises:
        MalformedError: A member is unknown, has the wrong type or range, or is missing.
    """
    fields = _fields(message)
    table = table_at(value, place, [field.name for field in fields])
    for field in fields:
        at = place.member(field.name)
        if field.name not in table:
            if not _may_be_left_out(field):
                raise at.missing(f"write {_expected(field)}")
        elif field.is_repeated:
            target = getattr(message, field.name)
            for index, element in enumerate(list_at(table[field.name], at)):
                if field.message_type is None:
                    target.append(_scalar_at(field, element, at.element(index), digest_file))
                else:
                    fill(target.add(), element, at.element(index), digest_file)
        elif field.message_type is None:
            setattr(message, field.name, _scalar_at(field, table[field.name], at, digest_file))
        elif isinstance(record := getattr(message, field.name), contracts_pb2.ValueRecord):
            record.CopyFrom(_record_at(table[field.name], at))
            record.SetInParent()
        else:
            submessage = getattr(message, field.name)
            submessage.SetInParent()  # a table without members is there all the same
            fill(submessage, table[field.name], at, digest_file)


def _record_at(value: object, place: Place) -> contracts_pb2.ValueRecord:
    """Return the values for rules that a table holds."""
    if not isinstance(value, dict):
        raise place.refusal(f"{shown(value)} is no table; write the fields by name")
    return record_of(
        {name: _rule_value_at(each, place.member(name)) for name, each in value.items()}
    )


def _rule_value_at(value: object, place: Place) -> RuleValue:
    if isinstance(value, list):
        return [_rule_value_at(each, place.element(index)) for index, each in enumerate(value)]
    if isinstance(value, dict):
        return {name: _rule_value_at(each, place.member(name)) for name, each in value.items()}
    if isinstance(value, bool | str):
        return value
    return integer_at(value, place, -(2**63), 2**63 - 1)


def _fields(message: Message) -> Sequence[FieldDescriptor]:
    # The stubs name a second class, of the C runtime, that behaves the same.
    return cast("Sequence[FieldDescriptor]", message.DESCRIPTOR.fields)


def _may_be_left_out(field: FieldDescriptor) -> bool:
    return (
        field.is_repeated
        or field.has_presence
        or field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
    )


def _expected(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        return f"one of {_listed(tuple(short_names(field.enum_type).values()))}"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "true or false"
    if _is_time(field):
        return 'a time such as "2026-01-12T08:00:00.123Z"'
    low, high = _INTEGER_BOUNDS[field.type]
    return f"a whole number from {low} to {high}"


def _is_time(field: FieldDescriptor) -> bool:
    return field.name.endswith("_ms") and field.type == FieldDescriptor.TYPE_UINT64


def _scalar_at(
    field: FieldDescriptor, value: object, place: Place, digest_file: FileDigester
) -> bool | int | str | bytes:
    if field.enum_type is not None:
        return enum_at(value, place, field.enum_type)
    if field.type == FieldDescriptor.TYPE_STRING:
        return string_at(value, place)
    if field.type == FieldDescriptor.TYPE_BYTES:
        if field.name.endswith("_digest") and isinstance(value, dict):
            table = table_at(value, place, ["path"])
            at = place.member("path")
            if "path" not in table:
                raise at.missing("name the file")
            return digest_file(string_at(table["path"], at), at)
        return hex_at(value, place)
    if field.type == FieldDescriptor.TYPE_BOOL:
        if not isinstance(value, bool):
            raise place.refusal(f"{shown(value)} is neither true nor false; write it bare")
        return value
    if _is_time(field) and isinstance(value, str):
        try:
            return parse_ms(value)
        except MalformedError as error:
            raise place.refusal(str(error)) from error
    return integer_at(value, place, *_INTEGER_BOUNDS[field.type])


def table_of(message: Message) -> dict[str, DocumentValue]:
    """Return the table that `fill` makes `message` from; it never fails, whatever stands in it."""
    if isinstance(message, contracts_pb2.ValueRecord):
        return dict(values_of(message))
    table: dict[str, DocumentValue] = {}
    for field in _fields(message):
        value = getattr(message, field.name)
        if field.is_repeated:
            if value:
                table[field.name] = [_written(field, element) for element in value]
        elif field.message_type is not None:
            if message.HasField(field.name):
                table[field.name] = table_of(value)
        elif value or not _may_be_left_out(field):
            table[field.name] = _written(field, value)
    return table


def _written(field: FieldDescriptor, value: Any) -> DocumentValue:
    if field.message_type is not None:
        return table_of(value)
    if field.enum_type is not None:
        # A number that this version has no name for is shown as it is.
        return short_names(field.enum_type).get(value, int(value))
    if isinstance(value, bytes):
        return value.hex()
    if _is_time(field) and 0 < value < TEXT_MAX_MS:
        return text_of_ms(value)
    written: DocumentValue = value
    return written


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
