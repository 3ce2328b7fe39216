"""Voters that give the blocks of ledgers in memory, and do nothing else."""

import asyncio
from collections.abc import AsyncGenerator

from lotmark.block import parse_block_head
from lotmark_consensus.ordering import Ordered
from lotmark_consensus.raft.wire import Wire
from lotmark_node.engine.errors import PeerUnreachable
from lotmark_node.engine.peers import Broken, ForwardLink, Refused
from tests.node.ledger_in_memory import LedgerInMemory

Blocks = list[tuple[int, Ordered]]


def blocks_of(whole: LedgerInMemory, height: int) -> Blocks:
    """Return a ledger's blocks as a voter at a height gives them."""
    return [(at, ordered(at, raw)) for at, (raw, _) in enumerate(whole.blocks[:height], 1)]


def ordered(index: int, raw: bytes) -> Ordered:
    return Ordered(index=index, term=1, time_ms=parse_block_head(raw)[0].time_ms, block=raw)


class LedgersOfOthers:
    """`Peers` that give blocks.

    Attributes:
        given: By voter: its blocks. Who is missing does not answer.
        asked: Whom, and from which height.
        silent: Who gives no end: it answers, and nothing comes any more.
    """

    def __init__(self, given: dict[str, Blocks]) -> None:
        self.given = given
        self.asked: list[tuple[str, int]] = []
        self.silent: set[str] = set()

    @property
    def wire(self) -> Wire:
        raise NotImplementedError

    def forward_to(self, peer: str, refused: Refused, broken: Broken) -> ForwardLink:
        raise NotImplementedError

    async def read_index(self, peer: str) -> int:
        raise NotImplementedError

    async def fetch_blocks(
        self, peer: str, from_height: int
    ) -> AsyncGenerator[tuple[int, Ordered], None]:
        self.asked.append((peer, from_height))
        if peer not in self.given:
            raise PeerUnreachable(f"{peer} is unplugged")
        for height, block in self.given[peer]:
            if height >= from_height:
                yield height, block
        if peer in self.silent:
            await asyncio.Event().wait()
