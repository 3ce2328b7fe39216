"""Receipts, made on demand: an event with everything that proves it under a checkpoint."""

from lotmark.entry import EntryKind, parse_event_payload, parse_leaf_data
from lotmark.errors import ProtocolError
from lotmark.event import check_event
from lotmark.merkle import inclusion_path
from lotmark.verify.receipt import ProvenLeaf, ReceiptParts, make_receipt
from lotmark_node.engine.checkpoints import SignedCheckpoint
from lotmark_node.engine.errors import NotOnLedger
from lotmark_node.engine.log_reader import LogEntry, LogReader
from lotmark_node.engine.store import LedgerStore
from lotmark_node.state_machine.state import key_row


class ReceiptMaker:
    """Makes receipts from one ledger."""

    def __init__(self, store: LedgerStore, reader: LogReader) -> None:
        self._store = store
        self._reader = reader

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
                registration=self._registration(entry.batch.header.signer),
                checkpoint_note=checkpoint.note,
            )
        )

    def _proven(self, entry: LogEntry, size: int) -> ProvenLeaf:
        return ProvenLeaf(entry.leaf_data, self._store.tree.inclusion_path(entry.index, size))

    def _registration(self, signer: bytes) -> bytes:
        """Return the event that registered a key; nothing for a key of the genesis."""
        row = key_row(self._store, signer)
        if row is None or row.from_height == 0:
            return b""
        for entry in self._reader.block_entries(row.from_height - 1):
            accepted = not parse_leaf_data(entry.leaf_data)[0].outcome
            if entry.event and accepted and _registers(entry.event, signer):
                return entry.event
        raise NotOnLedger(f"the registration of key {signer.hex()} is not on the ledger")


def _registers(event: bytes, key: bytes) -> bool:
    try:
        checked = check_event(event)
    except ProtocolError:
        return False
    return (
        checked.body_name == "key_registration"
        and checked.message.key_registration.grant.key == key
    )
