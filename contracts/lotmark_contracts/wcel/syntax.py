"""The syntax tree of an expression.

Nodes compare by identity: the checker keeps what it finds out about each in a mapping of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class BinaryOperator(StrEnum):
    """An operator between two values, `&&` and `||` aside."""

    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"
    REMAINDER = "%"
    EQUAL = "=="
    UNEQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    IN = "in"


class LogicalOperator(StrEnum):
    """An operator that may decide by one side, whatever the other one fails with."""

    AND = "&&"
    OR = "||"


class UnaryOperator(StrEnum):
    """An operator in front of a value."""

    NOT = "!"
    NEGATE = "-"


class MacroKind(StrEnum):
    """What is done for each item of a list."""

    ALL = "all"
    EXISTS = "exists"
    EXISTS_ONE = "exists_one"
    FILTER = "filter"
    MAP = "map"


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """A number, truth value or string as it stands in the source."""

    offset: int
    value: int | bool | str


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """A variable."""

    offset: int
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Select:
    """A field: `claim.cost`."""

    offset: int  # of the field
    operand: "Expression"
    field: str


@dataclass(frozen=True, slots=True, eq=False)
class Has:
    """Whether a field is there: `has(claim.cap)`."""

    offset: int
    operand: "Expression"
    field: str


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """An item of a list, or the value of a map's key."""

    offset: int  # of the bracket
    operand: "Expression"
    key: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class Unary:
    """`!` or `-`."""

    offset: int
    operator: UnaryOperator
    operand: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    """Arithmetic or a comparison."""

    offset: int  # of the operator
    operator: BinaryOperator
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class Logical:
    """`&&` or `||`."""

    offset: int  # of the operator
    operator: LogicalOperator
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class Conditional:
    """`condition ? yes : no`."""

    offset: int  # of the question mark
    condition: "Expression"
    yes: "Expression"
    no: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class ListLiteral:
    """`[a, b]`."""

    offset: int
    items: tuple["Expression", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A field of a record: `"state": "open"`."""

    offset: int  # of the key
    key: str
    value: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class RecordLiteral:
    """`{"state": "open", "held": 0}`."""

    offset: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function of values; a method's receiver is the first of its arguments."""

    offset: int  # of the function's name
    function: str
    arguments: tuple["Expression", ...]
    is_method: bool


@dataclass(frozen=True, slots=True, eq=False)
class Macro:
    """Something done for each item of a list: `evidence.filter(e, e.ok)`."""

    offset: int  # of the macro's name
    kind: MacroKind
    operand: "Expression"
    variable: str
    body: "Expression"


Expression = (
    Literal
    | Name
    | Select
    | Has
    | Index
    | Unary
    | Binary
    | Logical
    | Conditional
    | ListLiteral
    | RecordLiteral
    | Call
    | Macro
)


def children_of(node: Expression) -> tuple[Expression, ...]:
    """Return the nodes right beneath one, in the order in which they are evaluated."""
    match node:
        case Literal() | Name():
            return ()
        case Select() | Has() | Unary():
            return (node.operand,)
        case Index():
            return (node.operand, node.key)
        case Binary() | Logical():
            return (node.left, node.right)
        case Conditional():
            return (node.condition, node.yes, node.no)
        case ListLiteral():
            return node.items
        case RecordLiteral():
            return tuple(entry.value for entry in node.entries)
        case Call():
            return node.arguments
        case Macro():
            return (node.operand, node.body)


def walk(root: Expression) -> Iterator[tuple[Expression, int]]:
    """Yield every node with its height above the root, without recursion."""
    waiting = [(root, 1)]
    while waiting:
        node, level = waiting.pop()
        yield node, level
        waiting.extend((child, level + 1) for child in children_of(node))
