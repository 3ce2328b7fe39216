"""Brings admitted batches to whoever leads, as often as leaders change, until they are applied."""

import asyncio
import logging
from collections.abc import Callable

from lotmark.batch import Batch
from lotmark.outcome import Outcome
from lotmark_node.engine.peers import ForwardLink, Peers
from lotmark_node.state_machine.prepared_batch import PreparedBatch

logger = logging.getLogger(__name__)

REOPEN_S = 0.2
RETRY_S = 1.0

# Why a leader may not take now what it takes later: these batches are kept and sent again.
PASSING = frozenset(
    {
        Outcome.QUOTA_EXCEEDED,
        Outcome.SEQUENCE_AHEAD,
        Outcome.WAITING_FOR_PREDECESSOR,
        Outcome.STORAGE_FULL,
        Outcome.STOPPING,
        Outcome.NO_LEADER,
    }
)


class Forwarding:
    """Keeps every admitted batch until it is applied; on the event loop's thread.

    A new leader is given all of them, in order. What it has already had from somebody else, its
    admission finds; so a batch is ordered once.
    """

    def __init__(
        self,
        *,
        cut: Callable[[PreparedBatch], None],
        peers: Peers | None,
        dropped: Callable[[Batch], None],
    ) -> None:
        """Make it while no leader is known.

        Args:
            cut: Takes a batch while this node leads.
            peers: The other voters; None: there are none.
            dropped: Told of a batch that no leader will take.
        """
        self._cut = cut
        self._peers = peers
        self._dropped = dropped
        self._pending: dict[bytes, PreparedBatch] = {}  # bounded by admission
        self._leading = False
        self._leader: str | None = None
        self._link: ForwardLink | None = None
        self._reopening: asyncio.TimerHandle | None = None

    @property
    def pending_count(self) -> int:
        """How many batches are admitted and not applied."""
        return len(self._pending)

    def push(self, prepared: PreparedBatch) -> None:
        """Take a batch on its way."""
        self._pending[prepared.batch.batch_id] = prepared
        if self._leading:
            self._cut(prepared)
        elif self._link is not None:
            self._link.send(prepared.batch.raw)

    def applied(self, batch_id: bytes) -> None:
        """Forget a batch that has been applied."""
        self._pending.pop(batch_id, None)

    def lead(self) -> None:
        """Cut here from now on."""
        self._unlink()
        self._leading = True
        for prepared in self._pending.values():
            self._cut(prepared)

    def follow(self, leader: str | None) -> None:
        """Send to this leader from now on; None: wait for one."""
        if leader is not None and leader == self._leader and not self._leading:
            return
        self._unlink()
        self._leading = False
        self._leader = leader
        self._open()

    def stop(self) -> None:
        """Send nothing any more."""
        self._unlink()

    def _open(self) -> None:
        self._reopening = None
        if self._leader is None:
            return
        assert self._peers is not None, "a network of one leads itself"
        self._link = self._peers.forward_to(self._leader, self._refused, self._broken)
        for prepared in self._pending.values():
            self._link.send(prepared.batch.raw)

    def _broken(self) -> None:
        self._reopen_in(REOPEN_S)

    def _refused(self, batch_id: bytes, outcome: Outcome) -> None:
        if batch_id not in self._pending:
            return
        if outcome in PASSING:
            self._reopen_in(RETRY_S)
            return
        prepared = self._pending.pop(batch_id)
        logger.warning(
            "the leader refused a batch for good",
            extra={"leader": self._leader, "batch_id": batch_id.hex(), "outcome": outcome.name},
        )
        self._dropped(prepared.batch)

    def _reopen_in(self, wait_s: float) -> None:
        """Begin again in a while: everything that is pending is sent anew, in order."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._reopening is None:
            self._reopening = asyncio.get_running_loop().call_later(wait_s, self._open)

    def _unlink(self) -> None:
        self._leader = None
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        if self._link is not None:
            self._link.close()
            self._link = None
