"""Rule receipts where they stand on the log: one by its index, or those from an index on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lotmark.entry import BlockClose, parse_rule_receipt
from lotmark.errors import MalformedError
from lotmark.v1 import contract_queries_pb2
from lotmark_node.engine.errors import NotOnLedger, StoreCorrupt
from lotmark_node.engine.store import LedgerStore

BLOCKS_MAX = 2_000  # looked at in one walk


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedReceipt:
    """A rule receipt on the log."""

    index: int
    height: int
    time_ms: int
    event_index: int
    document: bytes

    def message(self) -> contract_queries_pb2.RuleReceiptEntry:
        """Return it on the wire."""
        return contract_queries_pb2.RuleReceiptEntry(
            index=self.index,
            height=self.height,
            time_ms=self.time_ms,
            event_index=self.event_index,
            document=self.document,
        )


@dataclass(frozen=True, slots=True)
class WalkedBlock:
    """The rule receipts of a block, and the index of the entry that follows the block."""

    height: int
    time_ms: int
    receipts: list[PlacedReceipt]
    next_index: int


class PlacedReceipts:
    """Reads rule receipts from one store; for several threads."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store

    def at(self, index: int) -> PlacedReceipt:
        """Return the rule receipt of an entry.

        Raises:
            NotOnLedger: The entry is none.
            StoreCorrupt: Stored bytes are damaged; likewise below.
        """
        height = self._store.height_of(index)
        for receipt in self._block(height).receipts if height else ():
            if receipt.index == index:
                return receipt
        raise NotOnLedger(f"entry {index} is no rule receipt")

    def blocks(self, first_index: int, last_height: int) -> Iterator[WalkedBlock]:
        """Return the blocks from the one that holds an entry on, at most `BLOCKS_MAX` of them.

        Receipts before `first_index` are left out.
        """
        first_height = max(1, self._store.height_of(first_index))
        for height in range(first_height, min(last_height, first_height + BLOCKS_MAX - 1) + 1):
            block = self._block(height)
            later = [each for each in block.receipts if each.index >= first_index]
            yield replace(block, receipts=later)

    def _block(self, height: int) -> WalkedBlock:
        try:
            results = self._store.results(height)
            receipts = [
                self._placed(results.first_receipt_index + at, results.close, payload)
                for at, payload in enumerate(results.receipts)
            ]
        except MalformedError as error:
            raise StoreCorrupt(f"the results of block {height} in the store: {error}") from error
        return WalkedBlock(height, results.close.time_ms, receipts, results.close_index + 1)

    def _placed(self, index: int, close: BlockClose, payload: bytes) -> PlacedReceipt:
        parsed = parse_rule_receipt(payload)
        return PlacedReceipt(
            index=index,
            height=close.height,
            time_ms=close.time_ms,
            event_index=parsed.event_index,
            document=parsed.document,
        )


def parse_index(resume: bytes) -> int:
    """Return the entry index to go on from; 0 where there is none.

    Raises:
        MalformedError: It is none that this node gives.
    """
    if len(resume) not in (0, 8):
        raise MalformedError(f"resume has {len(resume)} bytes, not 8; begin anew")
    return int.from_bytes(resume)
