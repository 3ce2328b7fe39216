"""The ledger between two blocks: all that the next block's result depends on."""

from dataclasses import dataclass

from lotmark.block import BASES_MAX
from lotmark.merkle import Frontier
from lotmark_node.state_machine import lthash
from lotmark_node.state_machine.batch_rules import Quotas
from lotmark_node.state_machine.duplicate_window import DuplicateWindow
from lotmark_node.state_machine.state import StateReader
from lotmark_node.state_machine.tables import LogHead, Table, parse_heads, row_key


@dataclass(slots=True, kw_only=True)
class LedgerState:
    """Rows, digest and log head after the block of `height`; moves from block to block."""

    chain_id: bytes
    policy_digest: bytes
    quotas: Quotas
    reader: StateReader
    window: DuplicateWindow
    lanes: lthash.Lanes
    frontier: Frontier
    height: int
    time_ms: int
    close_index: int
    term: int
    counter: int
    bases: list[LogHead]  # newest heads, this one included, ascending

    @property
    def size(self) -> int:
        """The tree size."""
        return self.frontier.size


HEAD_KEY = row_key(Table.HEAD)


def read_parameter(reader: StateReader, name: str) -> int:
    """Return a parameter of the chain."""
    raw = reader.get(row_key(Table.PARAMETER, name.encode("ascii")))
    assert raw is not None, f"the genesis writes parameter {name}"
    return int.from_bytes(raw, "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """What of a `LedgerState` does not stand in its rows: kept beside them after every block."""

    height: int
    time_ms: int
    close_index: int
    lanes: bytes
    frontier: Frontier


def load_state(
    reader: StateReader, position: LogPosition, *, chain_id: bytes, policy_digest: bytes
) -> LedgerState:
    """Return the ledger as rows and position leave it: after a restart, or at a range's start."""
    raw = reader.get(HEAD_KEY)
    heads, term, counter = ([], 0, 0) if raw is None else parse_heads(raw)
    frontier = position.frontier
    newest = LogHead(position.height, frontier.size, frontier.root())
    return LedgerState(
        chain_id=chain_id,
        policy_digest=policy_digest,
        quotas=Quotas(
            events=read_parameter(reader, "quota_events"),
            size=read_parameter(reader, "quota_bytes"),
            signatures=read_parameter(reader, "quota_signatures"),
            state_keys=read_parameter(reader, "quota_state_keys"),
        ),
        reader=reader,
        window=DuplicateWindow.load(reader, read_parameter(reader, "duplicate_window_events")),
        lanes=lthash.lanes_from_bytes(position.lanes),
        frontier=frontier,
        height=position.height,
        time_ms=position.time_ms,
        close_index=position.close_index,
        term=term,
        counter=counter,
        bases=[*heads, newest][-BASES_MAX:],
    )
