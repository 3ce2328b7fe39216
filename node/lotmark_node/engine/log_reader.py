"""Reading the log: entries, events and proofs, rebuilt from blocks and tiles."""

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from lotmark.batch import Batch
from lotmark.block import batch_starts, parse_block
from lotmark.block_results import BlockResults, leaves
from lotmark.entry import EntryKind, parse_leaf_data
from lotmark.errors import MalformedError
from lotmark_node.engine.errors import NotOnLedger, StoreCorrupt
from lotmark_node.engine.store import BlockPlace, LedgerStore
from lotmark_node.engine.stored_block import LogEntry, PlacedBatch, StoredBlock
from lotmark_node.state_machine.genesis_block import GenesisBlock

BLOCKS_CACHED_MAX = 8

_GENESIS_ENTRIES = 2


class LogReader:
    """Reads the log of one store; for several threads."""

    def __init__(self, store: LedgerStore, genesis_block: GenesisBlock) -> None:
        self._store = store
        self._genesis_leaves = genesis_block.leaves
        self._cache: OrderedDict[int, StoredBlock] = OrderedDict()
        self._lock = threading.Lock()

    def entries(self, first_index: int, end_index: int) -> Iterator[LogEntry]:
        """Return entries in order, from `first_index` up to before `end_index`.

        Raises:
            NotOnLedger: There are not so many.
        """
        index = first_index
        while index < end_index:
            height = self._store.height_of(index)
            if height == 0 and index < _GENESIS_ENTRIES:
                for at in range(index, min(end_index, _GENESIS_ENTRIES)):
                    yield LogEntry(index=at, leaf_data=self._genesis_leaves[at])
                index = _GENESIS_ENTRIES
                continue
            close_index = self.block(height)[1].close_index
            if close_index < index:
                raise _not_on_ledger(index)
            for entry in self.block_entries(height):
                if index <= entry.index < end_index:
                    yield entry
            index = close_index + 1

    def entry(self, index: int) -> LogEntry:
        """Return one entry.

        Raises:
            NotOnLedger: There is none with this index.
        """
        block = self._block_of(index) if index >= _GENESIS_ENTRIES else None
        placed = None if block is None else block.batch_of(index)
        if placed is not None and placed.has_event(index):
            return placed.event_entry(index)
        for entry in self.entries(index, index + 1):
            return entry
        raise _not_on_ledger(index)

    def first_index_from(self, time_ms: int, *, height: int) -> int:
        """Return the index of the first entry of a block of this time or later.

        Args:
            time_ms: Of blocks, Unix time in ms.
            height: Of the newest block; behind its entries is the answer where all are earlier.
        """
        first = bisect_left(
            range(1, height + 1), time_ms, key=lambda at: self._stored(at).results.close.time_ms
        )
        if first == height:
            return self._stored(height).results.close_index + 1 if height else _GENESIS_ENTRIES
        return self._stored(first + 1).results.first_index

    def events(self, indexes: Iterable[int]) -> Iterator[LogEntry]:
        """Return the event entries with these indexes, in the order given.

        Neighbours should come one after the other: a block is read once while they do.

        Raises:
            NotOnLedger: One is not on the ledger, or no event.
        """
        block: StoredBlock | None = None
        for index in indexes:
            if block is None or not block.holds(index):
                block = self._block_of(index) if index >= _GENESIS_ENTRIES else None
            placed = None if block is None else block.batch_of(index)
            if placed is None or not placed.has_event(index):
                raise NotOnLedger(f"entry {index} is no event on the ledger")
            yield placed.event_entry(index)

    def find_event(self, event_id: bytes) -> LogEntry:
        """Return the entry of an event.

        Raises:
            NotOnLedger: No event with this id is on the ledger.
        """
        index = self._store.event_index(event_id)
        entry = None if index is None else self.entry(index)
        if entry is None or entry.leaf_data[-32:] != event_id:
            raise NotOnLedger(f"event {event_id.hex()} is not on the ledger")
        return entry

    def find_batch(self, batch_id: bytes) -> PlacedBatch | None:
        """Return the batch with this id that took its number or is evidence, or None."""
        index = self._store.batch_index(batch_id)
        if index is None:
            return None
        placed = self._block_of(index).batch_of(index)
        if placed is None or placed.index != index:
            raise StoreCorrupt(
                f"the index names entry {index}, which is no batch; rebuild the store"
            )
        return placed if placed.batch.batch_id == batch_id else None

    def placed_batches(self, height: int) -> Sequence[PlacedBatch]:
        """Return the batches of a block with their entry indexes."""
        return self._stored(height).placed_batches()

    def block_entries(self, height: int) -> Iterator[LogEntry]:
        """Return the entries of a block, height 1 or more."""
        batches, results = self.block(height)
        owners = [
            batch
            for batch, result in zip(batches, results.batches, strict=True)
            for _ in range(result.entry_count)
        ]
        for at, (leaf, event) in enumerate(leaves(batches, results)):
            owner = owners[at] if at < len(owners) else None
            yield LogEntry(index=results.first_index + at, leaf_data=leaf, event=event, batch=owner)

    def close_entry(self, height: int) -> LogEntry:
        """Return the close of a block."""
        if height == 0:
            return self.entry(1)
        return self.entry(self.block(height)[1].close_index)

    def block(self, height: int) -> tuple[list[Batch], BlockResults]:
        """Return the batches and results of a block, height 1 or more.

        Raises:
            NotOnLedger: There is no such block.
            StoreCorrupt: Its bytes are no block.
        """
        stored = self._stored(height)
        return stored.batches(), stored.results

    def _block_of(self, index: int) -> StoredBlock:
        """Return the block that holds an entry, which is none of the genesis's."""
        place = self._store.place_of(index)
        block = self._stored(place.height, place)
        if not block.holds(index):
            raise _not_on_ledger(index)
        return block

    def _stored(self, height: int, place: BlockPlace | None = None) -> StoredBlock:
        with self._lock:
            cached = self._cache.get(height)
            if cached is not None:
                self._cache.move_to_end(height)
                return cached
        raw = self._store.block(height)
        try:
            results = self._store.results(height)
            place = place or self._store.place_of(results.first_index)
            # A store that an older version has begun does not have them of its first blocks.
            starts = place.batch_starts or batch_starts(parse_block(raw).batches)
        except MalformedError as error:
            raise StoreCorrupt(f"block {height} in the store: {error}") from error
        read = StoredBlock(raw, results, starts)
        with self._lock:
            self._cache[height] = read
            if len(self._cache) > BLOCKS_CACHED_MAX:
                self._cache.popitem(last=False)
        return read


def _not_on_ledger(index: int) -> NotOnLedger:
    return NotOnLedger(f"entry {index} is not on the ledger")


def kind_of(entry: LogEntry) -> EntryKind:
    """Return the kind of an entry."""
    return parse_leaf_data(entry.leaf_data)[0].kind
