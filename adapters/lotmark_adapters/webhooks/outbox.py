"""Messages that webhooks have not taken yet, in one SQLite file.

A message goes in once for each target, under its key: made a second time it is not told twice. It
leaves when the target has taken it, or when its bound of tries is reached: then it stays in the
file for people, with the last failure. Tables:

- ``message``: waiting, in the order in which they came
- ``taken``: keys of what was taken, the newest `TAKEN_MAX`
- ``given_up``: what was tried too often
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lotmark.errors import MalformedError
from lotmark_adapters.errors import WebhookOutboxUnusable, WebhookRefused
from lotmark_adapters.webhooks.message import Message, message_from_json

FORMAT = 1
WAITING_MAX = 10_000  # messages
TAKEN_MAX = 100_000  # keys
TRIES_MAX = 16
BACKOFF_FIRST_MS = 5_000
BACKOFF_MAX_MS = 3_600_000  # so that the last try is some 6 hours after the first
PAUSE_MS = 30_000  # of a target after a failure, for all of its messages

_TABLES = (
    """CREATE TABLE message (
        place INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, key TEXT NOT NULL,
        raw BLOB NOT NULL, tries INTEGER NOT NULL, due_ms INTEGER NOT NULL,
        UNIQUE (target, key))""",
    """CREATE TABLE taken (
        place INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, key TEXT NOT NULL,
        UNIQUE (target, key))""",
    """CREATE TABLE given_up (
        place INTEGER PRIMARY KEY, target TEXT NOT NULL, raw BLOB NOT NULL, detail TEXT NOT NULL)
    """,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A message that a target has not taken."""

    place: int
    target: str
    message: Message
    tries: int
    due_ms: int  # Unix time from which on it is tried


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A message that was tried too often."""

    target: str
    message: Message
    detail: str  # the last failure


class WebhookOutbox:
    """An open outbox; any thread may call it, one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            WebhookOutboxUnusable: It is in use, of another format, damaged, or not to be written.
        """
        self.path = path
        self._lock = threading.Lock()
        with self._errors():
            self._database = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False
            )
        try:
            with self._errors():
                self._open()
        except BaseException:
            self._database.close()
            raise

    def _open(self) -> None:
        run = self._database.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("BEGIN EXCLUSIVE")
        (version,) = run("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _TABLES:
                run(statement)
            run(f"PRAGMA user_version = {FORMAT}")
        elif version != FORMAT:
            raise WebhookOutboxUnusable(
                f"{self.path} has format {version}; this release knows {FORMAT}: update it"
            )
        run("COMMIT")

    def close(self) -> None:
        """Close the file; it may be opened again at once."""
        with self._lock:
            self._database.close()

    def put(self, message: Message, targets: Sequence[str], *, now_ms: int) -> int:
        """Take a message for targets; on disk when this returns.

        Returns:
            For how many of them it is new: those that have it, or had it, are not told again.

        Raises:
            WebhookOutboxUnusable: The outbox is full, or cannot be written; nothing was taken.
        """
        raw, key = message.to_json(), message.key
        new_count = 0
        with self._writing() as run:
            (waiting_count,) = run("SELECT count(*) FROM message").fetchone()
            if waiting_count + len(targets) > WAITING_MAX:
                raise WebhookOutboxUnusable(
                    f"{self.path} holds {waiting_count} messages; at most {WAITING_MAX} may wait:"
                    " see why the webhooks take none"
                )
            for target in targets:
                new_count += run(
                    "INSERT INTO message (target, key, raw, tries, due_ms)"
                    " SELECT ?1, ?2, ?3, 0, ?4"
                    " WHERE NOT EXISTS (SELECT 1 FROM taken WHERE target = ?1 AND key = ?2)"
                    " ON CONFLICT DO NOTHING",
                    (target, key, raw, now_ms),
                ).rowcount
        return new_count

    def due(self, target: str, *, now_ms: int, count_max: int) -> list[Waiting]:
        """Return messages that are to be tried now, those first that were tried least.

        Raises:
            WebhookOutboxUnusable: The file cannot be read, or one is not as it was written.
        """
        rows = self._read(
            "SELECT place, target, raw, tries, due_ms FROM message"
            " WHERE target = ? AND due_ms <= ? ORDER BY tries, place LIMIT ?",
            target, now_ms, count_max,
        )  # fmt: skip
        return [
            Waiting(
                place=place,
                target=name,
                message=self._parsed(raw),
                tries=tries,
                due_ms=due_ms,
            )
            for place, name, raw, tries, due_ms in rows
        ]

    def next_due_ms(self) -> int | None:
        """Return when the next message is to be tried; None: none waits."""
        ((due_ms,),) = self._read("SELECT min(due_ms) FROM message")
        return None if due_ms is None else int(due_ms)

    def waiting_count(self, targets: Sequence[str]) -> int:
        """Return how many messages these targets have not taken, due or not."""
        counts = [
            self._read("SELECT count(*) FROM message WHERE target = ?", target)[0][0]
            for target in targets
        ]
        return sum(counts)

    def given_up(self) -> list[GivenUp]:
        """Return what was tried too often, oldest first."""
        rows = self._read("SELECT target, raw, detail FROM given_up ORDER BY place")
        return [GivenUp(target, self._parsed(raw), detail) for target, raw, detail in rows]

    def settle(self, waiting: Waiting) -> None:
        """Say that its target has taken a message."""
        with self._writing() as run:
            run("DELETE FROM message WHERE place = ?", (waiting.place,))
            run(
                "INSERT OR IGNORE INTO taken (target, key) VALUES (?, ?)",
                (waiting.target, waiting.message.key),
            )
            run("DELETE FROM taken WHERE place <= (SELECT max(place) FROM taken) - ?", (TAKEN_MAX,))

    def put_off(self, waiting: Waiting, *, detail: str, now_ms: int) -> bool:
        """Say that a try failed; it is due again later, each time after twice as long.

        Its target's other messages wait a little, too: the failure was most likely the target's.

        Returns:
            False where that was the last try: the message is kept among those given up.
        """
        tries = waiting.tries + 1
        with self._writing() as run:
            run(
                "UPDATE message SET due_ms = max(due_ms, ?) WHERE target = ?",
                (now_ms + PAUSE_MS, waiting.target),
            )
            if tries < TRIES_MAX:
                due_ms = now_ms + min(BACKOFF_FIRST_MS << (tries - 1), BACKOFF_MAX_MS)
                run(
                    "UPDATE message SET tries = ?, due_ms = ? WHERE place = ?",
                    (tries, due_ms, waiting.place),
                )
                return True
            run("DELETE FROM message WHERE place = ?", (waiting.place,))
            run(
                "INSERT INTO given_up VALUES (?, ?, ?, ?)",
                (waiting.place, waiting.target, waiting.message.to_json(), detail),
            )
            return False

    def _parsed(self, raw: bytes) -> Message:
        try:
            return message_from_json(raw)
        except (MalformedError, WebhookRefused) as error:
            raise WebhookOutboxUnusable(
                f"{self.path} is damaged: {error}; keep the file for whoever mends it, and name a"
                " new one"
            ) from error

    def _read(self, query: str, *values: object) -> list[Any]:
        with self._lock, self._errors():
            return self._database.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> "Iterator[Any]":
        """Give what runs statements of one transaction: all of them or nothing."""
        with self._lock, self._errors():
            run = self._database.execute
            run("BEGIN IMMEDIATE")
            try:
                yield run
                run("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    run("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name.startswith("SQLITE_BUSY"):
                raise WebhookOutboxUnusable(
                    f"{self.path} is in use by another process; wait until it is done"
                ) from error
            raise WebhookOutboxUnusable(
                f"{self.path} cannot be used ({error}); it must be a file of its own, in a folder"
                " that this process can write to"
            ) from error
