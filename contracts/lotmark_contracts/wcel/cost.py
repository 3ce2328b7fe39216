"""What an expression costs: before it is evaluated, and in the worst case of its types' bounds."""

from lotmark_contracts.wcel import gas
from lotmark_contracts.wcel.checker import Checked
from lotmark_contracts.wcel.functions import FUNCTIONS
from lotmark_contracts.wcel.syntax import (
    Binary,
    BinaryOperator,
    Call,
    Expression,
    Index,
    Macro,
    children_of,
)
from lotmark_contracts.wcel.types import (
    INT,
    LENGTH_MAX,
    BoolType,
    IntType,
    ListType,
    MapType,
    StringType,
    Type,
    value_characters_max,
    value_nodes_max,
)

EQUALITIES = (BinaryOperator.EQUAL, BinaryOperator.UNEQUAL)


def base_cost(node: Expression) -> int:
    """Return what is charged for a node and those beneath it as soon as it is begun.

    Of a macro that is the macro itself and its list; its body is charged for each item.
    """
    own = gas.NODE
    if isinstance(node, Call) and node.function in FUNCTIONS:
        own += FUNCTIONS[node.function].gas
    if isinstance(node, Macro):
        return own + base_cost(node.operand)
    return own + sum(base_cost(child) for child in children_of(node))


def item_cost(macro: Macro) -> int:
    """Return what is charged for each item of a macro before it begins."""
    return gas.ITERATION + base_cost(macro.body)


def worst_cost(checked: Checked) -> int:
    """Return what an expression costs at most, whatever the values of its variables."""
    return _worst(checked, checked.root)


def _worst(checked: Checked, node: Expression) -> int:
    own = gas.NODE
    match node:
        case Macro():
            items = _count_max(checked.types[node.operand])
            body = gas.ITERATION + _worst(checked, node.body)
            return own + _worst(checked, node.operand) + items * body
        case Call():
            own += _call(checked, node)
        case Binary():
            own += _operator(checked, node)
        case Index():
            own += gas.comparing(_length_max(checked.types[node.key]))
    return own + sum(_worst(checked, child) for child in children_of(node))


def _call(checked: Checked, node: Call) -> int:
    function = FUNCTIONS.get(node.function)
    if function is None:
        return 0
    types = [checked.types[argument] for argument in node.arguments]
    cost = function.gas + function.item_gas * sum(map(_count_max, types))
    if function.compares_text:
        cost += gas.comparing(sum(map(value_characters_max, types)))
    return cost


def _operator(checked: Checked, node: Binary) -> int:
    left, right = checked.types[node.left], checked.types[node.right]
    if node.operator is BinaryOperator.ADD and not (left == INT and right == INT):
        return gas.copying(min(LENGTH_MAX, _length_max(left) + _length_max(right)))
    if node.operator is BinaryOperator.IN:
        if isinstance(right, ListType):
            return right.count_max * _equality(left, right.item)
        return gas.comparing(_length_max(left))
    if node.operator in EQUALITIES and is_deep(left, right):
        return _equality(left, right)
    return gas.comparing(min(_length_max(left), _length_max(right)))


def is_deep(left: Type, right: Type) -> bool:
    """Return whether a comparison has to look into values."""
    return any(not isinstance(each, IntType | BoolType | StringType) for each in (left, right))


def _equality(left: Type, right: Type) -> int:
    nodes = min(value_nodes_max(left), value_nodes_max(right))
    # Each text may cost a part of what its characters do; together they cost no more than all.
    characters = min(value_characters_max(left), value_characters_max(right))
    return gas.EQUAL_NODE * nodes + gas.comparing(characters)


def _count_max(given: Type) -> int:
    return given.count_max if isinstance(given, ListType | MapType) else 0


def _length_max(given: Type) -> int:
    return given.length_max if isinstance(given, StringType) else _count_max(given)
