"""Rows that tell what a block has read of them."""

from collections.abc import Iterator

from lotmark.state_rows import Table
from lotmark_node.state_machine.state import StateReader


class ReadRows:
    """A reader that counts, and refuses to go through the keys: a party may have thousands.

    Attributes:
        got_count: Rows that were asked for by their keys.
        seen_count: Rows that were come across by going through some.
    """

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader
        self.got_count = 0
        self.seen_count = 0

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None."""
        self.got_count += 1
        return self._reader.get(key)

    def rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows whose keys begin with `prefix`, in ascending order."""
        assert prefix, "no rule goes through all rows"
        assert prefix[0] != Table.KEY, "no rule goes through the keys"
        for row in self._reader.rows(prefix):
            self.seen_count += 1
            yield row
