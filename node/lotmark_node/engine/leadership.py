"""Who leads, as the engine sees it: a leader begins only when it holds all of its predecessors'."""

import asyncio
import logging
from collections.abc import Callable

from lotmark_consensus.ordering import Leadership
from lotmark_node.engine.applying import ApplyLoop
from lotmark_node.engine.block_cutter import BlockCutter
from lotmark_node.engine.checkpoints import CheckpointSigner
from lotmark_node.engine.forwarding import Forwarding

logger = logging.getLogger(__name__)

NO_LEADER_S = 5.0  # an election takes less: until then batches are taken and wait


class LeadershipDuties:
    """Turns changes of leadership into what each part does; on the event loop's thread."""

    def __init__(
        self,
        applying: ApplyLoop,
        cutter: BlockCutter,
        forwarding: Forwarding,
        checkpoints: CheckpointSigner,
        *,
        on_orphaned: Callable[[bool], None],
    ) -> None:
        """Make it while nobody is known to lead.

        Args:
            applying: Tells how far of the order the ledger is.
            cutter: Cuts while this node leads.
            forwarding: Sends to the leader otherwise.
            checkpoints: Signs while this node leads.
            on_orphaned: Told when there has been no leader for `NO_LEADER_S`, and when there is one
                again.
        """
        self._applying = applying
        self._cutter = cutter
        self._forwarding = forwarding
        self._checkpoints = checkpoints
        self._on_orphaned = on_orphaned
        self._orphaned = False
        self._waiting: asyncio.TimerHandle | None = None
        self._beginning: Leadership | None = None  # this node's, until it holds what came before
        self.now: Leadership | None = None

    def changed(self, leadership: Leadership) -> None:
        """Take note of who leads now."""
        self.now = leadership
        self._watch(leadership)
        self._cutter.follow()
        if leadership.leads:
            self._beginning = leadership
            self._forwarding.follow(None)
            self.passed()
        else:
            self._beginning = None
            self._checkpoints.follow()
            self._forwarding.follow(leadership.leader)

    def passed(self) -> None:
        """Take note that the ledger has moved on in the order."""
        beginning = self._beginning
        if beginning is None or self._applying.place.index < beginning.term_start_index - 1:
            return
        self._beginning = None
        logger.info("leading", extra={"term": beginning.term})
        self._cutter.lead(beginning.term)
        self._forwarding.lead()
        self._checkpoints.lead()

    @property
    def leads(self) -> bool:
        """Whether this node leads, its predecessors' blocks in its ledger or not."""
        return self.now is not None and self.now.leads

    def stop(self) -> None:
        """Wait for nothing any more."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._forwarding.stop()

    def _watch(self, leadership: Leadership) -> None:
        if leadership.leads or leadership.leader is not None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None
            self._tell(False)
        elif self._waiting is None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_later(NO_LEADER_S, self._tell, True)

    def _tell(self, orphaned: bool, /) -> None:
        if orphaned != self._orphaned:
            self._orphaned = orphaned
            self._on_orphaned(orphaned)
