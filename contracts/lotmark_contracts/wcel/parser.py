"""Reads an expression into its syntax tree. The grammar stands in docs/wcel.md."""

from typing import Final

from lotmark_contracts.wcel.errors import ExpressionRefused, RefusalCode
from lotmark_contracts.wcel.lexer import INT_MAX, INT_MIN, Token, TokenKind, tokens_of
from lotmark_contracts.wcel.syntax import (
    Binary,
    BinaryOperator,
    Call,
    Conditional,
    Entry,
    Expression,
    Has,
    Index,
    ListLiteral,
    Literal,
    Logical,
    LogicalOperator,
    Macro,
    MacroKind,
    Name,
    RecordLiteral,
    Select,
    Unary,
    UnaryOperator,
    walk,
)

DEPTH_MAX = 40  # of brackets while it is read, and of the tree
NODES_MAX = 2_000

# From the loosest to the tightest, as in CEL. All associate to the left.
_LEVELS: Final[tuple[frozenset[str], ...]] = (
    frozenset({"||"}),
    frozenset({"&&"}),
    frozenset({"==", "!=", "<", "<=", ">", ">=", "in"}),
    frozenset({"+", "-"}),
    frozenset({"*", "/", "%"}),
)
_STRENGTH: Final = {sign: strength for strength, signs in enumerate(_LEVELS) for sign in signs}

# What CEL reserves; an expression that used one would not be an expression of CEL.
_RESERVED_WORDS = (
    "as break const continue else false for function if import in let loop namespace null package"
    " return true var void while"
)
RESERVED: Final = frozenset(_RESERVED_WORDS.split())


def parse(source: str) -> Expression:
    """Return the syntax tree of an expression.

    Raises:
        ExpressionRefused: It is not of the language's grammar, or too long, deep or large.
    """
    parser = _Parser(source)
    root = parser.expression()
    parser.expect_end()
    for count, (node, level) in enumerate(walk(root), 1):
        if level > DEPTH_MAX or count > NODES_MAX:
            bound = f"{DEPTH_MAX} levels" if level > DEPTH_MAX else f"{NODES_MAX:,} nodes"
            raise ExpressionRefused(
                RefusalCode.LIMIT,
                source,
                node.offset,
                f"the expression has more than {bound}; split it into steps",
            )
    return root


class _Parser:
    """Recursive descent with precedence climbing; its own depth is bounded."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = tokens_of(source)
        self._at = 0
        self._depth = 0

    def expression(self) -> Expression:
        """Read a conditional, or anything tighter."""
        self._enter()
        condition = self._operation(0)
        if self._next.is_sign("?"):
            offset = self._take().offset
            yes = self._operation(0)
            self._expect(":")
            condition = Conditional(offset, condition, yes, self.expression())
        self._depth -= 1
        return condition

    def expect_end(self) -> None:
        """Refuse what follows an expression."""
        if self._next.kind is not TokenKind.END:
            raise self._refused(self._next.offset, f"unexpected {self._next.shown}")

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        if token.kind is not TokenKind.END:
            self._at += 1
        return token

    def _expect(self, sign: str) -> Token:
        if not self._next.is_sign(sign):
            raise self._refused(
                self._next.offset, f"expected {sign!r} instead of {self._next.shown}"
            )
        return self._take()

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ExpressionRefused(
                RefusalCode.LIMIT,
                self._source,
                self._next.offset,
                f"nested deeper than {DEPTH_MAX} levels; split it into steps",
            )

    def _operation(self, weakest: int) -> Expression:
        """Read operators that bind at least as strongly as `weakest`."""
        left = self._unary()
        while True:
            sign = self._next
            strength = _STRENGTH.get(sign.text, -1)
            if strength < weakest or not sign.is_sign(sign.text):
                return left
            self._take()
            right = self._operation(strength + 1)
            if sign.text in tuple(LogicalOperator):
                left = Logical(sign.offset, LogicalOperator(sign.text), left, right)
            else:
                left = Binary(sign.offset, BinaryOperator(sign.text), left, right)

    def _unary(self) -> Expression:
        sign = self._next
        if not (sign.is_sign("!") or sign.is_sign("-")):
            return self._postfix(self._primary())
        self._take()
        if self._next.is_sign(sign.text):
            raise self._refused(self._next.offset, f"{sign.text!r} twice; use parentheses")
        if sign.text == "-" and self._next.kind is TokenKind.NUMBER:
            return self._postfix(self._number(sign.offset, -int(self._take().text)))
        # CEL allows no "!" before "-", nor the other way round.
        if self._next.is_sign("!") or self._next.is_sign("-"):
            raise self._refused(self._next.offset, f"{self._next.text!r} here; use parentheses")
        return Unary(sign.offset, UnaryOperator(sign.text), self._postfix(self._primary()))

    def _primary(self) -> Expression:
        token = self._take()
        if token.kind is TokenKind.NUMBER:
            return self._number(token.offset, int(token.text))
        if token.kind is TokenKind.STRING:
            return Literal(token.offset, token.text)
        if token.kind is TokenKind.NAME:
            return self._name(token)
        if token.is_sign("("):
            inner = self.expression()
            self._expect(")")
            return inner
        if token.is_sign("["):
            return ListLiteral(token.offset, self._items("]"))
        if token.is_sign("{"):
            return self._record(token.offset)
        raise self._refused(token.offset, f"unexpected {token.shown}")

    def _number(self, offset: int, value: int) -> Literal:
        if not INT_MIN <= value <= INT_MAX:
            raise self._refused(offset, "the number does not fit 64 bits")
        return Literal(offset, value)

    def _name(self, token: Token) -> Expression:
        if token.text in ("true", "false"):
            return Literal(token.offset, token.text == "true")
        if token.text == "null":
            raise self._refused(
                token.offset, "there is no null here: use has(), or a default that says so"
            )
        if token.text in RESERVED:
            raise self._refused(token.offset, f"{token.text!r} is a reserved word")
        if not self._next.is_sign("("):
            return Name(token.offset, token.text)
        self._take()
        arguments = self._items(")")
        if token.text != "has":
            return Call(token.offset, token.text, arguments, is_method=False)
        if len(arguments) != 1 or not isinstance(arguments[0], Select):
            raise self._refused(token.offset, "has() takes a field, as in has(claim.cap)")
        return Has(token.offset, arguments[0].operand, arguments[0].field)

    def _items(self, closing: str) -> tuple[Expression, ...]:
        items: list[Expression] = []
        if not self._next.is_sign(closing):
            items.append(self.expression())
            while self._next.is_sign(","):
                self._take()
                items.append(self.expression())
        if not self._next.is_sign(closing):
            raise self._refused(
                self._next.offset, f"expected ',' or {closing!r} instead of {self._next.shown}"
            )
        self._take()
        return tuple(items)

    def _record(self, offset: int) -> RecordLiteral:
        entries: dict[str, Entry] = {}
        while not self._next.is_sign("}"):
            key = self._take()
            if key.kind is not TokenKind.STRING:
                raise self._refused(key.offset, "a record's key is a string in quotes")
            if key.text in entries:
                raise self._refused(key.offset, f"the key {key.text[:40]!r} is there twice")
            self._expect(":")
            entries[key.text] = Entry(key.offset, key.text, self.expression())
            if not self._next.is_sign(","):
                break
            self._take()
            if self._next.is_sign("}"):
                raise self._refused(self._next.offset, "a key must follow the comma")
        self._expect("}")
        return RecordLiteral(offset, tuple(entries.values()))

    def _postfix(self, operand: Expression) -> Expression:
        while True:
            if self._next.is_sign("["):
                offset = self._take().offset
                key = self.expression()
                self._expect("]")
                operand = Index(offset, operand, key)
            elif self._next.is_sign("."):
                self._take()
                operand = self._member(operand)
            else:
                return operand

    def _member(self, operand: Expression) -> Expression:
        name = self._take()
        if name.kind is not TokenKind.NAME or name.text in RESERVED:
            raise self._refused(name.offset, f"expected a field's name instead of {name.shown}")
        if not self._next.is_sign("("):
            return Select(name.offset, operand, name.text)
        self._take()
        arguments = self._items(")")
        if name.text not in tuple(MacroKind):
            return Call(name.offset, name.text, (operand, *arguments), is_method=True)
        if len(arguments) != 2 or not isinstance(arguments[0], Name):
            raise self._refused(
                name.offset,
                f"{name.text}() takes a name and an expression, as in"
                f" readings.{name.text}(r, r.value > 0)",
            )
        variable = arguments[0].name
        return Macro(name.offset, MacroKind(name.text), operand, variable, arguments[1])

    def _refused(self, offset: int, reason: str) -> ExpressionRefused:
        return ExpressionRefused(RefusalCode.SYNTAX, self._source, offset, reason)
