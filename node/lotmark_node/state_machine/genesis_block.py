"""Height 0: the rows and the two entries that follow from the genesis alone."""

from dataclasses import dataclass

from lotmark.entry import NO_INDEX, BlockClose, EntryHead, EntryKind, leaf_data, parse_leaf_data
from lotmark.founding_rows import put_founding_rows
from lotmark.genesis import Genesis
from lotmark.merkle import EMPTY_ROOT, Frontier, leaf_hash
from lotmark_node.state_machine import lthash
from lotmark_node.state_machine.ledger_state import LogPosition, read_policy_digest
from lotmark_node.state_machine.state import StateChanges, StateInMemory


@dataclass(frozen=True, slots=True)
class GenesisBlock:
    """What follows from a genesis."""

    leaves: tuple[bytes, bytes]  # leaf data of the genesis entry and of its close
    changes: StateChanges
    lanes: lthash.Lanes

    @property
    def position(self) -> LogPosition:
        """Where the log stands after height 0."""
        frontier = Frontier()
        frontier.extend([leaf_hash(leaf) for leaf in self.leaves])
        head, _ = parse_leaf_data(self.leaves[1])
        return LogPosition(
            height=0,
            time_ms=head.time_ms,
            close_index=1,
            lanes=self.lanes.tobytes(),
            frontier=frontier,
        )


def make_genesis_block(genesis: Genesis, chain_id: bytes) -> GenesisBlock:
    """Return height 0 of the ledger that a genesis founds."""
    changes = StateChanges(StateInMemory())
    put_founding_rows(changes, genesis, chain_id)
    lanes = lthash.updated(lthash.empty_lanes(), changes.changed())
    head = EntryHead(kind=EntryKind.GENESIS, index=0, height=0, time_ms=genesis.created_ms)
    close = BlockClose(
        height=0,
        time_ms=genesis.created_ms,
        previous_close_index=NO_INDEX,
        previous_size=0,
        previous_root=EMPTY_ROOT,
        proposal_digest=bytes(32),
        state_digest=lthash.digest(lanes),
        policy_digest=read_policy_digest(changes),
    )
    close_head = EntryHead(
        kind=EntryKind.BLOCK_CLOSE, index=1, height=0, time_ms=genesis.created_ms
    )
    leaves = leaf_data(head, chain_id), leaf_data(close_head, close.encode())
    return GenesisBlock(leaves, changes, lanes)
