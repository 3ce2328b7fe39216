"""What the HTTP endpoint does: seal and look up, as a client of its own node.

It is a client like any other, with an outbox of its own: what it has taken is not lost where the
node dies, and the ledger's rules and the node's access table hold for it as for everybody.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lotmark.client import Client, LedgerSession, NotAcknowledgedYet, Outcome
from lotmark.client.ledger_records import FoundSeal
from lotmark.client.sealing import Sealing, start_sealing
from lotmark.event import NONCE_SIZE
from lotmark.report import SealPlace, make_report
from lotmark.verify.receipt import verify_receipt
from lotmark_node.http.errors import Busy
from lotmark_node.http.node_sessions import NodeSessions

SESSIONS_MAX = 4  # with the node, and so requests that are worked on at once
ACKNOWLEDGED_S = 10.0  # for a seal's way to the ledger, before the caller is told to ask again
FOUND_MAX = 100  # seals in one answer


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskSeal:
    """A report's seal."""

    report_digest: bytes
    event_id: bytes
    index: int | None  # of its entry; None: it waits in the outbox
    is_new: bool


class SealingDesk:
    """Seals and looks up; any thread may call it."""

    def __init__(self, client: Client, open_session: Callable[[], LedgerSession]) -> None:
        """Take a client, which is closed with the desk.

        Args:
            client: Sends what is sealed.
            open_session: Opens a session with the node.
        """
        self._client = client
        self._lock = threading.Lock()
        self._in_hand: set[SealPlace] = set()
        self._sessions = NodeSessions(open_session, SESSIONS_MAX)

    def close(self) -> None:
        """Hang up; what waits in the outbox is sent by the next desk that opens it."""
        self._sessions.close()
        self._client.close(timeout_s=0.0)

    def seal(self, fields: Mapping[str, Any], corrects: Sequence[int]) -> DeskSeal:
        """Seal a report, unless it is sealed, and wait a while for the ledger.

        Raises:
            ReportIncompleteError, MalformedError: It is no whole report.
            SealedOtherwise, NothingToCorrect: As `start_sealing`.
            SubmissionRefused: The ledger has refused it.
            Busy: Another request about the same is worked on, or too many others.
            ProtocolError, ConnectionError, TimeoutError: The node does not answer as it should.
        """
        report = make_report(
            fields, name="report", folder=None, nonce=lambda: os.urandom(NONCE_SIZE)
        )
        with self._sole(report.place):
            with self._sessions.borrowed() as session:
                sealing = start_sealing(self._client, session, report, corrects=corrects)
            index = self._entry_of(sealing)
        return DeskSeal(
            report_digest=report.digest,
            event_id=sealing.event_id,
            index=index,
            is_new=sealing.is_new,
        )

    def _entry_of(self, sealing: Sealing) -> int | None:
        """Return the entry of a seal once it and its corrections are on the ledger; None: not yet.

        Raises:
            SubmissionRefused: The ledger has refused one of them.
        """
        if sealing.delivery is None:
            return sealing.index
        try:
            result = sealing.delivery.result(ACKNOWLEDGED_S)
            for correction in sealing.corrections:
                correction.result(ACKNOWLEDGED_S)
        except NotAcknowledgedYet:
            return None
        if result.outcome is Outcome.EVENT_DUPLICATE:  # the first one counts
            with self._sessions.borrowed() as session:
                return session.entry(sealing.event_id).head.index
        return result.index

    def find(self, **wanted: Any) -> tuple[list[FoundSeal], bool]:
        """Return seals, and whether there are more; arguments as of `LedgerSession.seals`.

        Raises:
            Busy: Too many requests are worked on.
            ProtocolError, ConnectionError, TimeoutError: The node does not answer as it should.
        """
        with self._sessions.borrowed() as session:
            found = list(islice(session.seals(**wanted), FOUND_MAX + 1))
        return found[:FOUND_MAX], len(found) > FOUND_MAX

    def receipt(self, index: int) -> tuple[bytes, bool]:
        """Return the receipt of an event's entry, and whether it is final.

        Raises:
            NotOnLedgerError: There is no such entry, or it is no event that the party may read.
            Busy: Too many requests are worked on.
            ProtocolError, ConnectionError, TimeoutError: The node does not answer as it should.
        """
        with self._sessions.borrowed() as session:
            raw = session.receipt(index)
            found = verify_receipt(
                raw,
                genesis_json=session.genesis.to_json(),
                chain_id=session.settings.chain_id,
            )
        return raw, found.checkpoint.is_final

    @contextmanager
    def _sole(self, place: SealPlace) -> Iterator[None]:
        """Keep another request from sealing the same while the ledger is asked about it."""
        with self._lock:
            if place in self._in_hand:
                raise Busy(f"{place} is being sealed by another request; try again")
            self._in_hand.add(place)
        try:
            yield
        finally:
            with self._lock:
                self._in_hand.discard(place)
