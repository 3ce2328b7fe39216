"""Turns a checked expression into closures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lotmark_contracts.wcel import gas
from lotmark_contracts.wcel.checker import Checked, check
from lotmark_contracts.wcel.compiled_macros import compiled_macro
from lotmark_contracts.wcel.compiled_operators import (
    compiled_binary,
    compiled_logical,
    joined,
    negated,
)
from lotmark_contracts.wcel.cost import base_cost, is_deep, item_cost, worst_cost
from lotmark_contracts.wcel.errors import (
    EvaluationFailed,
    ExpressionRefused,
    FailureCode,
    LimitExceeded,
    RefusalCode,
)
from lotmark_contracts.wcel.frame import Code, Frame
from lotmark_contracts.wcel.functions import FUNCTIONS, Function, FunctionFailed
from lotmark_contracts.wcel.parser import parse
from lotmark_contracts.wcel.scope import Scope
from lotmark_contracts.wcel.syntax import (
    Binary,
    BinaryOperator,
    Call,
    Conditional,
    Expression,
    Has,
    Index,
    ListLiteral,
    Literal,
    Logical,
    Macro,
    Name,
    RecordLiteral,
    Select,
    Unary,
    UnaryOperator,
    children_of,
)
from lotmark_contracts.wcel.types import IntType, MapType, RecordType, Type, described, fits
from lotmark_contracts.wcel.values import size_max


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression."""

    root: Expression
    type: Type
    names: frozenset[str]  # of the scope, that it uses
    base_gas: int  # charged when it begins
    worst_gas: int  # more it never costs
    size_max: int  # that `measured` never says more of its value
    slot_count: int  # that a frame must have
    check_work: int  # that it was to check it
    code: Code

    def run(self, frame: Frame) -> Any:
        """Return the value.

        Raises:
            ExpressionFailed: There is none, or the gas has run out.
        """
        frame.gas_left -= self.base_gas  # as `charge` does, without the call
        if frame.gas_left < 0:
            raise LimitExceeded(FailureCode.GAS, 0)
        return self.code(frame)


def compile_expression(source: str, scope: Scope, wanted: Type | None = None) -> Program:
    """Return an expression's program.

    Args:
        source: The expression.
        scope: The names that it may use.
        wanted: The type that its value must have; None: any.

    Raises:
        ExpressionRefused: It is not of the language, names what is unknown, or has another type.
    """
    root = parse(source)
    checked = check(source, root, scope)
    if wanted is not None and not fits(checked.type, wanted):
        raise ExpressionRefused(
            RefusalCode.TYPE,
            source,
            0,
            f"the value shall be {described(wanted)}, and is {described(checked.type)}",
        )
    names = {
        node.name
        for node, variable in checked.variables.items()
        if isinstance(node, Name) and variable.slot < scope.slot_count
    }
    return Program(
        root,
        checked.type,
        frozenset(names),
        base_cost(root),
        worst_cost(checked),
        size_max(checked.type),
        checked.slot_count,
        checked.work,
        _Compiler(checked).code_of(root),
    )


class _Compiler:
    def __init__(self, checked: Checked) -> None:
        self._types = checked.types
        self._variables = checked.variables
        self._failing: dict[Expression, bool] = {}  # what is asked of a node by all above it

    def code_of(self, node: Expression) -> Code:
        """Return the closure that evaluates a node; its gas has been charged by who calls it."""
        match node:
            case Literal():
                return _constant(node.value)
            case Name():
                return _slot(self._variables[node].slot)
            case Select():
                return self._select(node)
            case Has():
                return self._has(node)
            case Index():
                return self._index(node)
            case Unary():
                operand = self.code_of(node.operand)
                if node.operator is UnaryOperator.NOT:
                    return lambda frame: not operand(frame)
                return negated(operand, node.offset)
            case Binary():
                return self._binary(node)
            case Logical():
                return compiled_logical(
                    node.operator,
                    self.code_of(node.left),
                    self.code_of(node.right),
                    left_can_fail=self._can_fail(node.left),
                )
            case Conditional():
                return self._conditional(node)
            case ListLiteral():
                return self._list(node)
            case RecordLiteral():
                entries = tuple((entry.key, self.code_of(entry.value)) for entry in node.entries)
                return lambda frame: {key: value(frame) for key, value in entries}
            case Call():
                return self._call(node)
            case Macro():
                return compiled_macro(
                    node.kind,
                    self.code_of(node.operand),
                    self.code_of(node.body),
                    slot=self._variables[node].slot,
                    item_cost=item_cost(node),
                    offset=node.offset,
                    body_can_fail=self._can_fail(node.body),
                )

    def _can_fail(self, node: Expression) -> bool:
        """Return whether a node may have no value. That gas may run out does not count."""
        if node not in self._failing:
            self._failing[node] = self._fails_itself(node) or any(
                map(self._can_fail, children_of(node))
            )
        return self._failing[node]

    def _fails_itself(self, node: Expression) -> bool:
        match node:
            case Select():
                return not _is_always_there(self._types[node.operand], node.field)
            case Index() | Unary(operator=UnaryOperator.NEGATE):
                return True
            case Binary():
                return _can_overflow(node, self._types)
            case Call():
                return node.function in FUNCTIONS and FUNCTIONS[node.function].can_fail
            case _:
                return False

    def _list(self, node: ListLiteral) -> Code:
        constants = [item.value for item in node.items if isinstance(item, Literal)]
        if len(constants) == len(node.items):
            return lambda _frame: constants.copy()
        items = tuple(map(self.code_of, node.items))
        return lambda frame: [item(frame) for item in items]

    def _select(self, node: Select) -> Code:
        field, offset = node.field, node.offset
        operand = self.code_of(node.operand)
        if not _is_always_there(self._types[node.operand], field):
            return _optional_field(operand, field, offset)
        if isinstance(node.operand, Name):  # most of all nodes: one closure instead of two
            slot = self._variables[node.operand].slot
            return lambda frame: frame.slots[slot][field]
        return lambda frame: operand(frame)[field]

    def _has(self, node: Has) -> Code:
        operand, field = self.code_of(node.operand), node.field
        return lambda frame: field in operand(frame)

    def _index(self, node: Index) -> Code:
        operand, key = self.code_of(node.operand), self.code_of(node.key)
        if isinstance(self._types[node.operand], MapType):
            return _map_value(operand, key, node.offset)
        if isinstance(node.operand, Name) and isinstance(node.key, Name):  # the body of most macros
            items_slot = self._variables[node.operand].slot
            return _list_item_of_names(items_slot, self._variables[node.key].slot, node.offset)
        return _list_item(operand, key, node.offset)

    def _binary(self, node: Binary) -> Code:
        left, right = self._types[node.left], self._types[node.right]
        if self._joins(node):
            return self._joined(node)
        return compiled_binary(
            node.operator,
            self.code_of(node.left),
            self.code_of(node.right),
            offset=node.offset,
            left_type=left,
            right_type=right,
            is_deep=is_deep(left, right),
        )

    def _joins(self, node: Expression) -> bool:
        """Return whether a node is the sum of two texts or lists."""
        return (
            isinstance(node, Binary)
            and node.operator is BinaryOperator.ADD
            and not isinstance(self._types[node], IntType)
        )

    def _joined(self, node: Expression) -> Code:
        others: list[tuple[Code, int]] = []
        while isinstance(node, Binary) and self._joins(node):
            others.append((self.code_of(node.right), node.offset))
            node = node.left
        return joined(self.code_of(node), tuple(reversed(others)))

    def _conditional(self, node: Conditional) -> Code:
        condition = self.code_of(node.condition)
        yes, no = self.code_of(node.yes), self.code_of(node.no)
        return lambda frame: yes(frame) if condition(frame) else no(frame)

    def _call(self, node: Call) -> Code:
        arguments = tuple(self.code_of(argument) for argument in node.arguments)
        if node.function == "size":
            (measured,) = arguments
            return lambda frame: len(measured(frame))
        function = FUNCTIONS[node.function]
        if function.item_gas or function.compares_text:
            return _charged_call(function, arguments, node.offset)
        return _call(function, arguments, node.offset)


_ARITHMETIC = frozenset("+-*/%")


def _can_overflow(node: Binary, types: Mapping[Expression, Type]) -> bool:
    return str(node.operator) in _ARITHMETIC and isinstance(types[node], IntType)


def _is_always_there(owner: Type, field: str) -> bool:
    found = owner.get(field) if isinstance(owner, RecordType) else None
    return found is not None and not found.is_optional


def _constant(value: int | bool | str) -> Code:
    return lambda _frame: value


def _slot(slot: int) -> Code:
    return lambda frame: frame.slots[slot]


def _optional_field(operand: Code, field: str, offset: int) -> Code:
    def select(frame: Frame) -> Any:
        owner = operand(frame)
        if field not in owner:
            raise EvaluationFailed(FailureCode.NO_SUCH_KEY, offset)
        return owner[field]

    return select


def _list_item(operand: Code, key: Code, offset: int) -> Code:
    def item(frame: Frame) -> Any:
        items, index = operand(frame), key(frame)
        if not 0 <= index < len(items):
            raise EvaluationFailed(FailureCode.INDEX_OUT_OF_RANGE, offset)
        return items[index]

    return item


def _list_item_of_names(items_slot: int, index_slot: int, offset: int) -> Code:
    """Return what `_list_item` does, with one closure instead of three."""

    def item(frame: Frame) -> Any:
        slots = frame.slots
        items, index = slots[items_slot], slots[index_slot]
        if not 0 <= index < len(items):
            raise EvaluationFailed(FailureCode.INDEX_OUT_OF_RANGE, offset)
        return items[index]

    return item


def _map_value(operand: Code, key: Code, offset: int) -> Code:
    def value(frame: Frame) -> Any:
        values, name = operand(frame), key(frame)
        frame.charge(gas.comparing(len(name)), offset)
        if name not in values:
            raise EvaluationFailed(FailureCode.NO_SUCH_KEY, offset)
        return values[name]

    return value


def _call(function: Function, arguments: tuple[Code, ...], offset: int) -> Code:
    evaluate = function.evaluate

    def call(frame: Frame) -> Any:
        values = [argument(frame) for argument in arguments]
        try:
            return evaluate(*values)
        except FunctionFailed as error:
            raise EvaluationFailed(error.code, offset) from None

    return call


def _charged_call(function: Function, arguments: tuple[Code, ...], offset: int) -> Code:
    evaluate, item_gas, compares_text = (
        function.evaluate,
        function.item_gas,
        function.compares_text,
    )

    def call(frame: Frame) -> Any:
        values = [argument(frame) for argument in arguments]
        cost = item_gas * sum([len(value) for value in values if isinstance(value, list)])
        if compares_text:
            cost += gas.comparing(sum(map(_characters, values)))
        frame.charge(cost, offset)
        try:
            return evaluate(*values)
        except FunctionFailed as error:
            raise EvaluationFailed(error.code, offset) from None

    return call


def _characters(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    return sum(map(_characters, value)) if isinstance(value, list) else 0
