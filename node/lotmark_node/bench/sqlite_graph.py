"""The same links and histories in SQLite, in this process: what a plain table would answer with."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lotmark_node.engine.store_opening import BLOCK_CACHE_SIZE

# By name as in the index, so that both look the same things up. Without row ids a table is its own
# index; links stand in two, for both ways.
_TABLES = """
    CREATE TABLE IF NOT EXISTS back (product TEXT, source TEXT, entry INTEGER,
        PRIMARY KEY (product, source, entry)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS forward (source TEXT, product TEXT, entry INTEGER,
        PRIMARY KEY (source, product, entry)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS history (item TEXT, entry INTEGER,
        PRIMARY KEY (item, entry)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS event (entry INTEGER PRIMARY KEY, raw BLOB);
"""
# A node is told once, with the depth at which it is reached first.
_TRACE = """
    WITH RECURSIVE reached (item, depth) AS (
        SELECT ?, 0 UNION
        SELECT back.source, depth + 1 FROM reached JOIN back ON back.product = reached.item
        WHERE depth < 64)
    SELECT item, min(depth) FROM reached GROUP BY item
"""
_RECALL = """
    WITH RECURSIVE reached (item) AS (
        SELECT ? UNION
        SELECT forward.product FROM reached JOIN forward ON forward.source = reached.item)
    SELECT item FROM reached
"""
_ENTRIES = "SELECT entry FROM history WHERE item = ? ORDER BY entry"
_EVENTS = "SELECT entry, raw FROM history JOIN event USING (entry) WHERE item = ? ORDER BY entry"


class SqliteGraph:
    """Links and histories in one file, read with as much cache as the node's store has."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it."""
        self._database = sqlite3.connect(path)
        self._database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            f"PRAGMA cache_size = -{BLOCK_CACHE_SIZE // 1024}; {_TABLES}"
        )

    @property
    def height(self) -> int:
        """How many blocks' events are in it."""
        (height,) = self._database.execute("PRAGMA user_version").fetchone()
        return int(height)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.close()

    def add_block(
        self,
        height: int,
        *,
        links: Iterable[tuple[str, str, int]],
        named: Iterable[tuple[str, int]],
        events: Iterable[tuple[int, bytes]],
    ) -> None:
        """Add what the events of the next block say.

        Args:
            height: Of the block.
            links: Source, product and entry.
            named: Items by their canonical names, with the entries that name them.
            events: Entries and the events' bytes.
        """
        links = list(links)
        with self._database as database:
            database.executemany(
                "INSERT OR IGNORE INTO back VALUES (?, ?, ?)",
                [(product, source, entry) for source, product, entry in links],
            )
            database.executemany("INSERT OR IGNORE INTO forward VALUES (?, ?, ?)", links)
            database.executemany("INSERT OR IGNORE INTO history VALUES (?, ?)", named)
            database.executemany("INSERT OR IGNORE INTO event VALUES (?, ?)", events)
            database.execute(f"PRAGMA user_version = {height}")

    def trace(self, item: str) -> list[tuple[str, int]]:
        """Return what an item was made of, and itself, with each one's depth."""
        return self._all(_TRACE, item)

    def recall(self, item: str) -> list[str]:
        """Return what an item went into, and itself."""
        return [name for (name,) in self._all(_RECALL, item)]

    def history(self, item: str) -> list[int]:
        """Return the entries that name an item."""
        return [entry for (entry,) in self._all(_ENTRIES, item)]

    def events(self, item: str) -> list[tuple[int, bytes]]:
        """Return the entries that name an item, with their events."""
        return self._all(_EVENTS, item)

    def _all(self, query: str, item: str) -> list[Any]:
        with closing(self._database.execute(query, (item,))) as found:
            return found.fetchall()
