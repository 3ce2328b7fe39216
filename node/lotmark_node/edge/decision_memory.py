"""What a site remembers of what became of what, and by which rule."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from lotmark_node.edge.memory_file import MemoryFile
from lotmark_node.edge.memory_records import Decided

DECIDED_READ_MAX = 1_000
DECIDED_MAX = 2_000_000  # rows; of older ones it cannot be told which rule decided
FORGET_ROWS_MAX = 10_000  # in one transaction
NEVER_US = 2**62  # later than all


class DecisionMemory(MemoryFile):
    """The part of a memory that explains."""

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


_DECIDED = ", ".join(each.name for each in fields(Decided))


def _decided(row: Sequence[Any]) -> Decided:
    return Decided(**dict(zip(_DECIDED.split(", "), row, strict=True)))
