"""The provenance index's rows in the ledger's store."""

from collections.abc import Iterator, Sequence

from lotmark_node.engine.store_family import StoreFamily, damaged

KEYS_PER_LOOK = 256


class StoredIndexRows(StoreFamily):
    """Keeps the promises of `lotmark_node.provenance.reader.IndexRows`."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None."""
        family, _ = self._opened()
        try:
            value: bytes | None = family.get(key)
        except Exception as error:
            raise damaged(self._folder, error) from error
        return value

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the values of rows with these keys, which ascend; None where there is none.

        Where no row at all lies among many keys, as with the units that a lot went into and that
        went into nothing themselves, one look tells it.
        """
        if len(keys) <= KEYS_PER_LOOK:
            return super().get_many(keys)
        found: list[bytes | None] = []
        for at in range(0, len(keys), KEYS_PER_LOOK):
            some = keys[at : at + KEYS_PER_LOOK]
            if any(self.scan(some[0], some[-1] + b"\0")):
                found += super().get_many(some)
            else:
                found += [None] * len(some)
        return found

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows from key `start` to before `end`, ascending."""
        for key, value in self.rows(start, b""):
            if key >= end:
                return
            yield key, value

    def scan_back(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows from key `start` to before `end`, descending."""
        family, _ = self._opened()
        try:
            cursor = family.iter()
            cursor.seek_for_prev(end)
            while cursor.valid():
                key: bytes = cursor.key()
                if key < start:
                    return
                if key < end:
                    yield key, cursor.value()
                cursor.prev()
            cursor.status()
        except Exception as error:
            raise damaged(self._folder, error) from error

    def clear(self) -> None:
        """Remove every row."""
        family, _ = self._opened()
        try:
            family.delete_range(b"", b"\xff" * 8)
        except Exception as error:
            raise damaged(self._folder, error) from error
