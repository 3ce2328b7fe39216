"""What a site remembers of open windows, and of what is to be handed on, in its order."""

from lotmark_node.edge.memory_file import MemoryFile
from lotmark_node.edge.memory_records import Pending

LAST_PLACE = 2**62  # behind all


class PendingMemory(MemoryFile):
    """The part of a memory that holds observations until their file is in the store."""

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

    def pending_file_count(self, *, after: int, up_to: int = LAST_PLACE) -> int:
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

    def _forget(self, handed_on: int) -> None:
        for table in ("chunk", "window"):
            self._database.execute(
                f"DELETE FROM {table} WHERE nonce IN"  # noqa: S608  # our own names
                " (SELECT nonce FROM pending WHERE place <= ? AND nonce <> x'')",
                (handed_on,),
            )
        self._database.execute("DELETE FROM pending WHERE place <= ?", (handed_on,))
