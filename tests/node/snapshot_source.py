"""Snapshots of ledgers in memory."""

import io
from collections.abc import Iterator

from lotmark.block import parse_block
from lotmark.block_results import leaves, parse_results
from lotmark.entry import EntryKind, parse_leaf_data
from lotmark.merkle import Frontier, inclusion_path
from lotmark.snapshot import GovernanceEntry, SnapshotStart, write_snapshot
from lotmark.v1 import event_pb2
from tests.node.ledger_in_memory import LedgerInMemory


class SourceInMemory:
    """What `write_snapshot` needs, from a ledger in memory."""

    def __init__(self, ledger: LedgerInMemory, note: bytes | None = None) -> None:
        """Take a ledger and, where it is not to be cosigned by all, the checkpoint."""
        self._ledger = ledger
        self._note = note

    def genesis(self) -> bytes:
        return self._ledger.genesis_bytes

    def acceptances(self) -> bytes:
        return self._ledger.acceptance_bytes

    def blocks(self, first_height: int, last_height: int) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._ledger.blocks[first_height - 1 : last_height])

    def checkpoint_note(self, height: int) -> bytes:
        return self._note or self._ledger.checkpoint_note(size=self._ledger.sizes[height])

    def start(self, height: int) -> SnapshotStart:
        size = self._ledger.sizes[height]
        frontier = Frontier()
        frontier.extend(self._ledger.leaf_hashes[:size])
        path = inclusion_path(self._ledger.leaf_hashes[:size], size - 1)
        return SnapshotStart(frontier, self._ledger.leaf_data[size - 1], tuple(path))

    def governance(self, height: int) -> Iterator[GovernanceEntry]:
        hashes = self._ledger.leaf_hashes[: self._ledger.sizes[height]]
        for block, results in self._ledger.blocks[:height]:
            for leaf, event in leaves(parse_block(block).batches, parse_results(results)):
                head, _ = parse_leaf_data(leaf)
                if head.kind is EntryKind.EVENT and not head.outcome and _is_about_keys(event):
                    yield GovernanceEntry(event, leaf, tuple(inclusion_path(hashes, head.index)))

    def state_rows(self, height: int) -> Iterator[tuple[bytes, bytes]]:
        replayed = LedgerInMemory(self._ledger.genesis)
        for block, _ in self._ledger.blocks[:height]:
            replayed.apply(block)
        return replayed.rows.rows(b"")


def _is_about_keys(event: bytes) -> bool:
    body = event_pb2.Event.FromString(event).WhichOneof("body")
    return body in ("key_registration", "key_revocation")


def snapshot_of(
    ledger: LedgerInMemory,
    *,
    first_height: int = 1,
    last_height: int | None = None,
    note: bytes | None = None,
) -> bytes:
    """Return the snapshot file of a ledger."""
    out = io.BytesIO()
    write_snapshot(
        out,
        SourceInMemory(ledger, note),
        first_height=first_height,
        last_height=ledger.height if last_height is None else last_height,
    )
    return out.getvalue()
