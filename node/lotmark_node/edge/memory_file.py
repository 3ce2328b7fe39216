"""The SQLite file of a site's memory: its tables, whose it is, and who may open it.

- ``about``: whose memory this is, and how many events it has made
- ``source``: where each source stands, and what it works on
- ``window``, ``chunk``: windows, and the lines of their observations as they came
- ``pending``: what is to be handed on, in order: a file to the store, an event to the outbox
- ``evidence``: which files the store has, and which it had
- ``decided``: what became of what, and by which rule
- ``policy``, ``session``: what was in force, and which runs there were

One process at a time may write; any may read meanwhile.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from lotmark_node.edge.errors import MemoryBusy, MemoryUnusable

FORMAT = 1
FILE = "site.sqlite"
PAGE_SIZE = 4_096
SIZE_MAX = 4 << 30  # bytes of the file: beyond it, sources wait

_TABLES = """
CREATE TABLE about (site TEXT NOT NULL, event_count INTEGER NOT NULL);
CREATE TABLE source (
    name TEXT PRIMARY KEY, instance TEXT NOT NULL, next_sequence INTEGER NOT NULL,
    last_made_us INTEGER NOT NULL, observation_count INTEGER NOT NULL,
    gap_count INTEGER NOT NULL, context BLOB NOT NULL
);
CREATE TABLE window (nonce BLOB PRIMARY KEY, header BLOB NOT NULL);
CREATE TABLE chunk (place INTEGER PRIMARY KEY, nonce BLOB NOT NULL, lines BLOB NOT NULL);
CREATE INDEX chunk_of_window ON chunk (nonce, place);
CREATE TABLE pending (
    place INTEGER PRIMARY KEY AUTOINCREMENT, event BLOB NOT NULL, file BLOB NOT NULL,
    nonce BLOB NOT NULL, content BLOB NOT NULL
);
CREATE TABLE evidence (
    file BLOB PRIMARY KEY, size INTEGER NOT NULL, kept_us INTEGER NOT NULL, removed_us INTEGER
);
CREATE INDEX evidence_by_age ON evidence (removed_us, kept_us);
CREATE TABLE decided (
    what TEXT NOT NULL, source TEXT NOT NULL, signal TEXT NOT NULL, policy TEXT NOT NULL,
    rule INTEGER NOT NULL, anchor TEXT NOT NULL, first_sequence INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL, first_made_us INTEGER NOT NULL,
    last_made_us INTEGER NOT NULL, observation_count INTEGER NOT NULL, event_id BLOB NOT NULL,
    event BLOB NOT NULL, file BLOB NOT NULL, anchored BLOB NOT NULL, nonce BLOB NOT NULL,
    decided_us INTEGER NOT NULL
);
CREATE INDEX decided_by_event ON decided (event_id) WHERE event_id <> x'';
CREATE INDEX decided_by_file ON decided (file) WHERE file <> x'';
CREATE INDEX decided_by_digest ON decided (anchored) WHERE anchored <> x'';
CREATE INDEX decided_by_window ON decided (nonce) WHERE nonce <> x'';
CREATE INDEX decided_by_signal ON decided (source, signal, last_made_us);
CREATE INDEX decided_by_age ON decided (decided_us);
CREATE TABLE policy (
    place INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL,
    document BLOB NOT NULL, UNIQUE (name, version)
);
CREATE TABLE session (
    place INTEGER PRIMARY KEY, session BLOB NOT NULL UNIQUE, is_closed INTEGER NOT NULL
)
"""


class MemoryFile:
    """An open memory; what stands in it, others know. Not for several threads at once.

    Attributes:
        path: The file.
        evidence_size: Bytes of the files that are kept, or about to be.
        event_count: Events that were ever made.
    """

    def __init__(
        self, path: Path, database: sqlite3.Connection, lock: int | None, size_max: int
    ) -> None:
        """Take over an open file; callers use `open` and `read`."""
        self.path = path
        self._size_max = size_max
        self._database = database
        self._lock = lock
        self.evidence_size = 0
        self.event_count = 0

    @classmethod
    def open(cls, folder: Path, *, site: str, size_max: int = SIZE_MAX) -> Self:
        """Open the memory in a site's data folder for writing, or make it.

        Args:
            folder: Of the site's data; it exists.
            site: Whose it is.
            size_max: The most bytes of the file.

        Raises:
            MemoryBusy: Another process has it open for writing.
            MemoryUnusable: It is another site's, damaged, or cannot be read or written.
        """
        path = folder / FILE
        lock = _lock(folder)
        try:
            with _errors(path):
                database = sqlite3.connect(
                    path, timeout=5, isolation_level=None, check_same_thread=False
                )
        except BaseException:
            os.close(lock)
            raise
        memory = cls(path, database, lock, size_max)
        try:
            with _errors(path):
                memory._begin(site)
                memory._count()
        except BaseException:
            memory.close()
            raise
        return memory

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Open a memory for reading, also while its site runs.

        Raises:
            MemoryUnusable: There is none, or it cannot be read.
        """
        path = folder / FILE
        with _errors(path):
            database = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False
            )
            memory = cls(path, database, None, SIZE_MAX)
            try:
                memory._check_format(database.execute("PRAGMA user_version").fetchone()[0])
                memory._count()
            except BaseException:
                memory.close()
                raise
        return memory

    def _begin(self, site: str) -> None:
        run = self._database.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run(f"PRAGMA max_page_count = {self._size_max // PAGE_SIZE}")
        run("BEGIN IMMEDIATE")
        (version,) = run("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _TABLES.split(";\n"):
                run(statement)
            run("INSERT INTO about VALUES (?, 0)", (site,))
            run(f"PRAGMA user_version = {FORMAT}")
        else:
            self._check_format(version)
        (known,) = run("SELECT site FROM about").fetchone()
        run("COMMIT")
        if known != site:
            raise MemoryUnusable(
                f"{self.path} is the memory of site {known}, not of {site}; name another data"
                " folder for this site, or call it as before"
            )

    def _check_format(self, version: int) -> None:
        if version != FORMAT:
            raise MemoryUnusable(
                f"{self.path} has format {version}; this release knows {FORMAT}: update it"
            )

    def _count(self) -> None:
        ((size,),) = self._read("SELECT total(size) FROM evidence WHERE removed_us IS NULL")
        ((self.event_count,),) = self._read("SELECT event_count FROM about")
        self.evidence_size = int(size)

    def close(self) -> None:
        """Close the file; it may be opened again at once."""
        self._database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def check_room(self) -> None:
        """Check that the file is not near its bound: what is left is for closing windows.

        Raises:
            MemoryUnusable: It is; a report has no room at present.
        """
        ((pages,),) = self._read("PRAGMA page_count")
        ((free_pages,),) = self._read("PRAGMA freelist_count")
        size = (pages - free_pages) * PAGE_SIZE
        if size > self._size_max // 10 * 9:
            raise MemoryUnusable(
                f"{self.path} holds {size} bytes, of {self._size_max} at most: sources wait until"
                " windows are closed and handed on"
            )

    def _read(self, query: str, *values: object) -> list[Any]:
        with _errors(self.path):
            return self._database.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _errors(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


def _lock(folder: Path) -> int:
    """Return the folder's descriptor, locked until it is closed or the process ends."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise MemoryUnusable(
            f"{folder}: {error.strerror}; name a folder that this process can write to"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise MemoryBusy(
            f"{folder} is in use by another process; a site runs once: stop the other one, or give"
            " this site a data folder of its own"
        ) from error
    return descriptor


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith("SQLITE_FULL"):
            raise MemoryUnusable(
                f"{path} cannot be written: its disk is full, or it has reached its bound; make"
                " room there. Nothing that was taken is lost, and the sources wait"
            ) from error
        if name.startswith("SQLITE_BUSY"):
            raise MemoryBusy(
                f"{path} is in use by another process; stop what writes to it"
            ) from error
        raise MemoryUnusable(
            f"{path} cannot be used ({error}); it must be a file of this site, in a folder that"
            " this process can write to, on a disk with room"
        ) from error
