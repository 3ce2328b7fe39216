"""Which term each entry of a log has, kept as the few places where the term changes."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable


class TermStarts:
    """Where terms begin. The log's bounds stand elsewhere: ask only for entries that it has."""

    def __init__(self, starts: Iterable[tuple[int, int]] = ()) -> None:
        """Take (first index of a term, that term), ascending."""
        self._indexes: list[int] = []
        self._terms: list[int] = []
        for index, term in starts:
            self._indexes.append(index)
            self._terms.append(term)

    def rows(self, first_index: int) -> list[tuple[int, int]]:
        """Return (first index of a term, that term) of a log that begins at `first_index`."""
        if not self._indexes:
            return []
        at = self._place(first_index)
        rest = zip(self._indexes[at + 1 :], self._terms[at + 1 :], strict=True)
        return [(first_index, self._terms[at]), *rest]

    def term_at(self, index: int) -> int:
        """Return an entry's term."""
        return self._terms[self._place(index)]

    def append(self, index: int, term: int) -> bool:
        """Add an entry behind all others; returns whether a term begins with it."""
        if self._terms and self._terms[-1] == term:
            return False
        assert not self._terms or (self._indexes[-1] < index and self._terms[-1] < term), (
            f"entry {index} of term {term} behind one of term {self._terms[-1]}"
        )
        self._indexes.append(index)
        self._terms.append(term)
        return True

    def cut_from(self, index: int) -> list[int]:
        """Forget the entries from `index`; returns where the terms that are gone began."""
        at = bisect_left(self._indexes, index)
        gone = self._indexes[at:]
        del self._indexes[at:], self._terms[at:]
        return gone

    def cut_below(self, index: int) -> list[int]:
        """Forget the entries below `index`; returns where the terms that are gone began."""
        at = max(0, bisect_right(self._indexes, index) - 1)
        gone = self._indexes[:at]
        del self._indexes[:at], self._terms[:at]
        return gone

    def _place(self, index: int) -> int:
        at = bisect_right(self._indexes, index) - 1
        assert at >= 0, f"index {index} is below the first term's start"
        return at
