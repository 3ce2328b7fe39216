"""The state as rules see it: a reader of rows, and the changes one block makes to it."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Protocol

from lotmark.rows_in_memory import RowsInMemory
from lotmark.state_rows import Table

RowChange = tuple[bytes, bytes | None, bytes | None]  # key, old value, new value; None: no row


class StateReader(Protocol):
    """Rows as the last applied block left them."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None."""
        ...

    def rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows whose keys begin with `prefix`, in ascending order."""
        ...


# Tables that rules walk through in part: of millions of rows those of one item, or those due.
_WALKED_BY_PART = frozenset({Table.PARENT, Table.EVIDENCE})
_WALKED_IN_ORDER = frozenset({Table.TIMER})


def _first_part(key: bytes) -> bytes:
    """Return a row's key up to the end of its first part."""
    return key[: 3 + int.from_bytes(key[1:3])]


class StateInMemory(RowsInMemory):
    """Rows in memory that blocks change: for the verifier and for tests."""

    def __init__(self) -> None:
        """Begin without any."""
        super().__init__()
        self._by_part: dict[bytes, list[bytes]] = {}  # first part -> keys, ascending
        self._in_order: list[bytes] = []

    def put(self, key: bytes, value: bytes) -> None:
        """Write a row."""
        if self.get(key) is None:
            if key[0] in _WALKED_BY_PART:
                insort(self._by_part.setdefault(_first_part(key), []), key)
            elif key[0] in _WALKED_IN_ORDER:
                insort(self._in_order, key)
        super().put(key, value)

    def delete(self, key: bytes) -> None:
        """Remove a row that is there."""
        super().delete(key)
        if key[0] in _WALKED_BY_PART:
            self._by_part[_first_part(key)].remove(key)
        elif key[0] in _WALKED_IN_ORDER:
            del self._in_order[bisect_left(self._in_order, key)]

    def rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows whose keys begin with `prefix`, in ascending order."""
        keys: Iterable[bytes]
        if prefix[:1] and prefix[0] in _WALKED_IN_ORDER and len(prefix) == 1:
            keys = self._in_order
        elif len(prefix) > 1 and prefix[0] in _WALKED_BY_PART:
            keys = self._by_part.get(_first_part(prefix), ())
        else:
            yield from super().rows(prefix)
            return
        for key in keys:
            value = self.get(key)
            if value is not None and key.startswith(prefix):
                yield key, value

    def write(self, changes: Iterable[RowChange]) -> None:
        """Take over what a block changed."""
        for key, _, new in changes:
            if new is None:
                self.delete(key)
            else:
                self.put(key, new)


class StateChanges:
    """The rows one block reads and writes, over the state before it."""

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader
        self._old: dict[bytes, bytes | None] = {}
        self._new: dict[bytes, bytes | None] = {}
        self._tables: set[int] = set()
        self._by_part: dict[bytes, list[bytes]] = {}  # of tables that rules walk through
        self.created_count = 0  # rows that were not there before the block
        self.package_checks = 0  # of packages that were made whole
        self.signature_checks = 0  # of operators: what a block costs beside its batches' signatures

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row as the block has it so far."""
        if key in self._new:
            return self._new[key]
        if key not in self._old:
            self._old[key] = self._reader.get(key)
        return self._old[key]

    def put(self, key: bytes, value: bytes) -> None:
        """Write a row."""
        if self.get(key) is None:
            self.created_count += 1
            if key[0] in _WALKED_BY_PART:
                insort(self._by_part.setdefault(_first_part(key), []), key)
        self._new[key] = value
        self._tables.add(key[0])

    def create(self, key: bytes, value: bytes) -> None:
        """Write a row that no block before can have written: its key holds an entry index."""
        if key not in self._new:
            self._old[key] = None  # not looked up: a store takes longest to say that it has none
        self.put(key, value)

    def delete(self, key: bytes) -> None:
        """Remove a row."""
        self.get(key)
        self._new[key] = None
        self._tables.add(key[0])

    def rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows whose keys begin with `prefix` as the block has them, ascending.

        Tables that rules walk through in part are read as far as they are walked.
        """
        if len(prefix) > 1 and prefix[0] in _WALKED_BY_PART:
            own = self._by_part.get(_first_part(prefix), [])
            return merge(self._reader.rows(prefix), self._written(own, prefix))
        found = dict(self._reader.rows(prefix))
        for key, new in self._new.items():
            if not key.startswith(prefix):
                continue
            if new is None:
                found.pop(key, None)
            else:
                found[key] = new
        return iter(sorted(found.items()))

    def _written(self, keys: list[bytes], prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows that the block has made, of keys in ascending order."""
        for at in range(bisect_left(keys, prefix), len(keys)):
            key = keys[at]
            if not key.startswith(prefix):
                return
            value = self._new[key]
            assert value is not None, "rows of these tables are never removed"
            yield key, value

    def wrote(self, table: Table) -> bool:
        """Return whether the block has written or removed a row of a table."""
        return table in self._tables

    def changed(self) -> list[RowChange]:
        """Return (key, old value, new value) of rows that are not as they were, ascending."""
        old = self._old
        return sorted((key, old[key], new) for key, new in self._new.items() if old[key] != new)
