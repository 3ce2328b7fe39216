"""A stored ledger whose items' proofs can be made under any of its checkpoints."""

from pathlib import Path

from lotmark.item_proof import ItemProof, parse_item_proof
from lotmark.verify.item_history import HistoryFindings, verify_item_proof
from lotmark_node.engine.governance_proofs import GovernanceProofs
from lotmark_node.engine.item_proofs import ItemProofMaker
from lotmark_node.engine.known_checkpoints import SignedCheckpoint
from lotmark_node.state_machine.tables import LogHead
from tests.node.chained_ledger import reckon, sha256
from tests.node.engine.stored_ledger import StoredLedger
from tests.node.ledger_in_memory import LedgerInMemory


class ProvenItems:
    """Makes and verifies item proofs of a ledger that was made in memory."""

    def __init__(self, folder: Path, whole: LedgerInMemory, *, entries: int) -> None:
        self.whole = whole
        self.stored = StoredLedger(folder, whole)
        self.reckoned = reckon(whole, entries=entries, ms=10**9)
        governance = GovernanceProofs(self.stored.store, self.stored.reader, whole.chain_id)
        self.maker = ItemProofMaker(self.stored.store, self.stored.reader, governance)

    def grow(self, height: int) -> None:
        """Bring the store to a height, its trees too."""
        self.stored.grow(height)
        running = self.stored.state.items.running
        assert running is not None
        if running.number > 1:
            self.stored.items.root(running.number - 1)

    def checkpoint(self, height: int) -> SignedCheckpoint:
        """Return the checkpoint after a height, cosigned by all."""
        size = self.whole.sizes[height]
        head = LogHead(height, size, self.whole.root(size))
        return SignedCheckpoint(head, self.whole.checkpoint_note(size=size), True)

    def indexes(self, item: str) -> list[int]:
        """Return the entries that name an item."""
        return self.reckoned.entries.get(sha256(item.encode()), [])

    def raw_proof(self, item: str, height: int | None = None) -> bytes:
        """Return the proof of an item under the checkpoint after a height."""
        height = self.stored.state.height if height is None else height
        return self.maker.make(item, self.indexes(item), self.checkpoint(height))

    def proof(self, item: str, height: int | None = None) -> ItemProof:
        """Return what it is made of."""
        return parse_item_proof(self.raw_proof(item, height))

    def verify(self, raw: bytes) -> HistoryFindings:
        """Verify a proof as an outsider does."""
        return verify_item_proof(
            raw, genesis_json=self.whole.genesis_bytes, chain_id=self.whole.chain_id
        )

    def close(self) -> None:
        self.stored.close()
