"""The port between the journal and a disk: one write, one fsync, then it is durable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry to write."""

    index: int
    term: int
    command: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerMark:
    """The most that a peer has shown: it never shows less, unless its disk is an older copy."""

    term: int = 0
    index: int = 0  # acknowledged in that term
    signed_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """What becomes durable together, or not at all."""

    entries: Sequence[StoredEntry]  # ascending, without gaps; they replace what stands there
    first_index: int  # of the log afterwards; lower entries are deleted
    last_index: int  # of the log afterwards; higher entries are deleted
    term: int
    vote: str | None
    marks: Mapping[str, PeerMark]  # by peer; only those that changed
    # (index, payload) of all membership entries, where the log was restarted behind a gap. None:
    # those known below `entries` (without any: up to `last_index`), and those in `entries`.
    memberships: Sequence[tuple[int, bytes]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLog:
    """What start-up needs to know; no entry's payload is read for it."""

    term: int
    vote: str | None
    first_index: int  # `last_index` + 1 where the log is empty
    last_index: int
    terms: Sequence[tuple[int, int]]  # (first index of a term, that term), ascending
    memberships: Sequence[tuple[int, bytes]]  # (index, payload) of membership entries, ascending
    marks: Mapping[str, PeerMark]


class LogStore(Protocol):
    """A durable log. `write` runs in one thread, `read` in another, both at once."""

    def load(self) -> StoredLog:
        """Return where the log stands.

        Raises:
            JournalCorrupt: What is there cannot be what was written.
        """
        ...

    def read(self, index: int) -> StoredEntry:
        """Return a durable entry.

        Raises:
            JournalCorrupt: It is missing or damaged.
        """
        ...

    def write(self, writes: Writes) -> None:
        """Make writes durable, by one fsync.

        Raises:
            JournalFull: There is no room; nothing of it was kept.
            JournalFailed: It is not known what was kept; nothing may be written until a restart.
        """
        ...

    def close(self) -> None:
        """Let go of the disk."""
        ...
