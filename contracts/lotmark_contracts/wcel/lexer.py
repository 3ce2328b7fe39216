"""Cuts an expression into tokens."""

import re
from dataclasses import dataclass
from enum import Enum, auto

from lotmark_contracts.wcel.errors import ExpressionRefused, RefusalCode

SOURCE_SIZE_MAX = 8_192  # bytes of UTF-8
INT_MIN, INT_MAX = -(2**63), 2**63 - 1

_TOKEN = re.compile(
    r"""
    (?P<blank>[ \t\r\n]+|//[^\n]*)
  | (?P<number>[0-9]+)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<string>"(?:[^"\\\x00-\x1f\x7f]|\\.)*"|'(?:[^'\\\x00-\x1f\x7f]|\\.)*')
  | (?P<sign>\|\||&&|==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_ESCAPED = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "r": "\r", "t": "\t"}
_SURROGATES = range(0xD800, 0xE000)
_WORDS_OF_OTHERS = {"and": "&&", "or": "||"}  # what other languages call an operator
_WHOLE_NUMBERS_ONLY = (
    "only whole numbers exist here: use minor units, basis points (1 % = 100) or milliseconds"
)


class TokenKind(Enum):
    """What a token is."""

    NUMBER = auto()
    NAME = auto()
    STRING = auto()
    SIGN = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A word of an expression."""

    kind: TokenKind
    text: str  # as it is written; of a string, what it says
    offset: int

    def is_sign(self, sign: str) -> bool:
        """Return whether this is an operator or bracket, or the operator `in`."""
        return self.text == sign and (
            self.kind is TokenKind.SIGN or (self.kind is TokenKind.NAME and sign == "in")
        )

    @property
    def shown(self) -> str:
        """What a message calls this token."""
        if self.kind is TokenKind.END:
            return "the end of the expression"
        hint = _WORDS_OF_OTHERS.get(self.text, "") if self.kind is TokenKind.NAME else ""
        return repr(self.text[:40]) + (hint and f"; did you mean {hint!r}?")


def tokens_of(source: str) -> list[Token]:
    """Return the tokens of an expression, the last one being its end.

    Raises:
        ExpressionRefused: A character, number or string is not of the language, or it is too long.
    """
    _check_text(source)
    tokens: list[Token] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise _unreadable(source, at)
        kind, at = match.lastgroup, match.end()
        if kind == "number":
            _check_number(source, match)
            tokens.append(Token(TokenKind.NUMBER, match.group(), match.start()))
        elif kind == "string":
            tokens.append(Token(TokenKind.STRING, _said(source, match), match.start()))
        elif kind == "name":
            if match.group() in _PREFIXES and source[at : at + 1] in ('"', "'"):
                raise _refused(source, match.start(), "strings have no prefix here")
            tokens.append(Token(TokenKind.NAME, match.group(), match.start()))
        elif kind == "sign":
            tokens.append(Token(TokenKind.SIGN, match.group(), match.start()))
    tokens.append(Token(TokenKind.END, "", len(source.rstrip())))
    return tokens


_PREFIXES = {"r", "R", "b", "B", "br", "bR", "Br", "BR", "rb", "rB", "Rb", "RB"}


def _check_text(source: str) -> None:
    # The number of characters comes first: a source of a gigabyte shall not be encoded.
    if len(source) > SOURCE_SIZE_MAX:
        raise _too_long(source)
    for at, character in enumerate(source):
        if ord(character) in _SURROGATES:
            raise _refused(source, at, "half of a surrogate pair is no character")
    if len(source.encode()) > SOURCE_SIZE_MAX:
        raise _too_long(source)


def _check_number(source: str, match: re.Match[str]) -> None:
    text, after = match.group(), source[match.end() : match.end() + 2]
    if after[:1] in ("e", "E") or (after[:1] == "." and not after[1:2].isalpha()):
        raise _refused(source, match.end(), _WHOLE_NUMBERS_ONLY)
    if after[:1].isalnum() or after[:1] == "_":
        raise _refused(source, match.end(), "a number is written with the digits 0 to 9 alone")
    if len(text) > 1 and text.startswith("0"):
        raise _refused(source, match.start(), "a number does not begin with 0")
    if len(text) > len(str(INT_MAX)):
        raise _refused(source, match.start(), "the number does not fit 64 bits")


def _said(source: str, match: re.Match[str]) -> str:
    """Return what a string says, its quotes and escapes resolved."""
    inner_start = match.start() + 1
    inner = match.group()[1:-1]
    parts: list[str] = []
    at = 0
    for escape in _ESCAPE.finditer(inner):
        parts.append(inner[at : escape.start()])
        parts.append(_unescaped(source, inner_start + escape.start(), escape[1]))
        at = escape.end()
    parts.append(inner[at:])
    return "".join(parts)


def _unescaped(source: str, offset: int, escape: str) -> str:
    if len(escape) == len("uXXXX"):
        code = int(escape[1:], 16)
        if code in _SURROGATES:
            raise _refused(
                source, offset, "half of a surrogate pair is no character; write it itself"
            )
        return chr(code)
    if escape not in _ESCAPED:
        known = " ".join("\\" + each for each in _ESCAPED)
        raise _refused(source, offset, f"unknown escape; there is {known} \\uXXXX")
    return _ESCAPED[escape]


def _unreadable(source: str, at: int) -> ExpressionRefused:
    character = source[at]
    if character in "\"'":
        return _refused(source, at, "the string does not end, or has a control character")
    if character in "&|=":
        return _refused(source, at, f"{character!r} stands alone; did you mean {character * 2!r}?")
    return _refused(source, at, f"unexpected character {character!a}")


def _refused(source: str, offset: int, reason: str) -> ExpressionRefused:
    return ExpressionRefused(RefusalCode.SYNTAX, source, offset, reason)


def _too_long(source: str) -> ExpressionRefused:
    return ExpressionRefused(
        RefusalCode.LIMIT,
        source[:SOURCE_SIZE_MAX],
        0,
        f"the expression is longer than {SOURCE_SIZE_MAX:,} bytes; split it into steps",
    )
