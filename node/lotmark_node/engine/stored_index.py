"""The provenance index's rows in the ledger's store."""

from collections.abc import Iterator, Sequence

from rocksdict import RdictIter

from lotmark_node.engine.store_family import StoreFamily, damaged

WALKED_KEYS_MIN = 24  # a walk's beginning costs as much as looking so many up
KEYS_PER_WALK = 256
ROWS_PER_KEY_MAX = 4  # walked along; where there are more, most of them are none of those asked for


class StoredIndexRows(StoreFamily):
    """Keeps the promises of `lotmark_node.provenance.reader.IndexRows`."""

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the values of rows with these keys, which ascend; None where there is none.

        Of many keys most lie side by side, such as those of units that were made one after the
        other: going along the rows there costs a tenth of looking each of them up.
        """
        if len(keys) < WALKED_KEYS_MIN:
            return super().get_many(keys)
        family, _ = self._opened()
        found: list[bytes | None] = []
        try:
            cursor = family.iter()
            for at in range(0, len(keys), KEYS_PER_WALK):
                some = keys[at : at + KEYS_PER_WALK]
                rows = _walked(cursor, some[0], some[-1], ROWS_PER_KEY_MAX * len(some))
                cursor.status()  # another seek would make it forget damage
                found += super().get_many(some) if rows is None else map(rows.get, some)
        except Exception as error:
            raise damaged(self._folder, error) from error
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

    def file_size(self) -> int:
        """Return how many bytes of files the rows have; the newest may be in none yet."""
        family, _ = self._opened()
        return family.property_int_value("rocksdb.live-sst-files-size") or 0

    def clear(self) -> None:
        """Remove every row."""
        family, _ = self._opened()
        try:
            family.delete_range(b"", b"\xff" * 8)
        except Exception as error:
            raise damaged(self._folder, error) from error


def _walked(
    cursor: RdictIter, first: bytes, last: bytes, rows_max: int
) -> dict[bytes, bytes] | None:
    """Return the rows from key `first` to key `last`; None: they are more than `rows_max`."""
    rows: dict[bytes, bytes] = {}
    valid, key_of, value_of, go_on = cursor.valid, cursor.key, cursor.value, cursor.next
    cursor.seek(first)
    while valid() and (key := key_of()) <= last:
        if len(rows) == rows_max:
            return None
        rows[key] = value_of()
        go_on()
    return rows
