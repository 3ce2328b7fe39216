"""A block on the log, of which only those batches are parsed that somebody asks for."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from lotmark.batch import Batch, parse_batch
from lotmark.block_results import BatchResult, BlockResults, event_leaf
from lotmark.errors import MalformedError
from lotmark_node.engine.errors import StoreCorrupt


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


class StoredBlock:
    """A block's bytes and what became of it; for several threads.

    Attributes:
        results: What became of it.
    """

    def __init__(self, raw: bytes, results: BlockResults, batch_starts: Sequence[int]) -> None:
        self.results = results
        self._raw = raw
        self._starts = batch_starts  # in the bytes
        counts = [result.entry_count for result in results.batches]
        self._indexes = list(accumulate(counts, initial=results.first_index))[:-1]
        self._batches: list[Batch | None] = [None] * len(counts)

    def holds(self, index: int) -> bool:
        """Tell whether an entry is one of the block's."""
        return self.results.first_index <= index <= self.results.close_index

    def batches(self) -> list[Batch]:
        """Return all batches, in order.

        Raises:
            StoreCorrupt: The bytes are damaged; likewise in what follows.
        """
        return [self._batch(at) for at in range(len(self._batches))]

    def placed_batches(self) -> list[PlacedBatch]:
        """Return all batches, placed."""
        return [self._placed(at) for at in range(len(self._batches))]

    def batch_of(self, index: int) -> PlacedBatch | None:
        """Return the batch to which an entry of the block belongs.

        None: it is a rule receipt or the close.
        """
        if index >= self.results.first_receipt_index:
            return None
        return self._placed(bisect_right(self._indexes, index) - 1)

    def _placed(self, at: int) -> PlacedBatch:
        results = self.results
        close = results.close
        return PlacedBatch(
            self._batch(at), self._indexes[at], close.height, close.time_ms, results.batches[at]
        )

    def _batch(self, at: int) -> Batch:
        batch = self._batches[at]
        if batch is None:
            try:
                batch = parse_batch(self._raw, self._starts[at])[0]
            except (MalformedError, IndexError) as error:
                height = self.results.close.height
                raise StoreCorrupt(f"block {height} in the store: {error}") from error
            self._batches[at] = batch
        return batch
