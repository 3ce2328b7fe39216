"""The outbox: what was submitted and is not acknowledged yet, in one SQLite file.

Events come in as they are and leave as signed batches. A batch is written before it is sent and
never changed, so whatever happens to the process, the same bytes are sent again, and no number of a
lane is given to two batches.

The file is locked for as long as it is open, by the operating system, which a killed process
cannot keep. Tables:

- ``event``: events in no batch yet, in the order in which they were submitted
- ``batch``: signed batches without an acknowledgement, in sending order
- ``lane``: the newest number that each key has signed in each lane from here
- ``refused``: batches that the ledger refused for good, kept for people
- ``about``: whose outbox this is
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lotmark.batch import ZERO_HASH, Batch, parse_one_batch
from lotmark.client.errors import OutboxBusy, OutboxUnusable
from lotmark.errors import MalformedError

FORMAT = 1
READ_BATCHES_MAX = 16
READ_EVENTS_MAX = 1_024

_TABLES = """
CREATE TABLE about (chain_id BLOB NOT NULL);
CREATE TABLE event (place INTEGER PRIMARY KEY, raw BLOB NOT NULL);
CREATE TABLE batch (place INTEGER PRIMARY KEY, raw BLOB NOT NULL);
CREATE TABLE lane (
    key BLOB NOT NULL, lane INTEGER NOT NULL, sequence INTEGER NOT NULL, batch_id BLOB NOT NULL,
    opened INTEGER PRIMARY KEY AUTOINCREMENT, UNIQUE (key, lane)
);
CREATE TABLE refused (batch_id BLOB PRIMARY KEY, raw BLOB NOT NULL, detail TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane and the newest batch that was signed in it."""

    key: bytes
    number: int
    sequence: int = 0
    batch_id: bytes = ZERO_HASH


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event that is in no batch yet."""

    place: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A signed batch and its place in the sending order."""

    place: int
    batch: Batch


class Outbox:
    """An open outbox; any thread may call it."""

    def __init__(self, path: Path, *, chain_id: bytes) -> None:
        """Open the file, or make it.

        Raises:
            OutboxBusy: Another process has it open.
            OutboxUnusable: It is another chain's, damaged, or cannot be read or written.
        """
        self.path = path
        self._lock = threading.Lock()
        with self._errors():
            self._database = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False
            )
        try:
            with self._errors():
                self._open(chain_id)
                events, batches = (
                    self._database.execute(f"SELECT max(place) FROM {table}").fetchone()[0] or 0  # noqa: S608  # our own names
                    for table in ("event", "batch")
                )
        except BaseException:
            self._database.close()
            raise
        self._newest_event, self._newest_batch = events, batches

    def _open(self, chain_id: bytes) -> None:
        run = self._database.execute
        # One process at a time; and with the index of the log in memory instead of a file.
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("BEGIN EXCLUSIVE")
        (version,) = run("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _TABLES.split(";\n"):
                run(statement)
            run("INSERT INTO about VALUES (?)", (chain_id,))
            run(f"PRAGMA user_version = {FORMAT}")
        elif version != FORMAT:
            raise OutboxUnusable(
                f"{self.path} has format {version}; this release knows {FORMAT}: update it"
            )
        (known,) = run("SELECT chain_id FROM about").fetchone()
        run("COMMIT")
        if known != chain_id:
            raise OutboxUnusable(
                f"{self.path} is the outbox of chain {known.hex()}, not of {chain_id.hex()}; name"
                " another file for this chain"
            )

    def close(self) -> None:
        """Close the file; it may be opened again at once."""
        with self._lock:
            self._database.close()

    # Reading

    @property
    def newest_batch(self) -> int:
        """The place of the newest batch that was ever written by this object or found by it."""
        return self._newest_batch

    def events(self, *, after: int = 0, count_max: int) -> list[StoredEvent]:
        """Return the oldest events behind a place that are in no batch."""
        rows = self._read(
            "SELECT place, raw FROM event WHERE place > ? ORDER BY place LIMIT ?", after, count_max
        )
        return [StoredEvent(*row) for row in rows]

    def batches(self, *, after: int = 0, count_max: int) -> list[StoredBatch]:
        """Return the oldest batches behind a place.

        Raises:
            OutboxUnusable: One is not as it was written.
        """
        rows = self._read(
            "SELECT place, raw FROM batch WHERE place > ? ORDER BY place LIMIT ?", after, count_max
        )
        return [StoredBatch(place, self._parsed(raw)) for place, raw in rows]

    def all_batches(self) -> Iterator[StoredBatch]:
        """Return all batches, reading a few at a time.

        Also those that come meanwhile: one of them may replace one that was not read yet.
        """
        after = 0
        while found := self.batches(after=after, count_max=READ_BATCHES_MAX):
            yield from found
            after = found[-1].place

    def all_events(self) -> Iterator[StoredEvent]:
        """Return all events that are in no batch, reading some at a time."""
        after = 0
        while found := self.events(after=after, count_max=READ_EVENTS_MAX):
            yield from found
            after = found[-1].place

    def lane(self, key: bytes) -> Lane | None:
        """Return the lane that a key has begun last; None: it has none here."""
        rows = self._read(
            "SELECT key, lane, sequence, batch_id FROM lane WHERE key = ?"
            " ORDER BY opened DESC LIMIT 1",
            key,
        )
        return Lane(*rows[0]) if rows else None

    def refused(self) -> list[tuple[Batch, str]]:
        """Return the batches that the ledger refused for good, each with the reason."""
        return [
            (self._parsed(raw), detail)
            for raw, detail in self._read("SELECT raw, detail FROM refused ORDER BY rowid")
        ]

    def _parsed(self, raw: bytes) -> Batch:
        try:
            batch = parse_one_batch(raw)
            if batch.carried_root != batch.header.events_root:
                raise MalformedError("the events of a batch are not those that were signed")
        except MalformedError as error:
            raise OutboxUnusable(
                f"{self.path} is damaged: {error}; keep the file for whoever mends it, and name a"
                " new one"
            ) from error
        return batch

    def _read(self, query: str, *values: object) -> list[Any]:
        with self._lock, self._errors():
            return self._database.execute(query, values).fetchall()

    # Writing

    def write(
        self,
        *,
        events: Sequence[bytes] = (),
        batched_up_to: int = 0,
        batches: Sequence[Batch] = (),
        settled: Sequence[int] = (),
        refused: Sequence[tuple[Batch, str]] = (),
        lane: Lane | None = None,
    ) -> None:
        """Change the outbox; on disk, all of it or nothing, when this returns.

        Args:
            events: New ones, to wait for their batch.
            batched_up_to: Events up to this place are in a batch now.
            batches: New ones; the newest batch of their lane comes last.
            settled: Places of batches that need not be sent again.
            refused: Batches to keep for people, each with the reason.
            lane: Where the lane of the new batches stands now.

        Raises:
            OutboxUnusable: Nothing was changed, such as where the disk is full.
        """
        event, batch = self._newest_event, self._newest_batch
        with self._lock, self._errors():
            run, run_many = self._database.execute, self._database.executemany
            run("BEGIN IMMEDIATE")
            try:
                if batched_up_to:
                    run("DELETE FROM event WHERE place <= ?", (batched_up_to,))
                run_many("INSERT INTO event VALUES (?, ?)", enumerate(events, start=event + 1))
                run_many("DELETE FROM batch WHERE place = ?", [(place,) for place in settled])
                run_many(
                    "INSERT INTO batch VALUES (?, ?)",
                    ((place, each.raw) for place, each in enumerate(batches, start=batch + 1)),
                )
                run_many(
                    "INSERT OR REPLACE INTO refused VALUES (?, ?, ?)",
                    [(each.batch_id, each.raw, detail) for each, detail in refused],
                )
                if lane is not None:
                    run(
                        "INSERT INTO lane (key, lane, sequence, batch_id) VALUES (?, ?, ?, ?)"
                        " ON CONFLICT DO UPDATE"
                        " SET sequence = excluded.sequence, batch_id = excluded.batch_id",
                        (lane.key, lane.number, lane.sequence, lane.batch_id),
                    )
                run("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    run("ROLLBACK")
                raise
        self._newest_event += len(events)
        self._newest_batch += len(batches)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name.startswith("SQLITE_BUSY"):
                raise OutboxBusy(
                    f"{self.path} is in use by another process; wait until it is done, or give"
                    " each process an outbox of its own: it may use the same key"
                ) from error
            if name.startswith("SQLITE_FULL"):
                raise OutboxUnusable(
                    f"{self.path} cannot be written: its disk is full; make room there. Nothing"
                    " that was taken is lost, and sending goes on by itself"
                ) from error
            raise OutboxUnusable(
                f"{self.path} cannot be used ({error}); it must be a file of this client, in a"
                " folder that this process can write to"
            ) from error
