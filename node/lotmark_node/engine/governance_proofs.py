"""What governs, with proofs: for receipts, for snapshots of a range, and beside checkpoints."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby

from lotmark.entry import EntryKind, parse_leaf_data
from lotmark.governance import proposal_bytes, proposal_hash
from lotmark.key_grant import KeyPurpose
from lotmark.snapshot import GovernanceEntry
from lotmark.state_rows import ProposalStatus, key_row, parse_proposal_row, proposal_key
from lotmark.v1 import event_pb2, governance_pb2
from lotmark.verify.governance_chain import ProvenLeaf
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.store import LedgerStore
from lotmark_node.engine.stored_block import LogEntry


@dataclass(frozen=True, slots=True)
class _Governing:
    """An entry that governs."""

    index: int
    event: bytes  # empty: a close
    leaf: bytes


class GovernanceProofs:
    """Reads from one ledger; what was read is kept, as every receipt needs it.

    Of batch keys only the places are kept, by key, and of proposals that came to nothing nothing:
    a party makes as many as its bounds allow, and they must cost nobody else's receipt anything.
    """

    def __init__(self, store: LedgerStore, reader: LogReader, chain_id: bytes) -> None:
        self._store = store
        self._chain_id = chain_id
        self._reader = reader
        self._lock = threading.Lock()  # exports read on a thread of their own
        self._next_index = 0  # of the entries that were not looked at
        self._nodes: list[_Governing] = []  # about roots and nodes' keys
        self._batch_keys: dict[bytes, list[int]] = {}
        self._replaced: dict[bytes, bytes] = {}  # batch key -> the one whose place it took
        self._proposals: dict[bytes, list[_Governing]] = {}  # those open or carried out
        self._open: set[bytes] = set()
        self._activated: dict[bytes, int] = {}  # proposal -> height that carried it out
        self._closes: dict[int, _Governing] = {}  # by height: where proposals were carried out

    def all_before(self, size: int) -> Iterator[GovernanceEntry]:
        """Return all that governs in the tree of `size`, in order."""
        for entry in self._entries(self._store.governing(0, size)):
            yield self._proven(_Governing(entry.index, entry.event, entry.leaf_data), size)

    def of_signer(
        self, signer: bytes | None, size: int, *, with_open: bool = False
    ) -> list[GovernanceEntry]:
        """Return what a verifier needs to know the policy and a signer key.

        Other batch keys and operators are left out: nothing else depends on them. So are proposals
        that were never carried out: a party opens as many as it likes, and which of them are void
        may depend on keys that are left out.

        Args:
            signer: A batch key; None: the policy alone.
            size: Of the tree in which the paths are.
            with_open: Also the proposals that are still open, and their approvals.
        """
        with self._lock:
            self._look_at(size)
            hashes = self._open | self._activated.keys() if with_open else self._activated.keys()
            kept = [
                *self._nodes,
                *chain.from_iterable(self._proposals[hashed] for hashed in hashes),
                *self._closes.values(),
            ]
            indexes = self._indexes_of(signer)
        for entry in self._entries(indexes):
            kept.append(_Governing(entry.index, entry.event, entry.leaf_data))
        kept.sort(key=lambda each: each.index)
        return [self._proven(each, size) for each in kept if each.index < size]

    def _indexes_of(self, signer: bytes | None) -> list[int]:
        """Return which entries are about a batch key, or one that it replaces."""
        indexes: list[int] = []
        while signer in self._batch_keys:
            indexes += self._batch_keys[signer]
            signer = self._replaced.get(signer)
        return sorted(indexes)

    def last_close(self, size: int) -> ProvenLeaf:
        """Return the last entry of the tree of `size`, a close."""
        leaf = self._reader.entry(size - 1).leaf_data
        return ProvenLeaf(leaf, self._store.tree.inclusion_path(size - 1, size))

    def _proven(self, each: _Governing, size: int) -> GovernanceEntry:
        path = tuple(self._store.tree.inclusion_path(each.index, size))
        return GovernanceEntry(each.event, each.leaf, path)

    def _entries(self, indexes: Iterable[int]) -> Iterator[LogEntry]:
        """Return entries above height 0, ascending; each block is read once."""
        for height, group in groupby(indexes, self._store.height_of):
            wanted = set(group)
            for entry in self._reader.block_entries(height):
                if entry.index in wanted:
                    yield entry

    def _look_at(self, size: int) -> None:
        """Take in what governs in the tree of `size` and was not looked at yet."""
        closes: dict[int, _Governing] = {}
        for entry in self._entries(self._store.governing(self._next_index, size)):
            found = _Governing(entry.index, entry.event, entry.leaf_data)
            head, _ = parse_leaf_data(entry.leaf_data)
            if head.kind is EntryKind.BLOCK_CLOSE:
                closes[head.height] = found
            else:
                self._take(found)
            self._next_index = entry.index + 1
        for hashed in list(self._open):
            self._decide(hashed)
        heights = set(self._activated.values())
        self._closes |= {height: each for height, each in closes.items() if height in heights}

    def _take(self, found: _Governing) -> None:
        message = event_pb2.Event.FromString(found.event)
        match message.WhichOneof("body"):
            case "key_registration" if (
                message.key_registration.grant.purpose == governance_pb2.KEY_PURPOSE_BATCH
            ):
                grant = message.key_registration.grant
                self._batch_keys.setdefault(grant.key, []).append(found.index)
                if grant.replaces:
                    self._replaced[grant.key] = grant.replaces
            case "key_revocation" if self._is_batch_key(message.key_revocation.key):
                key = message.key_revocation.key
                self._batch_keys.setdefault(key, []).append(found.index)
            case "operator_registration" | "operator_revocation":
                pass
            case "governance_proposal":
                raw = proposal_bytes(message.governance_proposal.proposal)
                hashed = proposal_hash(self._chain_id, raw)
                self._proposals[hashed] = [found]
                self._open.add(hashed)
            case "governance_approval":
                # Of one that has come to nothing meanwhile nothing is kept.
                self._proposals.get(message.governance_approval.proposal, []).append(found)
            case _:
                self._nodes.append(found)

    def _is_batch_key(self, key: bytes) -> bool:
        row = key_row(self._store, key)
        return row is not None and row.purpose == KeyPurpose.BATCH

    def _decide(self, hashed: bytes) -> None:
        """Look at what has become of a proposal that was open."""
        raw = self._store.get(proposal_key(hashed))
        assert raw is not None, "what was opened has a row"
        row = parse_proposal_row(raw)
        if row.status is ProposalStatus.OPEN:
            return
        self._open.remove(hashed)
        if row.status is ProposalStatus.ACTIVATED:
            self._activated[hashed] = row.decided_height
        else:
            del self._proposals[hashed]
