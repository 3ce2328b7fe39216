"""Height 0: the rows and the two entries that follow from the genesis alone."""

import hashlib
from dataclasses import dataclass

from lotmark import genesis as protocol_genesis
from lotmark.entry import NO_INDEX, BlockClose, EntryHead, EntryKind, leaf_data, parse_leaf_data
from lotmark.genesis import Genesis
from lotmark.key_grant import NEVER, KeyPurpose
from lotmark.merkle import EMPTY_ROOT, Frontier, leaf_hash
from lotmark_node.state_machine import lthash
from lotmark_node.state_machine.ledger_state import LogPosition
from lotmark_node.state_machine.state import StateChanges, StateInMemory
from lotmark_node.state_machine.tables import KeyRow, PartyRow, Table, row_key, u64


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
    _write_rows(changes, genesis, chain_id)
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
        policy_digest=policy_digest(genesis, chain_id),
    )
    close_head = EntryHead(
        kind=EntryKind.BLOCK_CLOSE, index=1, height=0, time_ms=genesis.created_ms
    )
    leaves = leaf_data(head, chain_id), leaf_data(close_head, close.encode())
    return GenesisBlock(leaves, changes, lanes)


def policy_digest(genesis: Genesis, chain_id: bytes) -> bytes:
    """Return the digest of the policy that the genesis implies."""
    return hashlib.sha256(protocol_genesis.policy_text(genesis, chain_id)).digest()


def _write_rows(state: StateChanges, genesis: Genesis, chain_id: bytes) -> None:
    """Write the rows of height 0."""
    parameters = genesis.parameters
    for name in parameters.__dataclass_fields__:
        key = row_key(Table.PARAMETER, name.encode("ascii"))
        state.put(key, u64(getattr(parameters, name)))
    for party in genesis.parties:
        row = PartyRow(
            role=party.role,
            threshold=party.threshold,
            roots=party.roots,
            ca_digest=hashlib.sha256(party.ca_pem.encode("ascii")).digest(),
        )
        state.put(row_key(Table.PARTY, party.id.encode("ascii")), row.encode())
        for root in party.roots:
            key_row = KeyRow(
                purpose=KeyPurpose.ROOT,
                from_height=0,
                not_before_ms=0,
                not_after_ms=NEVER,
                party=party.id,
                holder="root",
            )
            state.put(row_key(Table.KEY, root), key_row.encode())
    for first in genesis.keys:
        grant = first.grant
        key_row = KeyRow(
            purpose=grant.purpose,
            from_height=0,
            not_before_ms=grant.not_before_ms,
            not_after_ms=grant.not_after_ms,
            party=grant.party,
            holder=grant.holder,
            event_types=grant.event_types,
        )
        state.put(row_key(Table.KEY, grant.key), key_row.encode())
    state.put(row_key(Table.POLICY), protocol_genesis.policy_text(genesis, chain_id))
