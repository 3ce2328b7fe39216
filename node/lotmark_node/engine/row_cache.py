"""Small state rows that are asked for again and again, kept in memory.

RocksDB gives Python's lock away while it reads, and getting it back costs more than the read. The
writer is one thread, readers are many: what a reader has read is kept only if nothing was written
meanwhile, so that no row is ever older than the store.
"""

import threading
from collections.abc import Iterable

from lotmark_node.state_machine.state import RowChange
from lotmark_node.state_machine.tables import Table

# Not what is large (recent blocks) or read by prefix (parents, evidence).
_TABLES = frozenset({Table.PARTY, Table.KEY, Table.LANE, Table.HEAD, Table.COUNTER, Table.QUOTA})


class RowCache:
    """A bounded cache: what was not asked for in a whole generation is forgotten."""

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max // 2  # of each of two generations
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}
        self._lock = threading.Lock()
        self.version = 0  # of the store; asked before a row is read there

    def get(self, key: bytes) -> bytes | None:
        """Return a row's value, or None where it is not kept."""
        version = self.version
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.offer(key, value, version)
        return value

    def offer(self, key: bytes, value: bytes, version: int) -> None:
        """Keep what was read from the store while it had `version`, unless it has moved on."""
        if key[0] not in _TABLES:
            return
        with self._lock:
            if version == self.version:
                self._keep(key, value)

    def written(self, changes: Iterable[RowChange]) -> None:
        """Take over what was just written to the store."""
        with self._lock:
            for key, _, new in changes:
                if key[0] not in _TABLES:
                    continue
                if new is None:
                    self._young.pop(key, None)
                    self._old.pop(key, None)
                else:
                    self._keep(key, new)
            # Last: who has read this version cannot have found a row of the one before here.
            self.version += 1

    def _keep(self, key: bytes, value: bytes) -> None:
        if len(self._young) >= self._rows_max:
            self._old, self._young = self._young, {}
        self._young[key] = value
