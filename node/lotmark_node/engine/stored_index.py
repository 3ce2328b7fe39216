"""The provenance index's rows in the ledger's store."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

KEYS_PER_LOOK = 256


class StoredIndexRows:
    """Reads one column family; see `lotmark_node.provenance.reader.IndexRows`."""

    def __init__(
        self, family: Callable[[], Any], damaged: Callable[[Exception], Exception]
    ) -> None:
        """Name the family.

        Args:
            family: Returns it, or raises where the store is closed.
            damaged: Turns what RocksDB raises into an error of ours.
        """
        self._family = family
        self._damaged = damaged

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None."""
        family = self._family()
        try:
            value: bytes | None = family.get(key)
        except Exception as error:
            raise self._damaged(error) from error
        return value

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the values of rows with these keys, which ascend; None where there is none.

        Where no row at all lies among many keys, as with the units that a lot went into and that
        went into nothing themselves, one look tells it.
        """
        family = self._family()
        if len(keys) <= KEYS_PER_LOOK:
            return self._got(family, keys)
        found: list[bytes | None] = []
        cursor = family.iter()
        for at in range(0, len(keys), KEYS_PER_LOOK):
            some = keys[at : at + KEYS_PER_LOOK]
            cursor.seek(some[0])
            if cursor.valid() and cursor.key() <= some[-1]:
                found += self._got(family, some)
            else:
                found += [None] * len(some)
        self._check(cursor)
        return found

    def _got(self, family: Any, keys: Sequence[bytes]) -> list[bytes | None]:
        try:
            values: list[bytes | None] = family.get(list(keys))
        except Exception as error:
            raise self._damaged(error) from error
        return values

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows from key `start` to before `end`, ascending."""
        cursor = self._family().iter()
        cursor.seek(start)
        while cursor.valid() and (key := cursor.key()) < end:
            yield key, cursor.value()
            cursor.next()
        self._check(cursor)

    def scan_back(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows from key `start` to before `end`, descending."""
        cursor = self._family().iter()
        cursor.seek_for_prev(end)
        if cursor.valid() and cursor.key() == end:
            cursor.prev()
        while cursor.valid() and (key := cursor.key()) >= start:
            yield key, cursor.value()
            cursor.prev()
        self._check(cursor)

    def _check(self, cursor: Any) -> None:
        try:
            cursor.status()
        except Exception as error:
            raise self._damaged(error) from error
