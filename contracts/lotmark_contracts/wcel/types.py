"""The types of expressions, with the bounds by which their worst case is counted."""

from dataclasses import dataclass, field

TYPE_DEPTH_MAX = 16  # so that no value is deeper, and none is compared beyond it
TYPE_NODES_MAX = 400
LENGTH_MAX = 65_536  # of texts in characters, and of lists in items, that are ever made
INT_LENGTH_MAX = 20  # characters of an integer


@dataclass(frozen=True, slots=True)
class IntType:
    """A 64-bit integer with sign."""


@dataclass(frozen=True, slots=True)
class BoolType:
    """A truth value."""


@dataclass(frozen=True, slots=True)
class StringType:
    """A text."""

    length_max: int  # in characters


@dataclass(frozen=True, slots=True)
class NothingType:
    """What the items of `[]` are: there is none, so they pass for any type."""


@dataclass(frozen=True, slots=True)
class ListType:
    """A list of items of one type."""

    item: "Type"
    count_max: int
    depth: int = field(init=False, compare=False)
    nodes: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", 1 + depth_of(self.item))
        object.__setattr__(self, "nodes", 1 + nodes_of(self.item))


@dataclass(frozen=True, slots=True)
class MapType:
    """Values of one type, each under a key that is a string. Nothing goes through all its keys."""

    value: "Type"
    count_max: int
    depth: int = field(init=False, compare=False)
    nodes: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", 1 + depth_of(self.value))
        object.__setattr__(self, "nodes", 1 + nodes_of(self.value))


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record."""

    type: "Type"
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class RecordType:
    """Fields that are known by name, each of its own type."""

    fields: tuple[tuple[str, Field], ...]  # by name, ascending
    depth: int = field(init=False, compare=False)
    nodes: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        types = [each.type for _, each in self.fields]
        object.__setattr__(self, "depth", 1 + max(map(depth_of, types), default=0))
        object.__setattr__(self, "nodes", 1 + sum(map(nodes_of, types)))

    def get(self, name: str) -> Field | None:
        """Return a field, or None if there is none of that name."""
        return dict(self.fields).get(name)


Type = IntType | BoolType | StringType | NothingType | ListType | MapType | RecordType

INT = IntType()
BOOL = BoolType()
NOTHING = NothingType()


def string_type(length_max: int) -> StringType:
    """Return the type of texts of a length that the language allows at most."""
    return StringType(min(length_max, LENGTH_MAX))


def list_type(item: Type, count_max: int) -> ListType:
    """Return the type of lists of a length that the language allows at most."""
    return ListType(item, min(count_max, LENGTH_MAX))


def record_type(fields: dict[str, Field]) -> RecordType:
    """Return a record's type."""
    return RecordType(tuple(sorted(fields.items())))


def depth_of(given: Type) -> int:
    """Return how many values stand inside each other at most."""
    return given.depth if isinstance(given, ListType | MapType | RecordType) else 1


def nodes_of(given: Type) -> int:
    """Return how long the type is when it is written out; types may share parts."""
    return given.nodes if isinstance(given, ListType | MapType | RecordType) else 1


def is_too_large(given: Type) -> bool:
    """Return whether a type is beyond the bounds of the language."""
    return depth_of(given) > TYPE_DEPTH_MAX or nodes_of(given) > TYPE_NODES_MAX


def fits(given: Type, wanted: Type) -> bool:
    """Return whether a value of one type can stand where another is wanted, bounds aside."""
    match given, wanted:
        case NothingType(), _:
            return True
        case (IntType(), IntType()) | (BoolType(), BoolType()) | (StringType(), StringType()):
            return True
        case ListType(), ListType():
            return fits(given.item, wanted.item)
        case MapType(), MapType():
            return fits(given.value, wanted.value)
        case RecordType(), RecordType():
            return _record_fits(given, wanted)
        case _:
            return False


def _record_fits(given: RecordType, wanted: RecordType) -> bool:
    have, want = dict(given.fields), dict(wanted.fields)
    if have.keys() - want.keys():
        return False
    for name, wish in want.items():
        mine = have.get(name)
        if mine is None:
            if not wish.is_optional:
                return False
        elif (mine.is_optional and not wish.is_optional) or not fits(mine.type, wish.type):
            return False
    return True


def join(left: Type, right: Type) -> Type | None:
    """Return the type of a value that may be of either type, or None if there is none.

    Where `left` covers both, it is returned itself, so that long lists of one type are quick.
    """
    if left is right:
        return left
    match left, right:
        case NothingType(), _:
            return right
        case _, NothingType():
            return left
        case StringType(), StringType():
            return left if left.length_max >= right.length_max else right
        case ListType(), ListType():
            item = join(left.item, right.item)
            if item is left.item and left.count_max >= right.count_max:
                return left
            return item and ListType(item, max(left.count_max, right.count_max))
        case MapType(), MapType():
            value = join(left.value, right.value)
            if value is left.value and left.count_max >= right.count_max:
                return left
            return value and MapType(value, max(left.count_max, right.count_max))
        case RecordType(), RecordType():
            return _joined_records(left, right)
        case _:
            return left if left == right else None


def _joined_records(left: RecordType, right: RecordType) -> RecordType | None:
    if len(left.fields) != len(right.fields):
        return None
    joined: dict[str, Field] = {}
    is_left = True
    for (name, mine), (other_name, other) in zip(left.fields, right.fields, strict=True):
        both = join(mine.type, other.type)
        if name != other_name or both is None:
            return None
        is_left = is_left and both is mine.type and mine.is_optional >= other.is_optional
        joined[name] = Field(both, mine.is_optional or other.is_optional)
    return left if is_left else record_type(joined)


def value_nodes_max(given: Type) -> int:
    """Return how many values a value of this type consists of at most."""
    match given:
        case ListType():
            return 1 + given.count_max * value_nodes_max(given.item)
        case MapType():
            return 1 + given.count_max * value_nodes_max(given.value)
        case RecordType():
            return 1 + sum(value_nodes_max(each.type) for _, each in given.fields)
        case _:
            return 1


def value_characters_max(given: Type) -> int:
    """Return how many characters the texts in a value of this type have at most, keys aside."""
    match given:
        case StringType():
            return given.length_max
        case ListType():
            return given.count_max * value_characters_max(given.item)
        case MapType():
            return given.count_max * value_characters_max(given.value)
        case RecordType():
            return sum(value_characters_max(each.type) for _, each in given.fields)
        case _:
            return 0


def described(given: Type) -> str:
    """Return what a message calls a type."""
    match given:
        case IntType():
            return "int"
        case BoolType():
            return "bool"
        case StringType():
            return "string"
        case NothingType():
            return "nothing"
        case ListType():
            return f"list({described(given.item)})"
        case MapType():
            return f"map({described(given.value)})"
        case RecordType():
            names = [name + ("?" if each.is_optional else "") for name, each in given.fields]
            shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
            return f"record({shown})"
