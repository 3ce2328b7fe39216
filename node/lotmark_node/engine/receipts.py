"""Receipts, made on demand: an event with everything that proves it under a checkpoint."""

from lotmark.entry import EntryKind, parse_event_payload, parse_leaf_data
from lotmark.merkle import inclusion_path
from lotmark.verify.governance_chain import ProvenLeaf
from lotmark.verify.receipt import ReceiptParts, make_receipt
from lotmark_node.engine.checkpoints import SignedCheckpoint
from lotmark_node.engine.errors import NotOnLedger
from lotmark_node.engine.governance_proofs import GovernanceProofs
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.store import LedgerStore
from lotmark_node.engine.stored_block import LogEntry


class ReceiptMaker:
    """Makes receipts from one ledger."""

    def __init__(self, store: LedgerStore, reader: LogReader, governance: GovernanceProofs) -> None:
        self._store = store
        self._reader = reader
        self._governance = governance

    def make(self, entry: LogEntry, checkpoint: SignedCheckpoint) -> bytes:
        """Return the receipt of an event entry as a C2SP tlog-proof.

        Raises:
            NotOnLedger: The entry is no event, or not yet under the checkpoint.
        """
        head, payload = parse_leaf_data(entry.leaf_data)
        if head.kind != EntryKind.EVENT or entry.batch is None:
            raise NotOnLedger(f"entry {entry.index} is no event; only events have receipts")
        batch_index, position, _ = parse_event_payload(payload)
        size = checkpoint.head.size
        if entry.index >= size:
            raise NotOnLedger(f"entry {entry.index} is not under a checkpoint yet; ask again")
        return make_receipt(
            ReceiptParts(
                event=entry.event,
                event_path=inclusion_path(entry.batch.event_ids, position),
                entry=self._proven(entry, size),
                batch=self._proven(self._reader.entry(batch_index), size),
                close=self._proven(self._reader.close_entry(head.height), size),
                last_close=self._governance.last_close(size),
                governance=self._governance.of_signer(entry.batch.header.signer, size),
                checkpoint_note=checkpoint.note,
            )
        )

    def _proven(self, entry: LogEntry, size: int) -> ProvenLeaf:
        return ProvenLeaf(entry.leaf_data, self._store.tree.inclusion_path(entry.index, size))
