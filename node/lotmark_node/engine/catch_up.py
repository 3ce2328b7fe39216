"""State transfer: the blocks that the leader's order no longer holds, fetched from its ledger."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing, suppress

from lotmark_consensus.errors import ConsensusError
from lotmark_node.engine.applying import ApplyLoop, Fetched, FetchedAll
from lotmark_node.engine.errors import EngineError, PeerUnreachable
from lotmark_node.engine.peers import Peers
from lotmark_node.engine.store import OrderPlace

logger = logging.getLogger(__name__)

SILENT_MAX_S = 30.0  # from one block to the next; a peer may answer, and give nothing
AGAIN_MIN_S = 1.0  # after a transfer that broke off; it doubles up to
AGAIN_MAX_S = 60.0


class CatchUp:
    """Fetches blocks up to a place in the order, one transfer at a time; on the event loop.

    Every block goes through the apply loop and its rules, like any other: proposals are signed, and
    each stands on a root that the blocks before it must have led to.
    """

    def __init__(
        self,
        peers: Peers,
        applying: ApplyLoop,
        *,
        height: Callable[[], int],
        installed: Callable[[OrderPlace], None],
    ) -> None:
        """Make it.

        Args:
            peers: The other voters.
            applying: The node's apply loop.
            height: The height that the ledger has now.
            installed: Tells the order that the ledger holds everything up to a place.
        """
        self._peers = peers
        self._applying = applying
        self._height = height
        self._installed = installed
        self._pointed: tuple[str, OrderPlace] | None = None  # the newest that is not done
        self._changed = asyncio.Event()  # since the newest was looked at
        self._task: asyncio.Task[None] | None = None

    def begin(self, peer: str, place: OrderPlace) -> None:
        """Fetch up to a place, after a transfer that is under way; again until that is done.

        Whoever leads points once at each place: what breaks off is taken up again here, from the
        peer that was named last.
        """
        self._pointed = peer, place
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End a transfer that is under way; it goes on from where it was another time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        pause_s = AGAIN_MIN_S
        while self._pointed is not None:
            self._changed.clear()
            peer, place = self._pointed
            if self._was_ordered(place) or await self._reached(peer, place):
                pause_s = AGAIN_MIN_S
                if not self._changed.is_set():
                    self._pointed = None
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()
            pause_s = min(2 * pause_s, AGAIN_MAX_S)

    def _was_ordered(self, place: OrderPlace) -> bool:
        """Return whether the order itself has brought the ledger there meanwhile."""
        now = self._applying.place
        return now.index >= place.index and not now.leapt

    async def _reached(self, peer: str, place: OrderPlace) -> bool:
        """Fetch up to a place; return whether the ledger has come there."""
        logger.warning("fetching pruned blocks", extra={"peer": peer, "index": place.index})
        try:
            await self._fetch(peer, place)
        except (EngineError, ConsensusError, TimeoutError) as error:
            reason = str(error) or f"no block came within {SILENT_MAX_S:g} s"
            logger.warning("state transfer broke off", extra={"peer": peer, "reason": reason})
            return False
        logger.info("state transfer done", extra={"peer": peer, "index": place.index})
        return True

    async def _fetch(self, peer: str, place: OrderPlace) -> None:
        loop = asyncio.get_running_loop()
        height = self._height()
        last_index = 0
        async with (
            asyncio.timeout(SILENT_MAX_S) as silence,
            aclosing(self._peers.fetch_blocks(peer, height + 1)) as fetched,
        ):
            async for found, ordered in fetched:
                if ordered.index > place.index:
                    break
                if found != height + 1 or ordered.index <= last_index:
                    raise PeerUnreachable(
                        f"{peer} gave height {found} at index {ordered.index} after height {height}"
                        f" at index {last_index}; it is asked again"
                    )
                height, last_index = found, ordered.index
                await loop.run_in_executor(None, self._applying.push, Fetched(ordered))
                silence.reschedule(loop.time() + SILENT_MAX_S)
        ended: asyncio.Future[bool] = loop.create_future()

        def settle(good: bool) -> None:
            if not ended.done():  # as it is where this transfer was stopped
                ended.set_result(good)

        def done(good: bool) -> None:
            loop.call_soon_threadsafe(settle, good)

        await loop.run_in_executor(None, self._applying.push, FetchedAll(place, done))
        if not await ended:
            raise PeerUnreachable(f"{peer} gave a block that breaks a rule; another is asked")
        self._installed(place)
