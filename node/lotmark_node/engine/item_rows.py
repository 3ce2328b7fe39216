"""The store's family of the item chain: what blocks do to records, the records, epochs' trees.

A block writes what it does in one row of its own, in its one atomic batch. A row for each record
is written only when the tree of an epoch is made, off the apply loop, so records always stand
there as some epoch left them; that tree is made of the same rows, and its head is written last.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TypeVar

from rocksdict import WriteBatch

from lotmark.item_epochs import (
    RECORD_SIZE,
    EndedEpoch,
    EpochHead,
    item_leaf,
    parse_epoch_head,
)
from lotmark.merkle import HASH_SIZE, leaf_hash, root
from lotmark_node.engine.errors import NotOnLedger
from lotmark_node.engine.store_family import StoreFamily
from lotmark_node.engine.tiles import TILE_WIDTH, TileTree, TileWriter
from lotmark_node.state_machine.item_chain import ItemChanges

# Kinds of rows in the family.
_BLOCK, _ENDED, _RECORD, _LEAVES, _NODES, _HEAD = b"b", b"p", b"r", b"l", b"n", b"e"
_U32, _U64 = struct.Struct(">I"), struct.Struct(">Q")
_ENDED_VALUE = struct.Struct(">QQQQ")
_NODE_KEY = struct.Struct(">QBQ")
_ITEM_SIZE = HASH_SIZE + RECORD_SIZE
_TILES_WRITTEN = 32  # in one batch
_FIRST_ITEMS = TILE_WIDTH - 1  # of the first tile, which the epoch's head begins

Item = tuple[bytes, bytes]  # hash and record


@dataclass(frozen=True, slots=True)
class Tile:
    """Neighbouring items in an epoch's tree."""

    number: int
    items: Sequence[Item]

    @property
    def first_leaf(self) -> int:
        """The leaf index of the first item."""
        return self.number * TILE_WIDTH + (self.number == 0)


class ItemRows:
    """Reads and writes the family."""

    def __init__(self, family: StoreFamily, write: Callable[[WriteBatch], None]) -> None:
        self._family = family
        self._write = write

    # What blocks do

    def put_block(self, batch: WriteBatch, changes: ItemChanges) -> None:
        """Add what a block does to the batch that writes it."""
        height = changes.height
        if changes.records:
            raw = b"".join([part for item in changes.records.items() for part in item])
            batch.put(_BLOCK + _U64.pack(height), raw, self._family.handle)
        if (ended := changes.ended) is not None:
            value = _ENDED_VALUE.pack(
                ended.chain_first_index, ended.first_index, ended.size, height
            )
            batch.put(_ENDED + _U64.pack(ended.number), value, self._family.handle)

    def blocks(self) -> Iterator[tuple[int, Mapping[bytes, bytes]]]:
        """Return height and moved records of the blocks that no tree holds yet, ascending."""
        for key, value in self._family.rows(_BLOCK, _BLOCK):
            yield _U64.unpack_from(key, 1)[0], dict(_items_of(value))

    def ended(self) -> Iterator[tuple[EndedEpoch, int]]:
        """Return the epochs whose trees are to be made, each with the height that ended it."""
        for key, value in self._family.rows(_ENDED, _ENDED):
            chain_first_index, first_index, size, height = _ENDED_VALUE.unpack(value)
            epoch = EndedEpoch(
                number=_U64.unpack_from(key, 1)[0],
                chain_first_index=chain_first_index,
                first_index=first_index,
                size=size,
            )
            yield epoch, height

    # Records, as the newest epoch that has a tree left them

    def records(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the records of those items that have one."""
        found = self._family.get_many([_RECORD + each for each in hashes])
        return {
            hashed: record
            for hashed, record in zip(hashes, found, strict=True)
            if record is not None
        }

    def all_records(self) -> Iterator[Item]:
        """Return every item's, ascending by hash."""
        for key, record in self._family.rows(_RECORD, _RECORD):
            yield key[1:], record

    # Trees

    def heads(self) -> Iterator[tuple[EpochHead, bytes]]:
        """Return head and root of each tree that is kept, ascending."""
        for _, value in self._family.rows(_HEAD, _HEAD):
            yield parse_epoch_head(value[HASH_SIZE:]), value[:HASH_SIZE]

    def head(self, epoch: int) -> tuple[EpochHead, bytes] | None:
        """Return head and root of an epoch's tree, or None where it is not kept."""
        (value,) = self._family.get_many([_HEAD + _U64.pack(epoch)])
        return None if value is None else (parse_epoch_head(value[HASH_SIZE:]), value[:HASH_SIZE])

    def tile_at(self, epoch: int, hashed: bytes) -> Tile:
        """Return the items of a tree among which an item stands or would stand.

        Raises:
            NotOnLedger: The tree is not kept.
        """
        prefix = _LEAVES + _U64.pack(epoch)
        row = self._family.last_row(prefix + hashed, prefix)
        if row is None:
            raise NotOnLedger(f"the tree of item epoch {epoch} is not kept")
        return _tile_of(row[1])

    def tiles(self, epoch: int, hashed: bytes = b"") -> Iterator[Tile]:
        """Return a tree's items from those on whose first one is not before `hashed`."""
        prefix = _LEAVES + _U64.pack(epoch)
        for _, value in self._family.rows(prefix + hashed, prefix):
            yield _tile_of(value)

    def tree(self, head: EpochHead, tile: Tile) -> TileTree:
        """Return an epoch's tree, for paths of leaves of a tile.

        It raises NotOnLedger where the tree is no longer kept.
        """
        last = (head.tree_size - 1) // TILE_WIDTH

        @cache  # a path asks for its own tile level by level
        def read(level: int, number: int) -> bytes:
            if level:
                key = _NODES + _NODE_KEY.pack(head.number, level, number)
                (value,) = self._family.get_many([key])
                if value is None:
                    raise NotOnLedger(f"the tree of item epoch {head.number} is not kept")
                return value
            if number == tile.number:
                return b"".join(tile_hashes(head, tile))
            assert number == last, "beside its own a path needs no tile but the last"
            return b"".join(tile_hashes(head, self.tile_at(head.number, b"\xff" * HASH_SIZE)))

        return TileTree(read)

    def put_records(self, items: Sequence[Item]) -> None:
        """Write records as an epoch leaves them."""
        for some in _cut(items, TILE_WIDTH * _TILES_WRITTEN):
            batch, handle = WriteBatch(raw_mode=True), self._family.handle
            for hashed, record in some:
                batch.put(_RECORD + hashed, record, handle)
            self._write(batch)

    def put_tree(
        self, ended: EndedEpoch, items: Iterator[Item], *, previous_root: bytes, last_height: int
    ) -> bytes:
        """Write an epoch's tree and return its root; done once its head is written.

        Args:
            ended: The epoch.
            items: Ascending by hash.
            previous_root: Of the epoch before it.
            last_height: The height that ended it: no block up to it is needed any more.
        """
        making = _TreeInTheMaking(ended.number, self._family, self._write)
        for some in _in_tiles(items):
            making.add(some)
        head = ended.head(item_count=making.count, previous_root=previous_root)
        made = making.finish(head)
        batch = WriteBatch(raw_mode=True)
        batch.put(_HEAD + _U64.pack(ended.number), made + head.leaf(), self._family.handle)
        batch.delete(_ENDED + _U64.pack(ended.number), self._family.handle)
        for key, _ in self._family.rows(_BLOCK, _BLOCK):
            if _U64.unpack_from(key, 1)[0] > last_height:
                break
            batch.delete(key, self._family.handle)
        self._write(batch)
        return made

    def drop_trees(self, before: int) -> None:
        """Remove the trees of the epochs before one."""
        for head, _ in self.heads():
            if head.number >= before:
                break
            number = _U64.pack(head.number)
            for kind in (_LEAVES, _NODES):
                rows = self._family.rows(kind + number, kind + number)
                for some in _cut((key for key, _ in rows), 1_024):
                    batch = WriteBatch(raw_mode=True)
                    for key in some:
                        batch.delete(key, self._family.handle)
                    self._write(batch)
            batch = WriteBatch(raw_mode=True)
            batch.delete(
                _HEAD + number, self._family.handle
            )  # last: what a kill leaves is dropped later
            self._write(batch)


def _items_of(raw: bytes) -> Iterator[Item]:
    for at in range(0, len(raw), _ITEM_SIZE):
        yield raw[at : at + HASH_SIZE], raw[at + HASH_SIZE : at + _ITEM_SIZE]


def _tile_of(value: bytes) -> Tile:
    return Tile(_U32.unpack_from(value)[0], list(_items_of(value[_U32.size :])))


def tile_hashes(head: EpochHead, tile: Tile) -> list[bytes]:
    """Return the leaf hashes of a tile."""
    hashes = [leaf_hash(item_leaf(hashed, record)) for hashed, record in tile.items]
    return hashes if tile.number else [leaf_hash(head.leaf()), *hashes]


_Cut = TypeVar("_Cut")


def _cut(them: Iterable[_Cut], count: int) -> Iterator[Sequence[_Cut]]:
    """Return them in pieces of `count`, the last of less."""
    rest = iter(them)
    while piece := list(islice(rest, count)):
        yield piece


def _in_tiles(items: Iterator[Item]) -> Iterator[Sequence[Item]]:
    """Cut items as the tiles hold them; the first may be empty."""
    yield list(islice(items, _FIRST_ITEMS))
    yield from _cut(items, TILE_WIDTH)


class _TreeInTheMaking:
    """A tree that is written tile by tile, from the left."""

    def __init__(
        self, epoch: int, family: StoreFamily, write: Callable[[WriteBatch], None]
    ) -> None:
        self._epoch = epoch
        self._family = family
        self._write = write
        self._batch = WriteBatch(raw_mode=True)
        self._waiting = 0  # tiles in the batch
        self._first: Sequence[Item] = ()
        self._hashes: list[bytes] = []  # of tiles, from the second on
        self._last_width = TILE_WIDTH
        self.count = 0

    def add(self, items: Sequence[Item]) -> None:
        """Write the next tile."""
        number = len(self._hashes) + 1 if self.count else 0
        key = _LEAVES + _U64.pack(self._epoch) + (items[0][0] if number else bytes(HASH_SIZE))
        raw = b"".join([part for item in items for part in item])
        self._batch.put(key, _U32.pack(number) + raw, self._family.handle)
        self._waiting += 1
        if self._waiting == _TILES_WRITTEN:
            self._flush()
        self.count += len(items)
        self._last_width = len(items) + (number == 0)
        if number:
            self._hashes.append(
                root([leaf_hash(item_leaf(hashed, record)) for hashed, record in items])
            )
        else:
            self._first = items

    def finish(self, head: EpochHead) -> bytes:
        """Write the nodes above the tiles and return the root."""
        hashes = [root(tile_hashes(head, Tile(0, self._first))), *self._hashes]
        full = hashes if self._last_width == TILE_WIDTH else hashes[:-1]
        for level, number, raw in TileWriter(0, _nothing).append(full):
            key = _NODES + _NODE_KEY.pack(self._epoch, level + 1, number)
            self._batch.put(key, raw, self._family.handle)
        self._flush()
        return root(hashes)

    def _flush(self) -> None:
        self._write(self._batch)
        self._batch = WriteBatch(raw_mode=True)
        self._waiting = 0


def _nothing(_level: int, _number: int) -> bytes:
    raise AssertionError("an empty tree has no tile to go on from")
