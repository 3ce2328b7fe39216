"""The state as rules see it: a reader of rows, and the changes one block makes to it."""

from collections.abc import Iterable, Iterator
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


class StateInMemory(RowsInMemory):
    """Rows in memory that blocks change: for the verifier and for tests."""

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
        self.created_count = 0  # rows that were not there before the block
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
        self._new[key] = value
        self._tables.add(key[0])

    def delete(self, key: bytes) -> None:
        """Remove a row."""
        self.get(key)
        self._new[key] = None

    def rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows whose keys begin with `prefix` as the block has them, ascending."""
        found = dict(self._reader.rows(prefix))
        for key, new in self._new.items():
            if not key.startswith(prefix):
                continue
            if new is None:
                found.pop(key, None)
            else:
                found[key] = new
        return iter(sorted(found.items()))

    def wrote(self, table: Table) -> bool:
        """Return whether the block has written a row of a table."""
        return table in self._tables

    def changed(self) -> list[RowChange]:
        """Return (key, old value, new value) of rows that are not as they were, ascending."""
        old = self._old
        return sorted((key, old[key], new) for key, new in self._new.items() if old[key] != new)
