"""Reading the log: entries, events and proofs, rebuilt from blocks and tiles."""

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lotmark.batch import Batch
from lotmark.block import parse_block
from lotmark.block_results import BatchResult, BlockResults, event_leaf, leaves
from lotmark.entry import EntryKind, parse_leaf_data
from lotmark.errors import MalformedError
from lotmark_node.engine.errors import NotOnLedger, StoreCorrupt
from lotmark_node.engine.store import LedgerStore
from lotmark_node.state_machine.genesis_block import GenesisBlock

BLOCKS_CACHED_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One leaf and what stands beside it."""

    index: int
    leaf_data: bytes
    event: bytes = b""  # of an event entry
    batch: Batch | None = None  # of an event or batch entry


@dataclass(frozen=True, slots=True)
class PlacedBatch:
    """A batch on the log."""

    batch: Batch
    index: int
    height: int
    time_ms: int
    result: BatchResult

    @property
    def end_index(self) -> int:
        """Index of the first entry behind those of the batch."""
        return self.index + self.result.entry_count

    def has_event(self, index: int) -> bool:
        """Tell whether an entry is one of the batch's events."""
        return self.index < index <= self.index + len(self.result.event_outcomes)

    def event_entry(self, index: int) -> LogEntry:
        """Return the entry of one of the batch's events."""
        position = index - self.index - 1
        leaf = event_leaf(
            self.batch, self.result, self.index, position, height=self.height, time_ms=self.time_ms
        )
        return LogEntry(
            index=index, leaf_data=leaf, event=self.batch.events[position], batch=self.batch
        )


class LogReader:
    """Reads the log of one store; for several threads."""

    def __init__(self, store: LedgerStore, genesis_block: GenesisBlock) -> None:
        self._store = store
        self._genesis_leaves = genesis_block.leaves
        self._cache: OrderedDict[int, tuple[list[Batch], BlockResults]] = OrderedDict()
        self._lock = threading.Lock()

    def entries(self, first_index: int, end_index: int) -> Iterator[LogEntry]:
        """Return entries in order, from `first_index` up to before `end_index`.

        Raises:
            NotOnLedger: There are not so many.
        """
        index = first_index
        while index < end_index:
            height = self._store.height_of(index)
            if height == 0 and index < 2:
                for at in range(index, min(end_index, 2)):
                    yield LogEntry(index=at, leaf_data=self._genesis_leaves[at])
                index = 2
                continue
            close_index = self.block(height)[1].close_index
            if close_index < index:
                raise NotOnLedger(f"entry {index} is not on the ledger")
            for entry in self.block_entries(height):
                if index <= entry.index < end_index:
                    yield entry
            index = close_index + 1

    def entry(self, index: int) -> LogEntry:
        """Return one entry.

        Raises:
            NotOnLedger: There is none with this index.
        """
        for entry in self.entries(index, index + 1):
            return entry
        raise NotOnLedger(f"entry {index} is not on the ledger")

    def events(self, indexes: Iterable[int]) -> Iterator[LogEntry]:
        """Return the event entries with these indexes, in the order given.

        Neighbours should come one after the other: a block is read once while they do.

        Raises:
            NotOnLedger: One is not on the ledger, or no event.
        """
        placed: list[PlacedBatch] = []
        for index in indexes:
            if not placed or not placed[0].index <= index < placed[-1].end_index:
                height = self._store.height_of(index)
                placed = list(self.placed_batches(height)) if height else []
            owner = bisect_right(placed, index, key=lambda each: each.index) - 1
            if owner < 0 or not placed[owner].has_event(index):
                raise NotOnLedger(f"entry {index} is no event on the ledger")
            yield placed[owner].event_entry(index)

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
        height = self._store.height_of(index)
        for placed in self.placed_batches(height):
            if placed.index == index:
                return placed if placed.batch.batch_id == batch_id else None
        raise StoreCorrupt(f"the index names entry {index}, which is no batch; rebuild the store")

    def placed_batches(self, height: int) -> Iterator[PlacedBatch]:
        """Return the batches of a block with their entry indexes."""
        batches, results = self.block(height)
        index = results.first_index
        for batch, result in zip(batches, results.batches, strict=True):
            yield PlacedBatch(batch, index, height, results.close.time_ms, result)
            index += result.entry_count

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
        with self._lock:
            cached = self._cache.get(height)
            if cached is not None:
                self._cache.move_to_end(height)
                return cached
        try:
            read = list(parse_block(self._store.block(height)).batches), self._store.results(height)
        except MalformedError as error:
            raise StoreCorrupt(f"block {height} in the store: {error}") from error
        with self._lock:
            self._cache[height] = read
            if len(self._cache) > BLOCKS_CACHED_MAX:
                self._cache.popitem(last=False)
        return read


def kind_of(entry: LogEntry) -> EntryKind:
    """Return the kind of an entry."""
    return parse_leaf_data(entry.leaf_data)[0].kind
