"""Reads a type as packages write it: `int`, `string(40)`, `list(evidence, 64)`, `map(int)`."""

from collections.abc import Mapping
from typing import Final

from lotmark_contracts.suggestion import suggest
from lotmark_contracts.wcel.errors import ExpressionRefused, RefusalCode
from lotmark_contracts.wcel.lexer import Token, TokenKind, tokens_of
from lotmark_contracts.wcel.types import (
    BOOL,
    INT,
    ListType,
    MapType,
    StringType,
    Type,
    is_too_large,
)

STRING_DEFAULT, STRING_MAX = 256, 4_096  # characters
LIST_DEFAULT, LIST_MAX = 64, 1_024  # items
MAP_DEFAULT, MAP_MAX = 64, 256  # keys
DEPTH_MAX = 16

_PLAIN: Final[Mapping[str, Type]] = {
    "int": INT,
    "bool": BOOL,
    "string": StringType(STRING_DEFAULT),
}
_BUILT: Final = ("string", "list", "map")


def read_type(text: str, named: Mapping[str, Type]) -> Type:
    """Return the type that a text names.

    Args:
        text: The type as it is written.
        named: Record types that the text may name.

    Raises:
        ExpressionRefused: It is no type, unknown, or beyond the bounds.
    """
    reader = _Reader(text, named)
    found = reader.type(1)
    reader.expect_end()
    if is_too_large(found):
        raise ExpressionRefused(RefusalCode.LIMIT, text, 0, "the type is nested too deep or large")
    return found


class _Reader:
    def __init__(self, text: str, named: Mapping[str, Type]) -> None:
        self._text = text
        self._named = named
        self._tokens = tokens_of(text)
        self._at = 0

    def type(self, depth: int) -> Type:
        """Read a type."""
        name = self._take()
        if depth > DEPTH_MAX:
            raise self._refused(RefusalCode.LIMIT, name, f"nested deeper than {DEPTH_MAX}")
        if self._next.is_sign("(") and name.text in _BUILT:
            self._take()
            built = self._built(name, depth)
            self._expect(")")
            return built
        if name.text in _PLAIN:
            return _PLAIN[name.text]
        if name.text in self._named:
            return self._named[name.text]
        known = [*_PLAIN, "list(…)", "map(…)", *self._named]
        raise self._refused(
            RefusalCode.NAME, name, f"unknown type {name.text[:40]!r}{suggest(name.text, known)}"
        )

    def expect_end(self) -> None:
        """Refuse what follows the type."""
        if self._next.kind is not TokenKind.END:
            raise self._refused(RefusalCode.SYNTAX, self._next, f"unexpected {self._next.shown}")

    def _built(self, name: Token, depth: int) -> Type:
        if name.text == "string":
            return StringType(self._bound(STRING_MAX, "characters"))
        inner = self.type(depth + 1)
        has_bound = self._next.is_sign(",")
        if has_bound:
            self._take()
        if name.text == "list":
            return ListType(inner, self._bound(LIST_MAX, "items") if has_bound else LIST_DEFAULT)
        return MapType(inner, self._bound(MAP_MAX, "keys") if has_bound else MAP_DEFAULT)

    def _bound(self, most: int, of: str) -> int:
        number = self._take()
        if number.kind is not TokenKind.NUMBER or not 1 <= int(number.text) <= most:
            raise self._refused(
                RefusalCode.LIMIT, number, f"expected a number of {of}, 1 to {most:,}"
            )
        return int(number.text)

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        if token.kind is not TokenKind.END:
            self._at += 1
        return token

    def _expect(self, sign: str) -> None:
        if not self._next.is_sign(sign):
            raise self._refused(
                RefusalCode.SYNTAX, self._next, f"expected {sign!r} instead of {self._next.shown}"
            )
        self._take()

    def _refused(self, code: RefusalCode, token: Token, reason: str) -> ExpressionRefused:
        return ExpressionRefused(code, self._text, token.offset, reason)
