"""What tests read from a ledger's rows."""

from collections.abc import Mapping

from lotmark.outcome import Outcome
from lotmark.state_rows import key_row
from lotmark_node.state_machine import lthash
from lotmark_node.state_machine.batch_rules import lane_row
from lotmark_node.state_machine.tables import (
    Counters,
    KeyRow,
    LaneRow,
    Table,
    Usage,
    parse_counters,
    parse_usage,
    row_key,
)
from lotmark_node.state_machine.transition import MINUTE_MS, BlockEffects
from tests.node.ledger_in_memory import LedgerInMemory
from tests.proto.sample_genesis import private_key


def batch_key(holder: str) -> bytes:
    """Return the public key of a holder of a batch key, "<party>/<holder>"."""
    return private_key(f"{holder} BATCH").public


def lane(ledger: LedgerInMemory, holder: str, number: int = 0) -> LaneRow:
    return lane_row(ledger.rows, batch_key(holder), number)


def key(ledger: LedgerInMemory, holder: str) -> KeyRow | None:
    return key_row(ledger.rows, batch_key(holder))


def counters(ledger: LedgerInMemory, party: str) -> Counters:
    return parse_counters(ledger.rows.get(row_key(Table.COUNTER, party.encode())))


def usage(ledger: LedgerInMemory, party: str) -> Usage:
    raw = ledger.rows.get(row_key(Table.QUOTA, party.encode()))
    return parse_usage(raw, ledger.state.time_ms // MINUTE_MS)


def rows(ledger: LedgerInMemory, *tables: Table) -> Mapping[bytes, bytes]:
    """Return all rows, or those of some tables."""
    return {
        key: value for key, value in ledger.rows.rows(b"") if not tables or Table(key[0]) in tables
    }


def batch_outcomes(effects: BlockEffects) -> list[Outcome]:
    return [Outcome(result.outcome) for result in effects.results.batches]


def event_outcomes(effects: BlockEffects) -> list[Outcome]:
    """Return the outcomes of all events of a block."""
    return [
        Outcome(outcome) for result in effects.results.batches for outcome in result.event_outcomes
    ]


def digest_of_all_rows(ledger: LedgerInMemory) -> bytes:
    """Return the state digest, computed from every row anew."""
    elements = [lthash.row_bytes(key, value) for key, value in ledger.rows.rows(b"")]
    return lthash.digest(lthash.sum_elements(elements))
