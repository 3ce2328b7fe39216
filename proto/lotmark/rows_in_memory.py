"""Rows of the state in dictionaries, one a table: for verifiers and tests."""

from collections.abc import Iterator


class RowsInMemory:
    """Rows that are looked through by table: what is asked of one costs nothing in the others."""

    def __init__(self) -> None:
        """Begin without any."""
        self._tables: dict[int, dict[bytes, bytes]] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None."""
        return self._tables.get(key[0], {}).get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Write a row."""
        self._tables.setdefault(key[0], {})[key] = value

    def delete(self, key: bytes) -> None:
        """Remove a row that is there."""
        del self._tables[key[0]][key]

    def rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows whose keys begin with `prefix`, in ascending order."""
        for table in prefix[:1] or sorted(self._tables):
            found = self._tables.get(table, {}).items()
            yield from sorted(row for row in found if row[0].startswith(prefix))
