"""What governs, with proofs: for receipts, for snapshots of a range, and beside checkpoints."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from lotmark.entry import EntryKind, parse_leaf_data
from lotmark.governance import proposal_bytes, proposal_hash
from lotmark.key_grant import KeyPurpose
from lotmark.key_rules import key_row
from lotmark.snapshot import GovernanceEntry
from lotmark.state_rows import ProposalStatus, parse_proposal_row, proposal_key
from lotmark.v1 import event_pb2, governance_pb2
from lotmark.verify.governance_chain import ProvenLeaf
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.store import LedgerStore


@dataclass(frozen=True, slots=True)
class _Governing:
    """An entry that governs."""

    index: int
    height: int
    event: bytes  # empty: a close
    leaf: bytes
    batch_key: bytes | None = None  # that it registers or revokes; b"": of operators; None: neither
    replaces: bytes = b""
    proposal: bytes = b""  # hash of the one that it opens or approves


class GovernanceProofs:
    """Reads from one ledger; what was read is kept, as every receipt needs it."""

    def __init__(self, store: LedgerStore, reader: LogReader, chain_id: bytes) -> None:
        self._store = store
        self._chain_id = chain_id
        self._reader = reader
        self._lock = threading.Lock()  # exports read on a thread of their own
        self._known: list[_Governing] = []
        self._ends: dict[bytes, int | None] = {}  # proposal -> height that carried it out, or None

    def all_before(self, size: int) -> Iterator[GovernanceEntry]:
        """Return all that governs in the tree of `size`, in order."""
        for each in self._governing(size):
            yield self._proven(each, size)

    def of_signer(self, signer: bytes | None, size: int) -> list[GovernanceEntry]:
        """Return what a verifier needs to know the policy and a signer key.

        Other batch keys and operators are left out: nothing else depends on them. So are proposals
        that were never carried out: a party opens as many as it likes, and which of them are void
        may depend on keys that are left out.

        Args:
            signer: A batch key; None: the policy alone.
            size: Of the tree in which the paths are.
        """
        governing = self._governing(size)
        wanted: set[bytes | None] = {signer}
        for each in reversed(governing):
            if each.batch_key in wanted and each.replaces:
                wanted.add(each.replaces)
        activated = self._activated(governing)
        heights = set(activated.values())
        return [
            self._proven(each, size)
            for each in governing
            if (each.batch_key is None or each.batch_key in wanted)
            and (not each.proposal or each.proposal in activated)
            and (each.event or each.height in heights)
        ]

    def _activated(self, governing: Iterable[_Governing]) -> dict[bytes, int]:
        """Return the proposals that were carried out, and at the end of which height."""
        with self._lock:
            named = {each.proposal for each in governing if each.proposal}
            for hashed in named - self._ends.keys():
                raw = self._store.get(proposal_key(hashed))
                assert raw is not None, "what is opened or approved has a row"
                row = parse_proposal_row(raw)
                if row.status is not ProposalStatus.OPEN:
                    is_done = row.status is ProposalStatus.ACTIVATED
                    self._ends[hashed] = row.decided_height if is_done else None
            return {hashed: end for hashed, end in self._ends.items() if end is not None}

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
        found = _Governing(index, head.height, entry.event, entry.leaf_data)
        if head.kind is EntryKind.BLOCK_CLOSE:
            return found
        message = event_pb2.Event.FromString(entry.event)
        match message.WhichOneof("body"):
            case "key_registration":
                grant = message.key_registration.grant
                is_batch = grant.purpose == governance_pb2.KEY_PURPOSE_BATCH
                key = grant.key if is_batch else None
                return replace(found, batch_key=key, replaces=grant.replaces)
            case "key_revocation":
                row = key_row(self._store, message.key_revocation.key)
                is_batch = row is not None and row.purpose == KeyPurpose.BATCH
                return replace(found, batch_key=message.key_revocation.key if is_batch else None)
            case "operator_registration" | "operator_revocation":
                return replace(found, batch_key=b"")
            case "governance_proposal":
                raw = proposal_bytes(message.governance_proposal.proposal)
                return replace(found, proposal=proposal_hash(self._chain_id, raw))
            case "governance_approval":
                return replace(found, proposal=message.governance_approval.proposal)
            case _:
                return found
