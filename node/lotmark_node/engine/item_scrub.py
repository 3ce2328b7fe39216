"""Scrubbing the item chain: trees against closes, records against trees, block rows against blocks.

The roots of epochs stand in the closes, which many have signed. So nothing is replayed from the
chain's beginning: from the newest full tree on, the trees say what each record must be.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, pairwise

from lotmark import merkle
from lotmark.batch import Batch
from lotmark.block_results import BlockResults, leaf_hashes
from lotmark.entry import BlockClose
from lotmark.errors import ProofError
from lotmark.item_epochs import (
    FULL_EVERY,
    NO_RECORD,
    ZERO_HASH,
    EpochHead,
    is_full,
)
from lotmark.v1 import event_pb2
from lotmark_node.engine.item_rows import Item, ItemRows, tile_hashes
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.state_machine.item_chain import Touches

_ROOTS_KEPT = 3 * FULL_EVERY  # of the newest epochs: no older tree is kept


@dataclass(frozen=True, slots=True)
class ChainedBlocks:
    """The blocks whose events no tree holds yet."""

    first_height: int
    last_height: int


class ItemScrub:
    """One scrub of the family."""

    def __init__(self, rows: ItemRows, reader: LogReader) -> None:
        self._rows = rows
        self._reader = reader
        self._roots: OrderedDict[int, bytes] = OrderedDict()  # as closes name them
        self._heads: dict[int, EpochHead] = {}

    def take(self, close: BlockClose) -> None:
        """Remember which root a close names."""
        if close.item_epoch:
            self._roots[close.item_epoch] = close.item_root
            if len(self._roots) > _ROOTS_KEPT:
                self._roots.popitem(last=False)

    def check_trees(self) -> EpochHead | None:
        """Check every tree that is kept; return the newest one's head, or None.

        Raises:
            ProofError: One is not what the closes name, or is missing.
        """
        previous_root = None
        for head, root in self._rows.heads():
            self._heads[head.number] = head
            if previous_root is not None and head.previous_root != previous_root:
                raise ProofError(f"item epoch {head.number} follows another than the one kept")
            self._check_tree(head, root)
            previous_root = root
        numbers = list(self._heads)
        newest = numbers[-1] if numbers else 0
        named = max(self._roots, default=0)
        if any(later != earlier + 1 for earlier, later in pairwise(numbers)) or named > newest:
            raise ProofError(f"trees of item epochs are missing up to {max(named, newest)}")
        if numbers and numbers[0] > 1 and not is_full(numbers[0]):
            raise ProofError(f"the first tree that is kept, {numbers[0]}, does not hold every item")
        return self._heads.get(newest)

    def _check_tree(self, head: EpochHead, root: bytes) -> None:
        made: list[bytes] = []  # root of each tile
        end, last = 1, b""
        for number, tile in enumerate(self._rows.tiles(head.number)):
            names = [last, *(hashed for hashed, _ in tile.items)]
            ascends = all(lower < upper for lower, upper in pairwise(names))
            if (tile.number, tile.first_leaf) != (number, end) or not ascends:
                raise ProofError(f"tile {tile.number} of item epoch {head.number} is out of place")
            made.append(merkle.root(tile_hashes(head, tile)))
            end, last = end + len(tile.items), names[-1]
        if end != head.tree_size or merkle.root(made) != root:
            raise ProofError(f"the items of epoch {head.number} have another root than is kept")
        if self._roots.get(head.number, root) != root:
            raise ProofError(f"the tree of item epoch {head.number} is not the one closes name")
        first = self._rows.tile_at(head.number, ZERO_HASH)
        if self._rows.tree(head, first).root(head.tree_size) != root:
            raise ProofError(f"the nodes of item epoch {head.number} have another root")

    def check_records(self, blocks: ChainedBlocks | None) -> None:
        """Check the records, and what the blocks that no tree holds do to them.

        Raises:
            ProofError: A record, or a block's row, is not what follows.
        """
        moved = dict(self._rows.blocks())
        unmade: dict[bytes, list[bytes]] = {}  # what records may be already
        if ends := [height for _, height in self._rows.ended()]:
            for height, records in moved.items():
                if height <= ends[0]:
                    for hashed, record in records.items():
                        unmade.setdefault(hashed, []).append(record)
        self._check_records(unmade)
        heights = range(blocks.first_height, blocks.last_height + 1) if blocks else range(0)
        running: dict[bytes, bytes] = {}
        for height in heights:
            touches, expected = self._moved(height, running, by_trees=bool(ends))
            if moved.pop(height, {}) != expected:
                raise ProofError(f"what block {height} does to {touches} items is kept otherwise")
            running |= expected
        if moved:
            raise ProofError(f"block {min(moved)} is kept although a tree holds what it does")

    def _check_records(self, unmade: Mapping[bytes, list[bytes]]) -> None:
        newest = self._newest()
        due = next(newest, None)
        for hashed, record in self._rows.all_records():
            if due is not None and due[0] < hashed:
                break
            wanted = unmade.get(hashed, [])[-1:]
            if due is not None and due[0] == hashed:
                wanted.append(due[1])
                due = next(newest, None)
            if record not in wanted:
                raise ProofError(f"the record of item {hashed.hex()} is not its newest tree's")
        if due is not None:
            raise ProofError(f"item {due[0].hex()} stands in a tree and has no record")

    def _newest(self) -> Iterator[Item]:
        """Return each item with what the newest tree has of it, ascending."""
        streams = [self._leaves(number) for number in self._since_full()]
        for _, leaves in groupby(heapq.merge(*streams), key=lambda leaf: leaf[0]):
            hashed, _, record = next(leaves)
            yield hashed, record

    def _since_full(self) -> list[int]:
        """Return the epochs from the newest full tree on."""
        full = max((number for number in self._heads if is_full(number)), default=0)
        return [number for number in self._heads if number >= full]

    def _leaves(self, number: int) -> Iterator[tuple[bytes, int, bytes]]:
        for tile in self._rows.tiles(number):
            for hashed, record in tile.items:
                yield hashed, -number, record  # of one item's, the newest comes first

    def _moved(
        self, height: int, running: Mapping[bytes, bytes], *, by_trees: bool
    ) -> tuple[int, dict[bytes, bytes]]:
        batches, results = self._reader.block(height)
        touches = _touches(batches, results)
        before = {
            each: running.get(each) or self._record(each, by_trees=by_trees)
            for each in touches.items()
        }
        hashes = leaf_hashes(batches, results)
        return touches.count, touches.moved(before, hashes, results.first_index)

    def _record(self, hashed: bytes, *, by_trees: bool) -> bytes:
        """Return an item's record as the newest tree leaves it."""
        if not by_trees:
            return self._rows.records([hashed]).get(hashed, NO_RECORD)
        for number in reversed(self._since_full()):
            for other, record in self._rows.tile_at(number, hashed).items:
                if other == hashed:
                    return record
        return NO_RECORD


def _touches(batches: list[Batch], results: BlockResults) -> Touches:
    touches, index = Touches(), results.first_index
    for batch, result in zip(batches, results.batches, strict=True):
        for at, outcome in enumerate(result.event_outcomes):
            if outcome:
                continue
            items = event_pb2.Event.FromString(batch.events[at]).items
            if items:
                touches.add(index + 1 + at, [item.id for item in items])
        index += result.entry_count
    return touches
