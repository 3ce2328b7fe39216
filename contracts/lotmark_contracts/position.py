"""Where in a text something is wrong: line, column, and a caret under it."""

from dataclasses import dataclass

_SHOWN_MAX = 100  # characters of a line that are shown, around the place


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a text, counted from 1 as editors do."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


def position_at(text: str, offset: int) -> Position:
    """Return the place of a character; the text's end is a place too."""
    before = text[:offset]
    return Position(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def caret_lines(text: str, offset: int) -> str:
    """Return the line of a character and, beneath it, a caret that points at the character."""
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    line = text[start : end if end >= 0 else len(text)]
    column = offset - start
    shown_from = max(0, column - _SHOWN_MAX // 2)
    shown = line[shown_from : shown_from + _SHOWN_MAX]
    # A tab is as wide as a space here, or the caret would stand elsewhere.
    visible = "".join(each if each.isprintable() else " " for each in shown)
    return f"  {visible}\n  {' ' * (column - shown_from)}^"
