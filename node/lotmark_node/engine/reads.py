"""How fresh an answer is: linearizable, at least as new as an entry, or whatever this node has."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from lotmark.errors import MalformedError
from lotmark_consensus.errors import ConsensusError
from lotmark_node.engine.errors import PeerUnreachable, StaleRead

logger = logging.getLogger(__name__)

WAIT_MAX_S = 5.0
ASK_AGAIN_S = 0.1


class Consistency(Enum):
    """What a reader asks of an answer."""

    LOCAL = "local"  # what this node has applied, however long ago that was ordered
    AT_LEAST = "at-least"  # not older than an entry that the reader knows of
    LINEARIZABLE = "linearizable"  # not older than anything acknowledged before the question


@dataclass(frozen=True, slots=True)
class ReadWish:
    """A consistency, with its entry where it has one."""

    consistency: Consistency = Consistency.LOCAL
    entry_index: int = 0  # for AT_LEAST


def parse_read_wish(text: str) -> ReadWish:
    """Return the wish that "local", "linearizable" or "at-least=<entry index>" stands for.

    Raises:
        MalformedError: It is none of them.
    """
    name, equals, index = text.partition("=")
    if name == "at-least" and index.isascii() and index.isdecimal() and len(index) <= 19:
        return ReadWish(Consistency.AT_LEAST, int(index))
    if not equals and name in {"local", "linearizable"}:
        return ReadWish(Consistency(name))
    raise MalformedError(
        f"{text[:80]!a} is no consistency; use local, linearizable or at-least=<entry index>"
    )


class Reads:
    """Waits until the ledger is as fresh as a reader wishes; on the event loop's thread."""

    def __init__(
        self,
        *,
        size: Callable[[], int],
        ordered_index: Callable[[], int],
        next_advance: Callable[[], asyncio.Event],
        read_index: Callable[[], Awaitable[int]],
    ) -> None:
        """Make it.

        Args:
            size: The ledger's tree size now.
            ordered_index: How far of the order the ledger is now.
            next_advance: An event that is set when either moves.
            read_index: Asks the leader for an index that covers all that was acknowledged.
        """
        self._size = size
        self._ordered_index = ordered_index
        self._next_advance = next_advance
        self._read_index = read_index

    async def reach(self, wish: ReadWish) -> None:
        """Return once an answer would be as fresh as wished.

        Raises:
            StaleRead: Not within `WAIT_MAX_S`.
        """
        if wish.consistency is Consistency.LOCAL:
            return
        try:
            async with asyncio.timeout(WAIT_MAX_S):
                if wish.consistency is Consistency.AT_LEAST:
                    await self._until(lambda: self._size() > wish.entry_index)
                else:
                    index = await self._ask_index()
                    await self._until(lambda: self._ordered_index() >= index)
        except TimeoutError as error:
            wished = wish.consistency.value
            raise StaleRead(
                f"no {wished} answer within {WAIT_MAX_S:g} s: this node has {self._size()} entries;"
                " ask another node, or ask for a local answer and take it as possibly stale"
            ) from error

    async def _ask_index(self) -> int:
        """Ask until a leader answers: while one is elected, none does."""
        while True:
            try:
                return await self._read_index()
            except (PeerUnreachable, ConsensusError) as error:
                logger.info("no index to read at", extra={"reason": str(error)})
                await asyncio.sleep(ASK_AGAIN_S)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while True:
            advance = self._next_advance()
            if condition():
                return
            await advance.wait()
