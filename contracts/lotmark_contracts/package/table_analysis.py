"""Which inputs no row of a decision table is for, which rows never decide, and which overlap.

Exact: every column is cut into the finest pieces that its cells tell apart, a row is then a box of
pieces, and rows are subtracted from the box of all inputs one after the other.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import and_
from typing import Any

from lotmark_contracts.package.cells import Cell, Column
from lotmark_contracts.package.load_work import TABLE_CELLS
from lotmark_contracts.wcel.types import BOOL, INT

BOXES_MAX = 2_000  # into which what is left of the inputs may fall
OVERLAPS_MAX = 32  # that are told
_PIECES_A_CELL = 512  # of a column, for which comparing takes as long as one cell more

Box = tuple[int, ...]  # of each column, the pieces as bits


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two rows that fit the same inputs. The later one does not decide there."""

    earlier: int  # from 1
    later: int
    example: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is noteworthy about a table's rows."""

    uncovered: str  # an example of inputs that no row is for; empty: all are covered
    unreachable: tuple[tuple[int, tuple[int, ...]], ...]  # row and the rows that cover it, from 1
    overlaps: tuple[Overlap, ...]


@dataclass(frozen=True, slots=True)
class _Pieces:
    """A column in pieces, each with a value that stands for it."""

    column: Column
    examples: Sequence[Any]  # of integers ascending: each begins its piece

    @property
    def all_bits(self) -> int:
        return (1 << len(self.examples)) - 1

    def bits_of(self, cells: Iterable[Cell]) -> list[int]:
        """Return which pieces each cell is for, without trying each cell on each piece.

        A hostile table has hundreds of cells, and tens of thousands of pieces.
        """
        if self.column.type == INT:
            return [sum(map(self._bits_of_range, cell.ranges)) for cell in cells]
        bit = {example: 1 << at for at, example in enumerate(self.examples)}
        listed = [(sum(bit[each] for each in cell.listed), cell) for cell in cells]
        return [self.all_bits & ~bits if cell.is_negated else bits for bits, cell in listed]

    def _bits_of_range(self, ends: tuple[int, int]) -> int:
        # Every range begins where a piece does, and ends where one does.
        first, after = bisect_left(self.examples, ends[0]), bisect_right(self.examples, ends[1])
        return (1 << after) - (1 << first)

    def shown(self, bits: int) -> str:
        example = self.examples[(bits & -bits).bit_length() - 1]
        if isinstance(example, bool):
            return f"{self.column.name} {str(example).lower()}"
        return (
            f"{self.column.name} {example!r}"
            if isinstance(example, str)
            else (f"{self.column.name} {example}")
        )


def analyse(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], spend: Callable[[int], None]
) -> Analysis | None:
    """Return what is noteworthy, or None where the rows overlap in too many ways to tell.

    Args:
        columns: The table's inputs.
        rows: Their conditions.
        spend: Told of work before it is done; it may raise.
    """
    pieces = [_pieces(column, [row[at] for row in rows]) for at, column in enumerate(columns)]
    # What it takes to compare two boxes; a column of many pieces takes long numbers.
    width = sum(1 + len(each.examples) // _PIECES_A_CELL for each in pieces)

    def compare(count: int) -> None:
        spend(1 + count * width // TABLE_CELLS)

    compare(sum(len(cell.ranges) for row in rows for cell in row))
    bits = [each.bits_of(row[at] for row in rows) for at, each in enumerate(pieces)]
    boxes: list[Box] = list(zip(*bits, strict=True))
    left: list[Box] = [tuple(each.all_bits for each in pieces)]
    unreachable: list[tuple[int, tuple[int, ...]]] = []
    for at, box in enumerate(boxes):
        compare(2 * len(left))
        if all(_are_apart(box, each) for each in left):
            compare(at)
            covering = [number for number in range(at) if not _are_apart(box, boxes[number])]
            unreachable.append((at + 1, tuple(each + 1 for each in covering)))
        left = [part for each in left for part in _without(each, box)]
        if len(left) > BOXES_MAX:
            return None
    compare(len(boxes) * len(boxes) // 2)
    return Analysis(
        _shown(pieces, left[0]) if left else "", tuple(unreachable), _overlaps(pieces, boxes)
    )


def _pieces(column: Column, cells: Sequence[Cell]) -> _Pieces:
    if column.type == BOOL:
        return _Pieces(column, (False, True))
    if column.type == INT:
        starts = {column.least}
        for cell in cells:
            for least, most in cell.ranges:
                starts |= {least, most + 1}
        return _Pieces(
            column, tuple(sorted(each for each in starts if column.least <= each <= column.most))
        )
    if column.values:
        return _Pieces(column, column.values)
    texts = sorted({str(each) for cell in cells for each in cell.listed})
    other = "(any other text)"
    return _Pieces(column, (*texts, other if other not in texts else other * 2))


def _are_apart(one: Box, other: Box) -> bool:
    """Return whether two boxes have nothing in common."""
    return any(not mine & yours for mine, yours in zip(one, other, strict=True))


def _without(box: Box, taken: Box) -> list[Box]:
    """Return a box less another, in boxes that do not overlap."""
    if _are_apart(box, taken):
        return [box]
    parts: list[Box] = []
    rest = list(box)
    for at, bits in enumerate(taken):
        if outside := rest[at] & ~bits:
            parts.append((*rest[:at], outside, *rest[at + 1 :]))
        rest[at] &= bits
    return parts


def _overlaps(pieces: Sequence[_Pieces], boxes: Sequence[Box]) -> tuple[Overlap, ...]:
    found: list[Overlap] = []
    for later, box in enumerate(boxes):
        for earlier in range(later):
            if not _are_apart(boxes[earlier], box):
                shared = tuple(map(and_, boxes[earlier], box))
                found.append(Overlap(earlier + 1, later + 1, _shown(pieces, shared)))
                if len(found) == OVERLAPS_MAX:
                    return tuple(found)
    return tuple(found)


def _shown(pieces: Sequence[_Pieces], box: Box) -> str:
    return ", ".join(each.shown(bits) for each, bits in zip(pieces, box, strict=True))
