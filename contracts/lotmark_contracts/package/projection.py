"""Leaves out of a value what a type does not declare, so that other fields do no harm."""

from collections.abc import Callable
from typing import Any

from lotmark_contracts.wcel.types import (
    Field,
    ListType,
    MapType,
    RecordType,
    StringType,
    Type,
    record_type,
)

Projection = Callable[[Any], Any]  # of anything: what is of another type stays as it is


def projection(wanted: Type) -> Projection:
    """Return a function that leaves out fields which the type does not declare, at any depth."""
    match wanted:
        case RecordType():
            return _record_projection(wanted)
        case ListType():
            item = projection(wanted.item)
            if item is _same:
                return _same
            return lambda value: list(map(item, value)) if type(value) is list else value
        case MapType():
            each = projection(wanted.value)
            if each is _same:
                return _same
            return lambda value: (
                {key: each(value[key]) for key in value} if type(value) is dict else value
            )
        case _:
            return _same


def _record_projection(wanted: RecordType) -> Projection:
    inner = [(name, projection(each.type)) for name, each in wanted.fields]

    def project(value: Any) -> Any:
        if type(value) is not dict:
            return value
        return {name: inside(value[name]) for name, inside in inner if name in value}

    return project


def _same(value: Any) -> Any:
    return value


def union(one: Type, other: Type) -> Type:
    """Return a type that has every field which one of two types declares, at any depth.

    Where they are at odds, it is as the first says.
    """
    match one, other:
        case RecordType(), RecordType():
            return _record_union(one, other)
        case ListType(), ListType():
            return ListType(union(one.item, other.item), max(one.count_max, other.count_max))
        case MapType(), MapType():
            return MapType(union(one.value, other.value), max(one.count_max, other.count_max))
        case StringType(), StringType():
            return one if one.length_max >= other.length_max else other
        case _:
            return one


def _record_union(one: RecordType, other: RecordType) -> RecordType:
    mine, yours = dict(one.fields), dict(other.fields)
    fields: dict[str, Field] = {}
    for name in mine.keys() | yours.keys():
        left, right = mine.get(name), yours.get(name)
        if left is None or right is None:
            alone = left or right
            assert alone is not None, "the name is of one of them"
            fields[name] = Field(alone.type, is_optional=True)
        else:
            is_optional = left.is_optional or right.is_optional
            fields[name] = Field(union(left.type, right.type), is_optional)
    return record_type(fields)
