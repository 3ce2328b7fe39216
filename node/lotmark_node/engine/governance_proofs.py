"""What governs, with proofs: for receipts, for snapshots of a range, and beside checkpoints."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from lotmark.entry import EntryKind, parse_leaf_data
from lotmark.key_grant import KeyPurpose
from lotmark.key_rules import key_row
from lotmark.snapshot import GovernanceEntry
from lotmark.v1 import event_pb2, governance_pb2
from lotmark.verify.governance_chain import ProvenLeaf
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.store import LedgerStore


@dataclass(frozen=True, slots=True)
class _Governing:
    """An entry that governs."""

    index: int
    event: bytes  # empty: a close
    leaf: bytes
    batch_key: bytes | None  # that it registers or revokes; b"": of operators; None: neither
    replaces: bytes = b""


class GovernanceProofs:
    """Reads from one ledger; what was read is kept, as every receipt needs it."""

    def __init__(self, store: LedgerStore, reader: LogReader) -> None:
        self._store = store
        self._reader = reader
        self._lock = threading.Lock()  # exports read on a thread of their own
        self._known: list[_Governing] = []

    def all_before(self, size: int) -> Iterator[GovernanceEntry]:
        """Return all that governs in the tree of `size`, in order."""
        for each in self._governing(size):
            yield self._proven(each, size)

    def of_signer(self, signer: bytes | None, size: int) -> list[GovernanceEntry]:
        """Return what a verifier needs to know the policy and a signer key.

        Other batch keys and operators are left out: nothing else depends on them.

        Args:
            signer: A batch key; None: the policy alone.
            size: Of the tree in which the paths are.
        """
        governing = self._governing(size)
        wanted: set[bytes | None] = {signer}
        for each in reversed(governing):
            if each.batch_key in wanted and each.replaces:
                wanted.add(each.replaces)
        return [
            self._proven(each, size)
            for each in governing
            if each.batch_key is None or each.batch_key in wanted
        ]

    def last_close(self, size: int) -> ProvenLeaf:
        """Return the last entry of the tree of `size`, a close."""
        leaf = self._reader.entry(size - 1).leaf_data
        return ProvenLeaf(leaf, self._store.tree.inclusion_path(size - 1, size))

    def _proven(self, each: _Governing, size: int) -> GovernanceEntry:
        path = tuple(self._store.tree.inclusion_path(each.index, size))
        return GovernanceEntry(each.event, each.leaf, path)

    def _governing(self, size: int) -> list[_Governing]:
        with self._lock:
            first = self._known[-1].index + 1 if self._known else 0
            for index in self._store.governing(first, size):
                self._known.append(self._read(index))
            return [each for each in self._known if each.index < size]

    def _read(self, index: int) -> _Governing:
        entry = self._reader.entry(index)
        head, _ = parse_leaf_data(entry.leaf_data)
        if head.kind is EntryKind.BLOCK_CLOSE:
            return _Governing(index, b"", entry.leaf_data, None)
        message = event_pb2.Event.FromString(entry.event)
        match message.WhichOneof("body"):
            case "key_registration":
                grant = message.key_registration.grant
                is_batch = grant.purpose == governance_pb2.KEY_PURPOSE_BATCH
                key = grant.key if is_batch else None
                return _Governing(index, entry.event, entry.leaf_data, key, grant.replaces)
            case "key_revocation":
                row = key_row(self._store, message.key_revocation.key)
                is_batch = row is not None and row.purpose == KeyPurpose.BATCH
                key = message.key_revocation.key if is_batch else None
                return _Governing(index, entry.event, entry.leaf_data, key)
            case "operator_registration" | "operator_revocation":
                return _Governing(index, entry.event, entry.leaf_data, b"")
            case _:
                return _Governing(index, entry.event, entry.leaf_data, None)
