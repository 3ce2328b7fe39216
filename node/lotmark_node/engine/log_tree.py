"""This node's own log, as far as whoever signs or judges checkpoints has to know it."""

from typing import Protocol

from lotmark_node.engine.store import LedgerStore


class LogTree(Protocol):
    """A tree that only grows. Every size asked for is 1 or more and one it has; any thread asks."""

    def root(self, size: int) -> bytes:
        """Return the root of the first `size` leaves."""
        ...

    def consistency_path(self, first_size: int, second_size: int) -> list[bytes]:
        """Return the RFC 6962 consistency path between two sizes, ascending."""
        ...

    def height_at(self, size: int) -> int | None:
        """Return the height whose close is the last of `size` leaves; None: there is none."""
        ...


class StoredLogTree:
    """The log in a store."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store

    def root(self, size: int) -> bytes:
        """As `LogTree` promises."""
        return self._store.tree.root(size)

    def consistency_path(self, first_size: int, second_size: int) -> list[bytes]:
        """As `LogTree` promises."""
        return self._store.tree.consistency_path(first_size, second_size)

    def height_at(self, size: int) -> int | None:
        """As `LogTree` promises."""
        height = self._store.height_of(size - 1)
        close_index = 1 if height == 0 else self._store.results(height).close_index
        return height if close_index == size - 1 else None
