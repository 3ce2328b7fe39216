"""The parties that are members now, as the ledger of this node says."""

import asyncio
from collections.abc import Callable, Mapping

from lotmark.state_rows import PartyRow, RowReader
from lotmark.state_rows import members as members_of


class Membership:
    """Moves with the ledger, on the event loop; any thread may read it.

    Attributes:
        members: Every member by its id.
        generation: Another number for other members.
        changed: The event that is set when the members change; a new one each time.
    """

    def __init__(self, rows: RowReader, height: Callable[[], int]) -> None:
        """Read who is a member.

        Args:
            rows: The state.
            height: Of the newest block; whoever calls is judged by the next one's members.
        """
        self._rows = rows
        self._height = height
        self.generation = 0
        self.changed = asyncio.Event()
        self.members: Mapping[str, PartyRow] = self._read()

    def refresh(self) -> None:
        """Read the members anew, and tell those who wait for that."""
        self.members = self._read()
        self.generation += 1
        self.changed.set()
        self.changed = asyncio.Event()

    def ca_certificates(self) -> dict[str, str]:
        """Return each member's CA certificate, PEM."""
        return {party: row.ca_pem for party, row in self.members.items()}

    def _read(self) -> Mapping[str, PartyRow]:
        return members_of(self._rows, self._height() + 1)
