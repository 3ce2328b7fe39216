"""A test build of `lotmark node run`: files beside its settings switch faults on and off.

- `clock-shift-ms`: the node's clock is so far ahead, or behind where that is negative.
- `write-delay-s`: each write of the order's log takes so much longer, in the thread that waits for
  the disk: what a disk does whose fsync is slow.
- `lie`: "<how> <victim>", as `Lie` says.
- `spoilt`: the node reads other counters of events from its state than it has written.
- `kept-entries`: so few entries of the order are kept; the ledger is synced as often; read once.

Everything else is the node's own code, in a process of its own.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

from lotmark.key_file import read_key_file
from lotmark_consensus.raft import kept_tail
from lotmark_consensus.raft.log_store import Writes
from lotmark_consensus.raft.rocks_log import RocksLogStore
from lotmark_node import compose
from lotmark_node.engine import applying, ledger_engine
from lotmark_node.engine.store import LedgerStore
from lotmark_node.main import app
from lotmark_node.node_settings import read_node_settings
from lotmark_node.rpc import grpc_peers
from lotmark_node.state_machine.tables import Table
from tests.network.lying_wire import LyingWire

CLOCK_SHIFT, WRITE_DELAY, LIE, SPOILT = "clock-shift-ms", "write-delay-s", "lie", "spoilt"
KEPT_ENTRIES = "kept-entries"


def read_fault(file: Path) -> str:
    """Return what a fault's file says; nothing: the fault is switched off."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""


class SlowLogStore(RocksLogStore):
    """A log whose disk is slow while a file says so."""

    delay_file: Path

    def write(self, writes: Writes) -> None:
        time.sleep(float(read_fault(self.delay_file) or 0))
        super().write(writes)


class SpoiltStore(LedgerStore):
    """A ledger's rows, of which some are read as they were not written while a file is there."""

    spoilt_file: Path

    def get(self, key: bytes) -> bytes | None:
        value = super().get(key)
        if value is not None and key[0] == Table.COUNTER and self.spoilt_file.exists():
            return value[:-1] + bytes([value[-1] ^ 1])
        return value


def shifted(now_ms: Callable[[], int], shift_file: Path) -> int:
    return now_ms() + int(read_fault(shift_file) or 0)


def main(settings_file: Path) -> None:
    folder = settings_file.parent
    key = read_key_file(read_node_settings(settings_file).proposal_key)
    SlowLogStore.delay_file = folder / WRITE_DELAY
    SpoiltStore.spoilt_file = folder / SPOILT
    kept_entries = int(read_fault(folder / KEPT_ENTRIES) or kept_tail.KEPT_ENTRIES)
    with (
        patch.object(compose, "now_ms", partial(shifted, compose.now_ms, folder / CLOCK_SHIFT)),
        patch.object(ledger_engine, "RocksLogStore", SlowLogStore),
        patch.object(kept_tail, "KEPT_ENTRIES", kept_entries),
        patch.object(applying, "BLOCKS_PER_SYNC", min(kept_entries, applying.BLOCKS_PER_SYNC)),
        patch.object(ledger_engine, "LedgerStore", SpoiltStore),
        patch.object(
            grpc_peers,
            "GrpcWire",
            partial(LyingWire, key=key, lie=partial(read_fault, folder / LIE)),
        ),
    ):
        app(["node", "run", str(settings_file), "--json"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
