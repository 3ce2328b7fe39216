"""Finds the type of every node of an expression, or where the first mistake is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lotmark_contracts.suggestion import suggest
from lotmark_contracts.wcel.errors import ExpressionRefused, RefusalCode
from lotmark_contracts.wcel.functions import FUNCTIONS, Function
from lotmark_contracts.wcel.scope import Scope, Variable
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
    MacroKind,
    Name,
    RecordLiteral,
    Select,
    Unary,
    UnaryOperator,
)
from lotmark_contracts.wcel.types import (
    BOOL,
    INT,
    NOTHING,
    Field,
    ListType,
    MapType,
    NothingType,
    RecordType,
    StringType,
    Type,
    described,
    fits,
    is_too_large,
    join,
    list_type,
    nodes_of,
    record_type,
    string_type,
)

NODE_WORK = 6  # of a node of an expression, in nodes of types that are compared

_EQUALITIES = (BinaryOperator.EQUAL, BinaryOperator.UNEQUAL)
_ORDERINGS = (
    BinaryOperator.LESS,
    BinaryOperator.LESS_OR_EQUAL,
    BinaryOperator.GREATER,
    BinaryOperator.GREATER_OR_EQUAL,
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A syntax tree whose every node has a type."""

    root: Expression
    types: Mapping[Expression, Type]
    variables: Mapping[Name | Macro, Variable]  # what a name stands for, and what a macro counts in
    slot_count: int  # that a frame must have
    work: int  # in nodes of types that were compared; a node of the expression is as much as some

    @property
    def type(self) -> Type:
        """The type of the whole expression."""
        return self.types[self.root]


def check(source: str, root: Expression, scope: Scope) -> Checked:
    """Return the types of an expression's nodes.

    Raises:
        ExpressionRefused: A name is unknown, or a type does not fit; the place is the first one.
    """
    checker = _Checker(source, scope.slot_count)
    checker.type_of(root, scope)
    return Checked(root, checker.types, checker.variables, checker.slot_count, checker.work)


class _Checker:
    def __init__(self, source: str, slot_count: int) -> None:
        self._source = source
        self.types: dict[Expression, Type] = {}
        self.variables: dict[Name | Macro, Variable] = {}
        self.slot_count = slot_count
        self.work = 0
        # Of two types that were joined before; they are kept, so that no other takes their id.
        self._joined: dict[tuple[int, int], tuple[Type, Type, Type | None]] = {}

    def type_of(self, node: Expression, scope: Scope) -> Type:
        """Return a node's type, having found those of all nodes beneath it."""
        found = self._found(node, scope)
        if is_too_large(found):
            raise self._refusal(
                RefusalCode.LIMIT, node, "a value of this type is nested too deep or too large"
            )
        self.types[node] = found
        self.work += NODE_WORK
        return found

    def _found(self, node: Expression, scope: Scope) -> Type:
        match node:
            case Literal():
                return self._literal(node)
            case Name():
                return self._name(node, scope)
            case Select():
                return self._field(node, scope)
            case Has():
                self._field(node, scope)
                return BOOL
            case Index():
                return self._index(node, scope)
            case Unary():
                wanted: Type = BOOL if node.operator is UnaryOperator.NOT else INT
                self._want(node.operand, wanted, scope)
                return wanted
            case Binary():
                return self._binary(node, scope)
            case Logical():
                self._want(node.left, BOOL, scope)
                self._want(node.right, BOOL, scope)
                return BOOL
            case Conditional():
                return self._conditional(node, scope)
            case ListLiteral():
                return self._list(node, scope)
            case RecordLiteral():
                fields = {each.key: Field(self.type_of(each.value, scope)) for each in node.entries}
                return record_type(fields)
            case Call():
                return self._call(node, scope)
            case Macro():
                return self._macro(node, scope)

    def _literal(self, node: Literal) -> Type:
        if isinstance(node.value, bool):
            return BOOL
        return INT if isinstance(node.value, int) else string_type(len(node.value))

    def _name(self, node: Name, scope: Scope) -> Type:
        variable = scope.variables.get(node.name)
        if variable is None:
            hint = suggest(node.name, scope.variables)
            raise self._refusal(
                RefusalCode.NAME,
                node,
                f"unknown name {node.name!r}{hint}; a text stands in quotes: '{node.name}'",
            )
        self.variables[node] = variable
        return variable.type

    def _field(self, node: Select | Has, scope: Scope) -> Type:
        owner = self.type_of(node.operand, scope)
        if isinstance(owner, MapType):
            return owner.value
        if isinstance(owner, NothingType):
            return NOTHING
        if not isinstance(owner, RecordType):
            raise self._refusal(RefusalCode.TYPE, node, f"{described(owner)} has no fields")
        found = owner.get(node.field)
        if found is None:
            hint = suggest(node.field, (name for name, _ in owner.fields))
            raise self._refusal(RefusalCode.NAME, node, f"no field {node.field!r}{hint}")
        return found.type

    def _index(self, node: Index, scope: Scope) -> Type:
        owner = self.type_of(node.operand, scope)
        match owner:
            case ListType():
                self._want(node.key, INT, scope)
                return owner.item
            case MapType():
                self._want(node.key, string_type(0), scope)
                return owner.value
            case NothingType():
                self.type_of(node.key, scope)
                return NOTHING
            case RecordType():
                reason = "a record's field is named after a dot"
            case _:
                reason = f"{described(owner)} has no items"
        raise self._refusal(RefusalCode.TYPE, node, reason)

    def _conditional(self, node: Conditional, scope: Scope) -> Type:
        self._want(node.condition, BOOL, scope)
        yes, no = self.type_of(node.yes, scope), self.type_of(node.no, scope)
        joined = self._join(yes, no)
        if joined is None:
            raise self._refusal(
                RefusalCode.TYPE,
                node,
                f"one side is {described(yes)}, the other {described(no)}",
            )
        return joined

    def _list(self, node: ListLiteral, scope: Scope) -> Type:
        item: Type = NOTHING
        for each in node.items:
            found = self.type_of(each, scope)
            joined = self._join(item, found)
            if joined is None:
                raise self._refusal(
                    RefusalCode.TYPE,
                    each,
                    f"{described(found)} in a list of {described(item)}",
                )
            item = joined
        return list_type(item, len(node.items))

    def _join(self, left: Type, right: Type) -> Type | None:
        """Join two types; a hostile source joins the same large ones thousands of times."""
        key = id(left), id(right)
        if key not in self._joined:
            self.work += nodes_of(left) + nodes_of(right)
            self._joined[key] = left, right, join(left, right)
        return self._joined[key][2]

    def _binary(self, node: Binary, scope: Scope) -> Type:
        left, right = self.type_of(node.left, scope), self.type_of(node.right, scope)
        self.work += nodes_of(left) + nodes_of(right)
        if node.operator is BinaryOperator.IN:
            return self._in(node, left, right)
        if node.operator in _EQUALITIES:
            if not (fits(left, right) or fits(right, left) or join(left, right) is not None):
                raise self._operands_refused(node, left, right)
            return BOOL
        if node.operator in _ORDERINGS:
            if not (_both(left, right, INT) or _both(left, right, string_type(0))):
                raise self._operands_refused(node, left, right)
            return BOOL
        if node.operator is BinaryOperator.ADD and not _both(left, right, INT):
            return self._concatenation(node, left, right)
        if not _both(left, right, INT):
            raise self._operands_refused(node, left, right)
        return INT

    def _concatenation(self, node: Binary, left: Type, right: Type) -> Type:
        match left, right:
            case StringType(), StringType():
                return string_type(left.length_max + right.length_max)
            case (StringType(), NothingType()) | (ListType(), NothingType()):
                return left
            case (NothingType(), StringType()) | (NothingType(), ListType()):
                return right
            case ListType(), ListType():
                item = join(left.item, right.item)
                if item is not None:
                    return list_type(item, left.count_max + right.count_max)
        raise self._operands_refused(node, left, right)

    def _in(self, node: Binary, left: Type, right: Type) -> Type:
        match right:
            case ListType() if fits(left, right.item) or fits(right.item, left):
                return BOOL
            case MapType() if fits(left, string_type(0)):
                return BOOL
            case NothingType():
                return BOOL
            case _:
                raise self._operands_refused(node, left, right)

    def _call(self, node: Call, scope: Scope) -> Type:
        if node.function == "size":
            return self._size(node, scope)
        function = FUNCTIONS.get(node.function)
        if function is None or function.is_method is not node.is_method:
            raise self._function_refused(node)
        if len(node.arguments) != len(function.parameters):
            wanted = len(function.parameters) - node.is_method
            raise self._refusal(
                RefusalCode.TYPE,
                node,
                f"{node.function}() takes {wanted} argument{'s' if wanted != 1 else ''}"
                f" instead of {len(node.arguments) - node.is_method}",
            )
        return function.result(self._arguments(node, function, scope))

    def _arguments(self, node: Call, function: Function, scope: Scope) -> Sequence[Type]:
        found = []
        for argument, wanted in zip(node.arguments, function.parameters, strict=True):
            given = self.type_of(argument, scope)
            if not any(fits(given, each) for each in wanted):
                words = " or ".join(described(each) for each in wanted)
                raise self._refusal(
                    RefusalCode.TYPE,
                    argument,
                    f"{node.function}() wants {words} here instead of {described(given)}",
                )
            found.append(given)
        return found

    def _size(self, node: Call, scope: Scope) -> Type:
        if len(node.arguments) != 1:
            raise self._refusal(RefusalCode.TYPE, node, "size() takes one argument")
        given = self.type_of(node.arguments[0], scope)
        if not isinstance(given, StringType | ListType | MapType | NothingType):
            raise self._refusal(RefusalCode.TYPE, node, f"{described(given)} has no size")
        return INT

    def _macro(self, node: Macro, scope: Scope) -> Type:
        source = self.type_of(node.operand, scope)
        if isinstance(source, NothingType):
            source = ListType(NOTHING, 0)
        if not isinstance(source, ListType):
            raise self._refusal(
                RefusalCode.TYPE,
                node,
                f"{node.kind}() goes through a list, not {described(source)}",
            )
        inner = scope.with_variable(node.variable, source.item)
        self.variables[node] = inner.variables[node.variable]
        self.slot_count = max(self.slot_count, inner.slot_count)
        if node.kind is MacroKind.MAP:
            return ListType(self.type_of(node.body, inner), source.count_max)
        self._want(node.body, BOOL, inner)
        return source if node.kind is MacroKind.FILTER else BOOL

    def _want(self, node: Expression, wanted: Type, scope: Scope) -> None:
        found = self.type_of(node, scope)
        if not fits(found, wanted):
            raise self._refusal(
                RefusalCode.TYPE, node, f"expected {described(wanted)}, found {described(found)}"
            )

    def _function_refused(self, node: Call) -> ExpressionRefused:
        methods = {name for name, each in FUNCTIONS.items() if each.is_method}
        if node.is_method:
            if node.function in FUNCTIONS and node.function not in methods:
                reason = f"{node.function}() is written before what it takes: {node.function}(…)"
            else:
                known = [*methods, *MacroKind, "size"]
                reason = f"unknown method {node.function!r}{suggest(node.function, known)}"
        elif node.function in methods:
            reason = f"{node.function}() is written behind a text: text.{node.function}(…)"
        elif node.function in tuple(MacroKind):
            reason = f"{node.function}() is written behind a list: list.{node.function}(x, …)"
        else:
            known = [*(FUNCTIONS.keys() - methods), "size", "has"]
            reason = f"unknown function {node.function!r}{suggest(node.function, known)}"
        return self._refusal(RefusalCode.NAME, node, reason)

    def _operands_refused(self, node: Binary, left: Type, right: Type) -> ExpressionRefused:
        return self._refusal(
            RefusalCode.TYPE,
            node,
            f"{str(node.operator)!r} does not take {described(left)} and {described(right)}",
        )

    def _refusal(self, code: RefusalCode, node: Expression, reason: str) -> ExpressionRefused:
        return ExpressionRefused(code, self._source, node.offset, reason)


def _both(left: Type, right: Type, wanted: Type) -> bool:
    return fits(left, wanted) and fits(right, wanted)
