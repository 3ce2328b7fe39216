"""A test build of `lotmark node run`: files beside its settings switch faults on and off.

- `clock-shift-ms`: the node's clock is so far ahead, or behind where that is negative.
- `write-delay-s`: each write of the order's log takes so much longer, in the thread that waits for
  the disk: what a disk does whose fsync is slow.
- `lie`: "<how> <victim>", as `Lie` says.

Everything else is the node's own code, in a process of its own.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

from lotmark.key_file import read_key_file
from lotmark_consensus.raft.log_store import Writes
from lotmark_consensus.raft.rocks_log import RocksLogStore
from lotmark_node import compose
from lotmark_node.engine import ledger_engine
from lotmark_node.main import app
from lotmark_node.node_settings import read_node_settings
from lotmark_node.rpc import grpc_peers
from tests.network.lying_wire import LyingWire

CLOCK_SHIFT, WRITE_DELAY, LIE = "clock-shift-ms", "write-delay-s", "lie"


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


def shifted(now_ms: Callable[[], int], shift_file: Path) -> int:
    return now_ms() + int(read_fault(shift_file) or 0)


def main(settings_file: Path) -> None:
    folder = settings_file.parent
    key = read_key_file(read_node_settings(settings_file).proposal_key)
    SlowLogStore.delay_file = folder / WRITE_DELAY
    with (
        patch.object(compose, "now_ms", partial(shifted, compose.now_ms, folder / CLOCK_SHIFT)),
        patch.object(ledger_engine, "RocksLogStore", SlowLogStore),
        patch.object(
            grpc_peers,
            "GrpcWire",
            partial(LyingWire, key=key, lie=partial(read_fault, folder / LIE)),
        ),
    ):
        app(["node", "run", str(settings_file), "--json"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
