"""A value of a JSON file that knows its place, so that every refusal can point at it."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lotmark_contracts.package.errors import PackageRefused, problem_at
from lotmark_contracts.suggestion import suggest

# Integers, texts and truth values; no null and no floats.
Scalar = int | str | bool
Content = Scalar | tuple["Node", ...] | Mapping[str, "Node"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
NAME_RULE = "a name has 1 to 40 of a-z, 0-9 and _, and begins with a letter"
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)
_HIGH_SURROGATES = range(0xD800, 0xDC00)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a package, as text."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A JSON value in a file."""

    file: SourceFile
    offset: int  # of its first character
    content: Content

    def refused(self, reason: str, *, at: int | None = None) -> PackageRefused:
        """Return the refusal of this value, or of a character of this text."""
        offset = self.offset if at is None else self._offset_of_character(at)
        return PackageRefused([problem_at(self.file.path, self.file.text, offset, reason)])

    def text(self, length_max: int = 10_000) -> str:
        """Return a string that is not empty."""
        if not isinstance(self.content, str):
            raise self.refused(f"expected a text instead of {self.kind}")
        if not 1 <= len(self.content) <= length_max:
            raise self.refused(f"expected 1 to {length_max:,} characters")
        return self.content

    def name(self) -> str:
        """Return a string that is a name."""
        text = self.text()
        if not _NAME.fullmatch(text):
            raise self.refused(f"{text[:40]!r} is no name: {NAME_RULE}")
        return text

    def integer(self, least: int, most: int) -> int:
        """Return an integer within bounds."""
        if isinstance(self.content, bool) or not isinstance(self.content, int):
            raise self.refused(f"expected a whole number instead of {self.kind}")
        if not least <= self.content <= most:
            raise self.refused(f"expected a number from {least:,} to {most:,}")
        return self.content

    def items(self, count_max: int, *, count_min: int = 0) -> tuple["Node", ...]:
        """Return a list's items."""
        if not isinstance(self.content, tuple):
            raise self.refused(f"expected a list instead of {self.kind}")
        if not count_min <= len(self.content) <= count_max:
            raise self.refused(f"expected {count_min} to {count_max} items")
        return self.content

    def members(self, count_max: int = 256) -> Mapping[str, "Node"]:
        """Return an object's members."""
        if not isinstance(self.content, Mapping):
            raise self.refused(f"expected an object instead of {self.kind}")
        if len(self.content) > count_max:
            raise self.refused(f"expected at most {count_max} members")
        return self.content

    def named(self, what: str, count_max: int) -> Mapping[str, "Node"]:
        """Return an object's members, whose keys are names of something."""
        for key, node in self.members(count_max).items():
            if not _NAME.fullmatch(key):
                raise node.refused(f"{key[:40]!r} cannot name {what}: {NAME_RULE}")
        return self.members(count_max)

    def fields(
        self, required: Collection[str], optional: Collection[str] = ()
    ) -> Mapping[str, "Node"]:
        """Return the members of an object that has exactly these fields."""
        members = self.members()
        known = [*required, *optional]
        for name, node in members.items():
            if name not in known:
                raise node.refused(f"unknown field {name[:40]!r}{suggest(name, known)}")
        if missing := [name for name in required if name not in members]:
            raise self.refused(f"the field {missing[0]!r} is missing")
        return members

    def plain(self) -> object:
        """Return the value without places: int, str, bool, list or dict."""
        if isinstance(self.content, tuple):
            return [each.plain() for each in self.content]
        if isinstance(self.content, Mapping):
            return {name: each.plain() for name, each in self.content.items()}
        return self.content

    @property
    def kind(self) -> str:
        """What a message calls this value."""
        if isinstance(self.content, bool):
            return "true or false"
        if isinstance(self.content, int):
            return "a number"
        if isinstance(self.content, str):
            return "a text"
        return "a list" if isinstance(self.content, tuple) else "an object"

    def _offset_of_character(self, index: int) -> int:
        """Return where in the file a character of this text stands, whatever was escaped."""
        at = self.offset + 1  # after the quote
        for _ in range(index):
            if self.file.text[at] == '"':  # the text's end is a place as well
                break
            escape = _ESCAPE.match(self.file.text, at)
            if escape is None:
                at += 1
                continue
            at = escape.end()
            if len(escape[0]) > 2 and int(escape[0][2:], 16) in _HIGH_SURROGATES:
                at += len("\\uXXXX")
        return at
