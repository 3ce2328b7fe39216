"""What a site must not forget, in one SQLite file: what a kill leaves is what was written here.

Each change is one transaction, on disk when it returns. A report is one, with all that follows from
it: its observations, the position that its source goes on from, the windows that it closes, and the
events that are made of it, as bytes. So a source never gives a thing twice, and an event that is
handed on a second time after a kill is the very same one. Tables:

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from lotmark_adapters.observation import Position
from lotmark_node.edge.errors import MemoryBusy, MemoryUnusable

FORMAT = 1
FILE = "site.sqlite"
PAGE_SIZE = 4_096
SIZE_MAX = 4 << 30  # bytes of the file: beyond it, sources wait
DECIDED_READ_MAX = 1_000
DECIDED_MAX = 2_000_000  # rows; of older ones it cannot be told which rule decided
FORGET_ROWS_MAX = 10_000  # in one transaction
NEVER_US = 2**62  # later than all

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """Where a source stands."""

    name: str
    position: Position
    observation_count: int  # in this run
    gap_count: int  # in this run
    context: bytes  # JSON of what it works on


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What is to be handed on."""

    event: bytes = b""  # to the outbox; b"": nothing
    file: bytes = b""  # its SHA-256; b"": none
    nonce: bytes = b""  # of the window whose file it is; b"": none
    content: bytes = b""  # of a file that is no window's


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What became of an observation, a window, a record or a gap, and why."""

    what: str  # "measurement", "window", "record", "gap", "policy"
    source: str
    signal: str
    policy: str  # name/version; "": none was asked
    rule: int  # from 1; 0: none fitted
    anchor: str
    first_sequence: int
    last_sequence: int
    first_made_us: int
    last_made_us: int
    observation_count: int
    event_id: bytes  # b"": none went on record
    event: bytes  # where it bears a file, so that they can be compared
    file: bytes  # SHA-256 of what the store keeps; b"": nothing of its own
    anchored: bytes  # digest of the file as the event has it; b"": none
    nonce: bytes  # of the window that an observation is kept in, or that this is; b"": none
    decided_us: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """A file that the store has, or had."""

    file: bytes
    size: int
    kept_us: int
    removed_us: int | None


@dataclass(frozen=True, slots=True)
class Session:
    """A run of the site."""

    session: bytes
    is_closed: bool


@dataclass(slots=True)
class Changes:
    """What one transaction writes."""

    sources: dict[str, SourceState] = field(default_factory=dict)
    opened: list[tuple[bytes, bytes]] = field(default_factory=list)  # nonce, header
    chunks: list[tuple[bytes, bytes]] = field(default_factory=list)  # nonce, lines
    pending: list[Pending] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)
    kept: list[tuple[bytes, int, int]] = field(default_factory=list)  # file, size, when in us
    policy: tuple[str, int, bytes] | None = None  # name, version, document
    session: Session | None = None


class SiteMemory:
    """A site's memory. Not for several threads at once.

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

    # Reading

    def sources(self) -> list[SourceState]:
        """Return where each source stands."""
        return [
            SourceState(
                name=name,
                position=Position(
                    instance=instance, next_sequence=next_sequence, last_made_us=last_made_us
                ),
                observation_count=observation_count,
                gap_count=gap_count,
                context=context,
            )
            for (
                name,
                instance,
                next_sequence,
                last_made_us,
                observation_count,
                gap_count,
                context,
            ) in self._read("SELECT * FROM source ORDER BY name")
        ]

    def open_windows(self) -> list[tuple[bytes, bytes]]:
        """Return header and lines of each window that is not closed."""
        rows = self._read(
            "SELECT nonce, header FROM window WHERE nonce NOT IN (SELECT nonce FROM pending)"
            " ORDER BY rowid"
        )
        return [(header, self.lines(nonce)) for nonce, header in rows]

    def lines(self, nonce: bytes) -> bytes:
        """Return the lines of a window, each with its line feed."""
        rows = self._read("SELECT lines FROM chunk WHERE nonce = ? ORDER BY place", nonce)
        return b"".join(lines for (lines,) in rows)

    def pending(self, *, after: int, count_max: int) -> list[tuple[int, Pending]]:
        """Return the oldest that is to be handed on behind a place, each with its own place.

        Contents, which may be large, are left out: `content_at` returns them.
        """
        rows = self._read(
            "SELECT place, event, file, nonce FROM pending WHERE place > ? ORDER BY place LIMIT ?",
            after,
            count_max,
        )
        return [
            (place, Pending(event=event, file=file, nonce=nonce))
            for place, event, file, nonce in rows
        ]

    def pending_events(self, *, after: int, count_max: int) -> list[tuple[int, bytes]]:
        """Return the oldest events without a file that are to be handed on behind a place."""
        return self._read(
            "SELECT place, event FROM pending WHERE place > ? AND file = x''"
            " ORDER BY place LIMIT ?",
            after,
            count_max,
        )

    def pending_file_count(self, *, after: int, up_to: int = NEVER_US) -> int:
        """Return how many files are to be handed on behind a place, up to another."""
        ((count,),) = self._read(
            "SELECT count(*) FROM pending WHERE place > ? AND place <= ? AND file <> x''",
            after,
            up_to,
        )
        return int(count)

    def last_place(self) -> int:
        """Return the place of what came last of all that was ever to be handed on."""
        rows = self._read("SELECT seq FROM sqlite_sequence WHERE name = 'pending'")
        return int(rows[0][0]) if rows else 0

    def content_at(self, place: int) -> bytes:
        """Return the content of the file that is to be handed on at a place."""
        ((nonce, content),) = self._read(
            "SELECT nonce, content FROM pending WHERE place = ?", place
        )
        if not nonce:
            return bytes(content)
        ((header,),) = self._read("SELECT header FROM window WHERE nonce = ?", nonce)
        return bytes(header) + b"\n" + self.lines(nonce)

    def pending_content(self, file: bytes) -> bytes | None:
        """Return a file that is to be handed on; None: it is not among those."""
        for place in self._read("SELECT place FROM pending WHERE file = ? LIMIT 1", file):
            return self.content_at(*place)
        return None

    def pending_count(self, *, after: int = 0) -> int:
        """Return how much is to be handed on behind a place."""
        ((count,),) = self._read("SELECT count(*) FROM pending WHERE place > ?", after)
        return int(count)

    def evidence(self, file: bytes) -> Evidence | None:
        """Return what is known of a file; None: it was never kept."""
        rows = self._read("SELECT * FROM evidence WHERE file = ?", file)
        return Evidence(*rows[0]) if rows else None

    def oldest_evidence(self, *, before_us: int, count_max: int) -> list[Evidence]:
        """Return the oldest files that were kept before a time and are still there."""
        rows = self._read(
            "SELECT * FROM evidence WHERE removed_us IS NULL AND kept_us < ?"
            " AND file NOT IN (SELECT file FROM pending) ORDER BY kept_us LIMIT ?",
            before_us,
            count_max,
        )
        return [Evidence(*row) for row in rows]

    def newest_evidence_us(self) -> int | None:
        """Return when the newest file that is still there was kept; None: there is none."""
        ((kept_us,),) = self._read("SELECT max(kept_us) FROM evidence WHERE removed_us IS NULL")
        return None if kept_us is None else int(kept_us)

    def last_removed_evidence(self) -> list[Evidence]:
        """Return the files that were removed last, at one time."""
        rows = self._read(
            "SELECT * FROM evidence WHERE removed_us = (SELECT max(removed_us) FROM evidence)"
        )
        return [Evidence(*row) for row in rows]

    def decided_of(self, digest: bytes) -> list[Decided]:
        """Return what is known of an event id, or of a file's digest, and what goes with it."""
        rows = self._read(
            f"SELECT {_DECIDED} FROM decided"  # noqa: S608  # our own names
            " WHERE event_id = ?1 AND event_id <> x'' OR file = ?1 AND file <> x''"
            " OR anchored = ?1 AND anchored <> x'' LIMIT ?2",
            digest,
            DECIDED_READ_MAX,
        )
        return [_decided(row) for row in rows]

    def file_of_window(self, nonce: bytes) -> bytes:
        """Return the SHA-256 of a window's file; b"": it is not closed."""
        rows = self._read(
            "SELECT file FROM decided WHERE nonce = ?1 AND nonce <> x'' AND file <> x''", nonce
        )
        return bytes(rows[0][0]) if rows else b""

    def decided_for(
        self, source: str, signal: str, *, at_us: int | None = None, count_max: int = 20
    ) -> list[Decided]:
        """Return what became of a signal's observations, newest first.

        Args:
            source: Its name.
            signal: Its name at the site.
            at_us: Only what was made at that time; None: at any.
            count_max: How many.
        """
        rows = self._read(
            f"SELECT {_DECIDED} FROM decided WHERE source = ? AND signal = ?"  # noqa: S608
            " AND first_made_us <= ? AND last_made_us >= ? ORDER BY last_made_us DESC LIMIT ?",
            source,
            signal,
            NEVER_US if at_us is None else at_us,
            -NEVER_US if at_us is None else at_us,
            count_max,
        )
        return [_decided(row) for row in rows]

    def measured_us(self, source: str, signal: str, made_us: int) -> int | None:
        """Return when a value made at a time was put on record in full; None: never."""
        rows = self._read(
            "SELECT decided_us FROM decided WHERE source = ? AND signal = ? AND last_made_us = ?"
            " AND what = 'measurement' LIMIT 1",
            source,
            signal,
            made_us,
        )
        return int(rows[0][0]) if rows else None

    def last_gap_us(self, source: str) -> int | None:
        """Return when a gap of a source was put on record last; None: never."""
        ((decided_us,),) = self._read(
            "SELECT max(decided_us) FROM decided WHERE source = ? AND what = 'gap'", source
        )
        return None if decided_us is None else int(decided_us)

    def policies(self, name: str) -> dict[int, bytes]:
        """Return the documents of a policy by version."""
        rows = self._read("SELECT version, document FROM policy WHERE name = ?", name)
        return dict(rows)

    def policy_in_force(self) -> tuple[str, int] | None:
        """Return name and version of the policy that was put on record last."""
        rows = self._read("SELECT name, version FROM policy ORDER BY place DESC LIMIT 1")
        return rows[0] if rows else None

    def last_session(self) -> Session | None:
        """Return the newest run; None: there was none."""
        rows = self._read("SELECT session, is_closed FROM session ORDER BY place DESC LIMIT 1")
        return Session(rows[0][0], bool(rows[0][1])) if rows else None

    def session_before(self) -> bytes:
        """Return the id of the run before the newest; b"": there was none."""
        rows = self._read("SELECT session FROM session ORDER BY place DESC LIMIT 1 OFFSET 1")
        return bytes(rows[0][0]) if rows else b""

    def _read(self, query: str, *values: object) -> list[Any]:
        with _errors(self.path):
            return self._database.execute(query, values).fetchall()

    # Writing

    def write(self, changes: Changes, *, handed_on: int = 0) -> None:
        """Change the memory; on disk, all of it or nothing, when this returns.

        Args:
            changes: What is new.
            handed_on: What was pending up to this place is where it belongs, and is forgotten.

        Raises:
            MemoryUnusable: Nothing was changed, such as where the disk is full.
        """
        event_count = sum(bool(each.event) for each in changes.pending)
        with self._transaction():
            run, run_many = self._database.execute, self._database.executemany
            if handed_on:
                self._forget(handed_on)
            run_many("INSERT INTO window VALUES (?, ?)", changes.opened)
            run_many("INSERT INTO chunk (nonce, lines) VALUES (?, ?)", changes.chunks)
            run_many(
                "INSERT INTO pending (event, file, nonce, content) VALUES (?, ?, ?, ?)",
                map(astuple, changes.pending),
            )
            run_many(
                f"INSERT INTO decided VALUES ({', '.join('?' * len(fields(Decided)))})",  # noqa: S608
                map(astuple, changes.decided),
            )
            run_many(
                "INSERT INTO source VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET instance = excluded.instance,"
                " next_sequence = excluded.next_sequence, last_made_us = excluded.last_made_us,"
                " observation_count = excluded.observation_count,"
                " gap_count = excluded.gap_count, context = excluded.context",
                map(_source_row, changes.sources.values()),
            )
            new_size = self._keep(changes.kept)
            if event_count:
                run("UPDATE about SET event_count = event_count + ?", (event_count,))
            if changes.policy is not None:
                run("DELETE FROM policy WHERE name = ? AND version = ?", changes.policy[:2])
                run("INSERT INTO policy (name, version, document) VALUES (?, ?, ?)", changes.policy)
            if changes.session is not None:
                run(
                    "INSERT INTO session (session, is_closed) VALUES (?, ?)"
                    " ON CONFLICT DO UPDATE SET is_closed = excluded.is_closed",
                    astuple(changes.session),
                )
        self.event_count += event_count
        self.evidence_size += new_size

    def _forget(self, handed_on: int) -> None:
        for table in ("chunk", "window"):
            self._database.execute(
                f"DELETE FROM {table} WHERE nonce IN"  # noqa: S608  # our own names
                " (SELECT nonce FROM pending WHERE place <= ? AND nonce <> x'')",
                (handed_on,),
            )
        self._database.execute("DELETE FROM pending WHERE place <= ?", (handed_on,))

    def _keep(self, kept: Sequence[tuple[bytes, int, int]]) -> int:
        """Take note of files, and return by how much the store grows."""
        new_size = 0
        for file, size, kept_us in kept:
            (known,) = self._database.execute(
                "SELECT count(*) FROM evidence WHERE file = ? AND removed_us IS NULL", (file,)
            ).fetchone()
            self._database.execute(
                "INSERT OR REPLACE INTO evidence VALUES (?, ?, ?, NULL)", (file, size, kept_us)
            )
            new_size += 0 if known else size
        return new_size

    def remove_evidence(self, removed: Sequence[Evidence], *, now_us: int) -> None:
        """Take note that files are about to be removed.

        Raises:
            MemoryUnusable: Nothing was changed.
        """
        with self._transaction():
            self._database.executemany(
                "UPDATE evidence SET removed_us = ? WHERE file = ?",
                [(now_us, each.file) for each in removed],
            )
        self.evidence_size -= sum(each.size for each in removed)

    def redate_evidence(self, by_us: int) -> None:
        """Let all files that are still there have been kept so much later; below 0: earlier.

        Raises:
            MemoryUnusable: Nothing was changed.
        """
        with self._transaction():
            self._database.execute(
                "UPDATE evidence SET kept_us = kept_us + ? WHERE removed_us IS NULL", (by_us,)
            )

    def forget_decided(self, *, before_us: int, rows_max: int = DECIDED_MAX) -> None:
        """Forget what was decided before a time, and the oldest of too much; a part at a time.

        Also which files were removed before that time.

        Raises:
            MemoryUnusable: Not all was forgotten.
        """
        for table, is_over, value in (
            ("decided", "decided_us < ?", before_us),
            ("decided", "rowid <= (SELECT max(rowid) FROM decided) - ?", rows_max),
            ("evidence", "removed_us < ?", before_us),
        ):
            count = FORGET_ROWS_MAX
            while count == FORGET_ROWS_MAX:
                with self._transaction():
                    count = self._database.execute(
                        f"DELETE FROM {table} WHERE rowid IN"  # noqa: S608  # our own names
                        f" (SELECT rowid FROM {table} WHERE {is_over} LIMIT {FORGET_ROWS_MAX})",
                        (value,),
                    ).rowcount

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


def _source_row(state: SourceState) -> tuple[object, ...]:
    return (
        state.name,
        state.position.instance,
        state.position.next_sequence,
        state.position.last_made_us,
        state.observation_count,
        state.gap_count,
        state.context,
    )


_DECIDED = ", ".join(each.name for each in fields(Decided))


def _decided(row: Sequence[Any]) -> Decided:
    return Decided(**dict(zip(_DECIDED.split(", "), row, strict=True)))


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
