"""One column family of the store, read with its damage told as such."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rocksdict import ColumnFamily, Rdict

from lotmark_node.engine.errors import EngineError, StoreCorrupt


class StoreFamily:
    """Reads one family, and names it to batches that write it; for several threads."""

    def __init__(self, folder: Path, store: Rdict, name: str) -> None:
        self._folder = folder
        self._open: tuple[Rdict, ColumnFamily] | None = (
            store.get_column_family(name),
            store.get_column_family_handle(name),
        )

    def let_go(self) -> None:
        """Give the store up, which stays locked as long as anything holds on to it."""
        self._open = None

    @property
    def handle(self) -> ColumnFamily:
        """What a batch names the family by."""
        return self._opened()[1]

    def _opened(self) -> tuple[Rdict, ColumnFamily]:
        opened = self._open
        if opened is None:
            raise EngineError("the node is stopping; ask again once it runs")
        return opened

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None."""
        family, _ = self._opened()
        try:
            value: bytes | None = family.get(key)
        except Exception as error:
            raise damaged(self._folder, error) from error
        return value

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the values of rows, None where there is none."""
        family, _ = self._opened()
        try:
            return list(family.get(list(keys)) or ())
        except Exception as error:
            raise damaged(self._folder, error) from error

    def rows(self, first_key: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows from a key on whose keys begin with `prefix`, ascending."""
        family, _ = self._opened()
        # Not `items()`, which ends at a damaged block as if no row came after it.
        try:
            cursor = family.iter()
            cursor.seek(first_key)
            while cursor.valid():
                key: bytes = cursor.key()
                if not key.startswith(prefix):
                    return
                yield key, cursor.value()
                cursor.next()
            cursor.status()
        except Exception as error:
            raise damaged(self._folder, error) from error

    def last_row(self, at_most: bytes, prefix: bytes) -> tuple[bytes, bytes] | None:
        """Return the row before or at a key, if its key begins with `prefix`."""
        family, _ = self._opened()
        try:
            cursor = family.iter()
            cursor.seek_for_prev(at_most)
            if cursor.valid():
                key: bytes = cursor.key()
                return (key, cursor.value()) if key.startswith(prefix) else None
            cursor.status()
        except Exception as error:
            raise damaged(self._folder, error) from error
        return None


def damaged(folder: Path, error: Exception) -> StoreCorrupt:
    """Return what to raise where RocksDB finds a store damaged."""
    return StoreCorrupt(
        f"{folder}: {error}; stop the node and run `lotmark doctor --scrub`: it names the damage."
        " While the journal still begins at block 1, delete this folder: the node makes it again."
        " Else, at a voter among several, keep the folder aside: the others go on without this"
        " voter, whose place no other can take yet; at the only voter,"
        " restore the whole data folder, but only if no newer block was ever acknowledged"
    )
