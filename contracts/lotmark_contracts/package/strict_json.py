"""Reads a package's JSON: one meaning for each file, or none.

Refused beside what JSON itself refuses: keys that are there twice, null, numbers that are not
whole or do not fit 64 bits, halves of surrogate pairs, a byte order mark, depth or size beyond
bounds.
"""

import re
from typing import Final, NoReturn

from lotmark_contracts.package.errors import PackageRefused, Problem, problem_at
from lotmark_contracts.package.json_node import Content, Node, SourceFile
from lotmark_contracts.wcel.lexer import INT_MAX, INT_MIN

FILE_SIZE_MAX = 262_144  # bytes
DEPTH_MAX = 16

_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_WORD = re.compile(r"[A-Za-z_]+")
_ESCAPED: Final = {
    '"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t",
}  # fmt: skip
_SURROGATES = re.compile("[\ud800-\udfff]")


def parse_file(path: str, data: bytes) -> Node:
    """Return the value of a JSON file.

    Raises:
        PackageRefused: It is none, or one that is read differently by different readers.
    """
    if len(data) > FILE_SIZE_MAX:
        raise PackageRefused(
            [Problem(path, None, f"{len(data):,} bytes; at most {FILE_SIZE_MAX:,} are read", "")]
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        reason = f"byte {error.start:,} is no UTF-8"
        raise PackageRefused([Problem(path, None, reason, "")]) from error
    parser = _Parser(SourceFile(path, text))
    node = parser.value(1)
    parser.expect_end()
    return node


class _Parser:
    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._text = file.text
        self._at = 0

    def value(self, depth: int) -> Node:
        """Read a value."""
        self._skip_blank()
        start = self._at
        if depth > DEPTH_MAX:
            self._refuse(start, f"nested deeper than {DEPTH_MAX} levels")
        return Node(self._file, start, self._content(depth))

    def expect_end(self) -> None:
        """Refuse what follows the value."""
        self._skip_blank()
        if self._at < len(self._text):
            self._refuse(self._at, "the file goes on after its value")

    def _content(self, depth: int) -> Content:
        first = self._text[self._at : self._at + 1]
        if first == "{":
            return self._object(depth)
        if first == "[":
            return self._array(depth)
        if first == '"':
            return self._string()
        if first == "-" or first.isdecimal():
            return self._number()
        return self._word()

    def _object(self, depth: int) -> Content:
        members: dict[str, Node] = {}
        self._at += 1
        if self._take("}"):
            return members
        while True:
            self._skip_blank()
            start = self._at
            if self._text[start : start + 1] != '"':
                self._refuse(start, "expected a key in quotes")
            key = self._string()
            if key in members:
                self._refuse(start, f"the key {key[:40]!r} is there twice")
            self._expect(":")
            members[key] = self.value(depth + 1)
            if self._take("}"):
                return members
            self._expect(",", or_else="}")

    def _array(self, depth: int) -> Content:
        items: list[Node] = []
        self._at += 1
        if self._take("]"):
            return ()
        while True:
            items.append(self.value(depth + 1))
            if self._take("]"):
                return tuple(items)
            self._expect(",", or_else="]")

    def _number(self) -> int:
        match = _NUMBER.match(self._text, self._at)
        if match is None:
            self._refuse(self._at, "a number is missing")
        if match[1] or match[2]:
            self._refuse(
                self._at,
                f"{match[0][:40]} is no whole number: use minor units, basis points (1 % = 100)"
                " or milliseconds",
            )
        # Its length comes first: a number of a million digits is slow to read.
        if len(match[0]) > len(str(INT_MIN)) or not INT_MIN <= int(match[0]) <= INT_MAX:
            self._refuse(self._at, "the number does not fit 64 bits")
        self._at = match.end()
        return int(match[0])

    def _word(self) -> bool:
        match = _WORD.match(self._text, self._at)
        word = match[0] if match else ""
        if word == "null":
            self._refuse(self._at, "there is no null: leave the field out")
        if word not in ("true", "false"):
            shown = repr(self._text[self._at : self._at + 20].split("\n")[0])
            self._refuse(self._at, f"expected a value instead of {shown}")
        self._at += len(word)
        return word == "true"

    def _string(self) -> str:
        start = self._at
        self._at += 1
        parts: list[str] = []
        while True:
            plain = _PLAIN.match(self._text, self._at)
            assert plain is not None  # it may be empty
            parts.append(plain[0])
            self._at = plain.end()
            end = self._text[self._at : self._at + 1]
            if end == '"':
                self._at += 1
                break
            if end != "\\":
                self._refuse(
                    start, "the text does not end, or has a line break or control character"
                )
            parts.append(self._escape())
        # Pairs become one character here; what is left of them is half of one.
        text = "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        if _SURROGATES.search(text):
            self._refuse(start, "half of a surrogate pair is no character")
        return text

    def _escape(self) -> str:
        letter = self._text[self._at + 1 : self._at + 2]
        digits = self._text[self._at + 2 : self._at + 6]
        if letter == "u" and re.fullmatch("[0-9a-fA-F]{4}", digits):
            self._at += 6
            return chr(int(digits, 16))
        if letter not in _ESCAPED:
            self._refuse(self._at, "unknown escape")
        self._at += 2
        return _ESCAPED[letter]

    def _skip_blank(self) -> None:
        match = _BLANK.match(self._text, self._at)
        assert match is not None  # it may be empty
        self._at = match.end()

    def _take(self, sign: str) -> bool:
        self._skip_blank()
        if self._text[self._at : self._at + 1] != sign:
            return False
        self._at += 1
        return True

    def _expect(self, sign: str, *, or_else: str = "") -> None:
        if not self._take(sign):
            wanted = f"{sign!r} or {or_else!r}" if or_else else repr(sign)
            self._refuse(self._at, f"expected {wanted}")

    def _refuse(self, offset: int, reason: str) -> NoReturn:
        raise PackageRefused([problem_at(self._file.path, self._text, offset, reason)])
