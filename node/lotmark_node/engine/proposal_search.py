"""Finds out where the other voters' blocks part from this node's, and who proposed both.

Once somebody has signed another tree, or a block stands on another, this node asks the other voters
for their blocks. Two that one leader signed for one place convict it: they are kept as evidence.
Where a majority of the voters holds another block than this node, this node's ledger is not the
one that they have ordered, and it stops.
"""

import asyncio
import enum
import logging
from collections.abc import Callable
from contextlib import aclosing

from lotmark import ed25519
from lotmark import genesis as protocol_genesis
from lotmark.block import Proposal, parse_block_head
from lotmark.errors import ProtocolError, SignatureError
from lotmark.evidence import check_evidence, proposals_evidence
from lotmark.genesis import Genesis
from lotmark.key_grant import KeyPurpose
from lotmark.state_rows import key_row
from lotmark_consensus.ordering import Ordered
from lotmark_node.engine.errors import EngineError, HistoryConflict, PeerUnreachable
from lotmark_node.engine.evidence_folder import EvidenceFolder
from lotmark_node.engine.peers import Peers
from lotmark_node.engine.store import LedgerStore

logger = logging.getLogger(__name__)

BLOCKS_MAX = 10_000  # that are compared with each voter, the newest of those in question
COMPARE_MAX_S = 30.0  # for one voter's blocks
ROUNDS_MAX = 10  # while a voter does not answer, or has not got there
PAUSE_S = 1.0  # between two rounds


SignedHead = tuple[Proposal, bytes]


class _Found(enum.Enum):
    """What a voter's blocks are, beside this node's."""

    SAME = enum.auto()
    FEWER = enum.auto()  # the same, as far as one of the two has got
    OTHERS = enum.auto()


class ProposalSearch:
    """Compares blocks with every other voter, one after the other; on the event loop."""

    def __init__(
        self,
        peers: Peers,
        store: LedgerStore,
        evidence: EvidenceFolder,
        genesis: Genesis,
        *,
        name: str,
        ordered_index: Callable[[], int],
        height: Callable[[], int],
        shared_height: Callable[[], int],
        on_conflict: Callable[[HistoryConflict], None],
    ) -> None:
        """Make it; nobody is asked before `begin`.

        Args:
            peers: The other voters.
            store: This node's blocks.
            evidence: Takes what is found.
            genesis: Names the voters and their keys.
            name: This node's.
            ordered_index: How far of the order the ledger is; it is asked before `height`.
            height: The height that the ledger has now.
            shared_height: Up to which height this node knows that all hold the same.
            on_conflict: Told when a majority of the voters holds another block, once.
        """
        self._peers = peers
        self._store = store
        self._evidence = evidence
        self._genesis = genesis
        self._chain_id = protocol_genesis.chain_id(genesis.to_json())
        voters = [f"{voter.party}/{voter.node}" for voter in genesis.voters]
        self._majority_count = len(voters) // 2 + 1
        self._others = [voter for voter in voters if voter != name]
        self._ordered_index = ordered_index
        self._height = height
        self._shared_height = shared_height
        self._on_conflict = on_conflict
        self._wanted_height = 0
        self._is_over = False
        self._convicted = False
        self._task: asyncio.Task[None] | None = None

    def begin(self, height: int) -> None:
        """Compare blocks up to a height, after those that are being compared.

        Args:
            height: Where the others differ at the latest; one more than the ledger's where they may
                hold a block that this node has passed over.
        """
        self._wanted_height = max(self._wanted_height, height)
        if not self._is_over and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; what is on disk stays."""
        self._is_over = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while self._wanted_height and not self._is_over:
            height, self._wanted_height = self._wanted_height, 0
            for _ in range(ROUNDS_MAX):
                if await self._ask_all(height):
                    break
                await asyncio.sleep(PAUSE_S)

    async def _ask_all(self, last: int) -> bool:
        """Compare with every other voter; return whether asking again would tell nothing new."""
        first = min(max(self._shared_height() + 1, last - BLOCKS_MAX + 1), last)
        others, is_settled = [], True
        for voter in self._others:
            found = await self._ask(voter, first, last)
            if found is _Found.OTHERS:
                others.append(voter)
            is_settled &= found in (_Found.SAME, _Found.OTHERS)
        if len(others) < self._majority_count:
            return is_settled
        self._is_over = True
        self._on_conflict(
            HistoryConflict(
                f"{' and '.join(others)}, a majority of the voters, hold other blocks than this"
                f" node, between heights {first} and {last}. Leave this node stopped, keep its"
                " whole folder, see in its `evidence` whether a leader is convicted, and replace it"
                " by a node with a new id and new keys"
            )
        )
        return True

    async def _ask(self, voter: str, first: int, last: int) -> _Found | None:
        """Compare with one voter; None: it does not answer, or not like this."""
        try:
            async with asyncio.timeout(COMPARE_MAX_S):
                return await self._compare(voter, first, last)
        except (EngineError, TimeoutError) as error:
            reason = str(error) or f"no end within {COMPARE_MAX_S:g} s"
            logger.warning("blocks not compared", extra={"peer": voter, "reason": reason})
            return None

    async def _compare(self, voter: str, first: int, last: int) -> _Found:
        height = first
        async with aclosing(self._peers.fetch_blocks(voter, first)) as fetched:
            async for found, theirs in fetched:
                if found != height:
                    raise PeerUnreachable(f"{voter} gave height {found} in place of {height}")
                passed_index = self._ordered_index()
                if height > self._height():
                    # What stands in the order where this node has been already, it passed over.
                    return _Found.OTHERS if theirs.index <= passed_index else _Found.FEWER
                ours = self._store.ordered(height)
                if theirs.block != ours.block:
                    logger.error(
                        "a voter holds another block", extra={"peer": voter, "height": height}
                    )
                    await self._convict(voter, ours, theirs)
                    return _Found.OTHERS
                if height == last:
                    return _Found.SAME
                height += 1
        return _Found.FEWER

    def _is_by_later_key(self, first: SignedHead, second: SignedHead) -> bool:
        """Return whether a proposal key that the genesis does not have has signed both blocks.

        The file then convicts whom the ledger gives that key; by the genesis alone nobody can tell.
        """
        one, other = first[0], second[0]
        row = key_row(self._store, one.key)
        places = [(each.chain_id, each.key, each.term, each.counter) for each in (one, other)]
        if row is None or row.purpose != KeyPurpose.PROPOSAL or places[0] != places[1]:
            return False
        try:
            for proposal, signature in (first, second):
                ed25519.verify(proposal.key, proposal.signed_message(), signature)
        except SignatureError:
            return False
        return one.digest() != other.digest()

    async def _convict(self, voter: str, ours: Ordered, theirs: Ordered) -> None:
        """Keep two blocks of one place, if one key has signed both."""
        first, second = parse_block_head(ours.block), parse_block_head(theirs.block)
        raw = proposals_evidence(self._chain_id, first, second)
        try:
            check_evidence(raw, self._genesis, self._chain_id)
        except ProtocolError as error:
            if not self._is_by_later_key(first, second):
                extra = {"peer": voter, "reason": str(error)}
                logger.warning("no leader is convicted", extra=extra)
                return
        proposal, other = first[0], second[0]
        name = f"term-{proposal.term}-block-{proposal.counter}-{other.digest().hex()[:16]}.json"

        def keep() -> None:
            self._evidence.keep(
                name,
                raw,
                event="a leader has signed two blocks for one place",
                told={"shown_by": voter, "term": proposal.term, "counter": proposal.counter},
                at_any_price=not self._convicted,  # by whatever else the folder is full
            )

        await asyncio.get_running_loop().run_in_executor(None, keep)
        self._convicted = True
