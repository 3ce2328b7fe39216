"""What a site remembers of its raw files: which the store has, which it had, and since when."""

from collections.abc import Sequence

from lotmark_node.edge.memory_file import MemoryFile
from lotmark_node.edge.memory_records import Evidence


class EvidenceMemory(MemoryFile):
    """The part of a memory that knows the store's files."""

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
