"""State transfer: the blocks that the leader's order no longer holds, fetched from its ledger."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing

from lotmark_node.engine.applying import ApplyLoop, Fetched, FetchedAll
from lotmark_node.engine.errors import EngineError, PeerUnreachable
from lotmark_node.engine.peers import Peers
from lotmark_node.engine.store import OrderPlace

logger = logging.getLogger(__name__)


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
        self._task: asyncio.Task[None] | None = None

    def begin(self, peer: str, place: OrderPlace) -> None:
        """Fetch up to a place, unless a transfer is under way: the leader points again."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(peer, place))

    async def stop(self) -> None:
        """End a transfer that is under way; it goes on from where it was another time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, peer: str, place: OrderPlace) -> None:
        logger.warning("fetching pruned blocks", extra={"peer": peer, "index": place.index})
        try:
            await self._fetch(peer, place)
        except EngineError as error:
            logger.warning("state transfer broke off", extra={"peer": peer, "reason": str(error)})

    async def _fetch(self, peer: str, place: OrderPlace) -> None:
        loop = asyncio.get_running_loop()
        height = self._height()
        last_index = 0
        async with aclosing(self._peers.fetch_blocks(peer, height + 1)) as fetched:
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
        ended: asyncio.Future[bool] = loop.create_future()

        def done(good: bool) -> None:
            loop.call_soon_threadsafe(ended.set_result, good)

        await loop.run_in_executor(None, self._applying.push, FetchedAll(place, done))
        if not await ended:
            raise PeerUnreachable(f"{peer} gave a block that breaks a rule; another is asked")
        self._installed(place)
        logger.info("state transfer done", extra={"peer": peer, "index": place.index})
