"""The ledger between two blocks: all that the next block's result depends on."""

import hashlib
from dataclasses import dataclass

from lotmark.block import BASES_MAX
from lotmark.finality_policy import Chain
from lotmark.merkle import Frontier
from lotmark.state_rows import RowReader, parameter
from lotmark_node.state_machine import lthash
from lotmark_node.state_machine.batch_rules import Quotas
from lotmark_node.state_machine.duplicate_window import DuplicateWindow
from lotmark_node.state_machine.item_chain import ItemChain, ItemStore, load_item_chain
from lotmark_node.state_machine.item_epochs import ItemsInMemory
from lotmark_node.state_machine.packages_in_force import Packages, load_packages
from lotmark_node.state_machine.rule_rows import next_due_ms
from lotmark_node.state_machine.state import StateReader
from lotmark_node.state_machine.tables import LogHead, Table, parse_heads, row_key


@dataclass(slots=True, kw_only=True)
class LedgerState:
    """Rows, digest and log head after the block of `height`; moves from block to block."""

    chain: Chain
    policy_digest: bytes  # of the policy in force after this block
    quotas: Quotas
    reader: StateReader
    window: DuplicateWindow
    items: ItemChain
    packages: Packages
    next_due_ms: int | None  # of the timers that rules have set
    lanes: lthash.Lanes
    frontier: Frontier
    height: int
    time_ms: int
    close_index: int
    term: int
    counter: int
    bases: list[LogHead]  # newest heads, this one included, ascending

    @property
    def chain_id(self) -> bytes:
        """The chain's id."""
        return self.chain.id

    @property
    def size(self) -> int:
        """The tree size."""
        return self.frontier.size


HEAD_KEY = row_key(Table.HEAD)


POLICY_KEY = row_key(Table.POLICY)


def read_quotas(rows: RowReader) -> Quotas:
    """Return the quotas in force."""
    return Quotas(
        events=parameter(rows, "quota_events"),
        size=parameter(rows, "quota_bytes"),
        signatures=parameter(rows, "quota_signatures"),
        state_keys=parameter(rows, "quota_state_keys"),
    )


def read_policy_digest(rows: RowReader) -> bytes:
    """Return the digest of the policy in force."""
    return hashlib.sha256(read_policy(rows)).digest()


def read_policy(rows: RowReader) -> bytes:
    """Return the text of the policy in force."""
    text = rows.get(POLICY_KEY)
    assert text is not None, "height 0 has a policy"
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """What of a `LedgerState` does not stand in its rows: kept beside them after every block."""

    height: int
    time_ms: int
    close_index: int
    lanes: bytes
    frontier: Frontier


def load_state(
    reader: StateReader, position: LogPosition, *, chain: Chain, items: ItemStore | None = None
) -> LedgerState:
    """Return the ledger as rows and position leave it: after a restart, or at a range's start.

    Args:
        reader: The rows.
        position: What does not stand in them.
        chain: Whose ledger it is.
        items: What stands beside the state; None: nothing yet, as at height 0.
    """
    raw = reader.get(HEAD_KEY)
    heads, term, counter = ([], 0, 0) if raw is None else parse_heads(raw)
    frontier = position.frontier
    newest = LogHead(position.height, frontier.size, frontier.root())
    return LedgerState(
        chain=chain,
        policy_digest=read_policy_digest(reader),
        quotas=read_quotas(reader),
        reader=reader,
        window=DuplicateWindow.load(reader, parameter(reader, "duplicate_window_events")),
        items=load_item_chain(reader, items or ItemsInMemory()),
        packages=load_packages(reader),
        next_due_ms=next_due_ms(reader),
        lanes=lthash.lanes_from_bytes(position.lanes),
        frontier=frontier,
        height=position.height,
        time_ms=position.time_ms,
        close_index=position.close_index,
        term=term,
        counter=counter,
        bases=[*heads, newest][-BASES_MAX:],
    )
