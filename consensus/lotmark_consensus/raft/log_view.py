"""Slices of the log as PySyncObj wants them, that read a command only when it is asked for."""

from collections.abc import Iterator
from typing import Protocol, overload

PASS_ENTRIES_MAX = 256  # that one pass over a slice gives
PASS_SIZE_MAX = 4 << 20  # of their commands together; the first is given whatever its size


class EntrySource(Protocol):
    """Where a slice finds its entries."""

    def term_at(self, index: int) -> int | None:
        """Return an entry's term; None where there is no such entry."""
        ...

    def command(self, index: int) -> bytes:
        """Return an entry's command."""
        ...


class Entry:
    """An entry as PySyncObj knows it: (command, index, term). The command is read when needed."""

    __slots__ = ("_index", "_source", "_term")

    def __init__(self, source: EntrySource, index: int, term: int) -> None:
        self._source = source
        self._index = index
        self._term = term

    def __getitem__(self, place: int) -> bytes | int:
        if place == 0:
            return self._source.command(self._index)
        return (self._index, self._term)[place - 1]

    def __iter__(self) -> Iterator[bytes | int]:
        yield self._source.command(self._index)
        yield self._index
        yield self._term

    def __len__(self) -> int:
        return 3


class View:
    """A slice of the log that holds no entries. Length, indexing and slicing are exact.

    A pass over it is bounded, which bounds both an append request and the work of one apply.
    """

    __slots__ = ("_end", "_source", "_start")

    def __init__(self, source: EntrySource, start: int, end: int) -> None:
        """View the entries from index `start` to below index `end`."""
        self._source = source
        self._start = start
        self._end = max(start, end)

    def __len__(self) -> int:
        return self._end - self._start

    @overload
    def __getitem__(self, place: int) -> Entry: ...
    @overload
    def __getitem__(self, place: slice) -> "View": ...
    def __getitem__(self, place: int | slice) -> "Entry | View":
        if isinstance(place, slice):
            start, end, step = place.indices(len(self))
            assert step == 1, place
            return View(self._source, self._start + start, self._start + end)
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self._entry(self._start + place % len(self))

    def __iter__(self) -> Iterator[Entry]:
        size = 0
        for index in range(self._start, min(self._end, self._start + PASS_ENTRIES_MAX)):
            size += len(self._source.command(index))
            if size > PASS_SIZE_MAX and index > self._start:
                return
            yield self._entry(index)

    def __reversed__(self) -> Iterator[Entry]:
        for index in range(self._end - 1, self._start - 1, -1):
            yield self._entry(index)

    def _entry(self, index: int) -> Entry:
        term = self._source.term_at(index)
        assert term is not None, f"entry {index} is no longer in the log"
        return Entry(self._source, index, term)
