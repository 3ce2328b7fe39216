"""The ledger's store: RocksDB column families, written once a block in one atomic batch.

The store is not synced: after a loss of power it comes back as some earlier block left it, and the
engine applies the blocks after that again from the order's journal.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rocksdict import (
    WriteBatch,
    WriteOptions,
)

from lotmark.block import batch_starts, parse_block_head
from lotmark.block_results import BlockResults, parse_results
from lotmark.merkle import Frontier, leaf_hash
from lotmark.outcome import CONSUMES_NUMBER_FROM
from lotmark_consensus.ordering import Ordered
from lotmark_node.engine.errors import (
    EngineError,
    ForeignStore,
    NotOnLedger,
    StoreOutdated,
)
from lotmark_node.engine.item_rows import ItemRows
from lotmark_node.engine.row_cache import RowCache
from lotmark_node.engine.seal_index import seal_rows
from lotmark_node.engine.store_family import StoreFamily, damaged
from lotmark_node.engine.store_opening import open_store
from lotmark_node.engine.stored_index import StoredIndexRows
from lotmark_node.engine.tiles import TileTree, TileWriter
from lotmark_node.provenance.block_index import IndexedBatch
from lotmark_node.provenance.rows import INDEX_FORMAT, INDEXED_KEY
from lotmark_node.provenance.writer import IndexWriter, Row
from lotmark_node.state_machine.genesis_block import GenesisBlock
from lotmark_node.state_machine.ledger_state import LogPosition
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.transition import BlockEffects

CACHED_ROWS_MAX = 65_536

# Kinds of rows in family "index".
_EVENT_ID, _BATCH_ID, _FIRST_INDEX, _PLACE, _GOVERNING = b"e", b"b", b"i", b"o", b"g"
_ID_PREFIX = 16  # bytes of an id that an index row keeps: enough to find, the log decides
_U64 = struct.Struct(">Q")
_TILE = struct.Struct(">BQ")
_POSITION_KEY, _CHAIN_KEY, _FORMAT_KEY = b"position", b"chain", b"format"
FORMAT = b"2"  # of the state's tables and of these families; the provenance index has its own
_POSITION = struct.Struct(">QQQQ2048s")
_ORDER = struct.Struct(">QQ?")
_ORDER_KEY = b"order"
_INDEXED = struct.Struct(">BQ")


@dataclass(frozen=True, slots=True)
class OrderPlace:
    """How far of the order the ledger is: everything up to this index is in it."""

    index: int
    term: int  # of the order's entry at `index`
    leapt: bool = False  # by fetched blocks: the journal may not have been told yet


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """A block, and where in its bytes its batches begin: not all have to be read for one."""

    height: int
    batch_starts: Sequence[int]


class LedgerStore:
    """Rows, blocks, results, tiles and indexes of one ledger. Also the state machine's reader."""

    def __init__(self, folder: Path, chain_id: bytes) -> None:
        """Open or make the store of a chain.

        Raises:
            StoreLocked: Another process has it open.
            ForeignStore: It belongs to another chain.
            StoreOutdated: Another version wrote it.
            StoreCorrupt: RocksDB finds it damaged.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._chain_id = chain_id
        self._db = open_store(folder)
        self._state = StoreFamily(folder, self._db, "state")
        self._blocks = StoreFamily(folder, self._db, "blocks")
        self._results = StoreFamily(folder, self._db, "results")
        self._tiles = StoreFamily(folder, self._db, "tiles")
        self._index = StoreFamily(folder, self._db, "index")
        self._items = StoreFamily(folder, self._db, "items")
        self.provenance = StoredIndexRows(folder, self._db, "provenance")
        self._unsynced = WriteOptions()
        self._rows = RowCache(CACHED_ROWS_MAX)
        self._tile_writer = TileWriter(0, self._read_tile)
        self._index_writer = IndexWriter(self.provenance.get)
        self.tree = TileTree(self._read_tile)
        self.items = ItemRows(self._items, self._write)
        try:
            self._check_owner()
        except EngineError:
            self._let_go()
            raise

    def _check_owner(self) -> None:
        owner = self._read_own(_CHAIN_KEY)
        if owner is not None and owner != self._chain_id:
            raise ForeignStore(
                f"{self._folder} holds chain {owner.hex()}, not {self._chain_id.hex()};"
                " name another folder"
            )
        written = self._read_own(_FORMAT_KEY)
        if owner is not None and written != FORMAT:
            raise StoreOutdated(
                f"{self._folder} is of format {(written or b'1').decode(errors='replace')}, this"
                f" version goes on with {FORMAT.decode()} alone; run the version that wrote it, or"
                " found the consortium anew (until 1.0 ledgers are not carried over)"
            )

    def close(self) -> None:
        """Write out what is in memory and let go of the folder."""
        self._db.flush(True)
        self._let_go()

    def _let_go(self) -> None:
        families = (self._state, self._blocks, self._results, self._tiles, self._index)
        for family in (*families, self._items, self.provenance):
            family.let_go()
        self._db.close()

    # Reading rows: the state machine's reader. Keys of other families never meet its tables.

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a state row, or None."""
        value = self._rows.get(key)
        if value is None:
            version = self._rows.version
            value = self._state.get(key)
            if value is not None:
                self._rows.offer(key, value, version)
        return value

    def rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the state rows whose keys begin with `prefix`, in ascending order."""
        return self._state.rows(prefix, prefix)

    def rows_from(self, first_key: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the state rows from a key on whose keys begin with `prefix`, ascending."""
        return self._state.rows(first_key, prefix)

    def _read_own(self, key: bytes) -> bytes | None:
        """Return what the store keeps about itself."""
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise damaged(self._folder, error) from error
        return value

    # Writing

    def found(self, block: GenesisBlock) -> None:
        """Write height 0."""
        batch = WriteBatch(raw_mode=True)
        for key, _, value in block.changes.changed():
            assert value is not None, "the genesis removes no row"
            batch.put(key, value, self._state.handle)
        self._put_leaves(batch, [leaf_hash(leaf) for leaf in block.leaves])
        batch.put(_CHAIN_KEY, self._chain_id)
        batch.put(_FORMAT_KEY, FORMAT)
        batch.put(_FIRST_INDEX + _U64.pack(0), _U64.pack(0), self._index.handle)
        self._put_indexed(batch, 0)
        self._put_position(batch, block.position)
        batch.put(_ORDER_KEY, _ORDER.pack(0, 0, False))
        self._write(batch)

    def index(self, results: BlockResults, prepared: Sequence[PreparedBatch]) -> list[Row]:
        """Return what a block adds to the provenance index; it must be written next."""
        return self._index_writer.rows(results.first_index, _accepted(results, prepared))

    def write(
        self,
        effects: BlockEffects,
        indexed: Sequence[Row],
        ordered: Ordered,
        *,
        leapt: bool = False,
    ) -> None:
        """Write all that a block does, at once or not at all.

        Args:
            effects: Of the block.
            indexed: What `index` has returned for it.
            ordered: The block and its place.
            leapt: Whether it was fetched: the journal does not have it yet.
        """
        results, index = effects.results, self._index.handle
        batch = WriteBatch(raw_mode=True)
        put, state = batch.put, self._state.handle
        for key, _, new in effects.changes:
            if new is None:
                batch.delete(key, state)
            else:
                put(key, new, state)
        height = _U64.pack(results.close.height)
        put(height, ordered.block, self._blocks.handle)
        put(height, results.encode(), self._results.handle)
        self._put_leaves(batch, effects.leaf_hashes)
        for key, value in self._index_rows(effects):
            put(key, value, index)
        self._put_provenance(batch, results, indexed)
        self.items.put_block(batch, effects.items)
        position = LogPosition(
            height=results.close.height,
            time_ms=results.close.time_ms,
            close_index=results.close_index,
            lanes=effects.lanes.tobytes(),
            frontier=effects.frontier,
        )
        self._put_position(batch, position)
        place = _ORDER.pack(ordered.index, ordered.term, False)
        put(_PLACE + height, place, index)
        batch.put(_ORDER_KEY, _ORDER.pack(ordered.index, ordered.term, leapt))
        self._write(batch)
        self._rows.written(effects.changes)

    def _put_provenance(
        self, batch: WriteBatch, results: BlockResults, indexed: Sequence[Row]
    ) -> None:
        put, family = batch.put, self.provenance.handle
        for key, value in indexed:
            put(key, value, family)
        self._put_indexed(batch, results.close.height)

    def _put_indexed(self, batch: WriteBatch, height: int) -> None:
        batch.put(INDEXED_KEY, _INDEXED.pack(INDEX_FORMAT, height), self.provenance.handle)

    def indexed_height(self) -> int | None:
        """Return up to which height the provenance index is made; None: it is not, or is older."""
        raw = self.provenance.get(INDEXED_KEY)
        if raw is None or raw[0] != INDEX_FORMAT:
            return None
        height: int = _INDEXED.unpack(raw)[1]
        return height

    def clear_index(self) -> None:
        """Forget the provenance index; it then begins at height 0."""
        self.provenance.clear()
        self._index_writer = IndexWriter(self.provenance.get)
        batch = WriteBatch(raw_mode=True)
        self._put_indexed(batch, 0)
        self._write(batch)

    def index_block(self, results: BlockResults, prepared: Sequence[PreparedBatch]) -> None:
        """Add a block that is there to the provenance index, which ends with the one before."""
        assert self.indexed_height() == results.close.height - 1, "blocks are added in order"
        batch = WriteBatch(raw_mode=True)
        self._put_provenance(batch, results, self.index(results, prepared))
        self._write(batch)

    def advance_order(self, place: OrderPlace) -> None:
        """Write that the ledger has leapt to a place by fetched blocks, and sync."""
        batch = WriteBatch(raw_mode=True)
        batch.put(_ORDER_KEY, _ORDER.pack(place.index, place.term, True))
        self._write(batch)
        self.sync()

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._db.write(batch, self._unsynced)
        except Exception as error:
            raise EngineError(f"{self._folder}: the store takes nothing more: {error}") from error

    def _put_leaves(self, batch: WriteBatch, leaf_hashes: Sequence[bytes]) -> None:
        for level, number, hashes in self._tile_writer.append(leaf_hashes):
            batch.put(_TILE.pack(level, number), hashes, self._tiles.handle)

    def _put_position(self, batch: WriteBatch, position: LogPosition) -> None:
        raw = _POSITION.pack(
            position.height,
            position.time_ms,
            position.close_index,
            position.frontier.size,
            position.lanes,
        )
        batch.put(_POSITION_KEY, raw + b"".join(position.frontier.nodes))

    def sync(self) -> None:
        """Make everything written so far survive a loss of power."""
        self._db.flush_wal(True)

    # Where the log stands

    def load_position(self) -> tuple[LogPosition, OrderPlace] | None:
        """Return where the log stands, and how far of the order that is; None: empty."""
        raw = self._read_own(_POSITION_KEY)
        if raw is None:
            return None
        order = self._read_own(_ORDER_KEY)
        assert order is not None, "both are written together"
        height, time_ms, close_index, size, lanes = _POSITION.unpack_from(raw)
        nodes = [raw[at : at + 32] for at in range(_POSITION.size, len(raw), 32)]
        frontier = Frontier(size, nodes)
        self._tile_writer = TileWriter(size, self._read_tile)
        position = LogPosition(
            height=height, time_ms=time_ms, close_index=close_index, lanes=lanes, frontier=frontier
        )
        return position, OrderPlace(*_ORDER.unpack(order))

    # Reading the log

    def block(self, height: int) -> bytes:
        """Return a block's bytes, height 1 or more."""
        return _need(self._blocks, _U64.pack(height), f"block {height}")

    def ordered(self, height: int) -> Ordered:
        """Return a block with its place in the order, height 1 or more."""
        key = _U64.pack(height)
        place = OrderPlace(*_ORDER.unpack(_need(self._index, _PLACE + key, f"block {height}")))
        block = self.block(height)
        time_ms = parse_block_head(block)[0].time_ms
        return Ordered(index=place.index, term=place.term, time_ms=time_ms, block=block)

    def results(self, height: int) -> BlockResults:
        """Return what became of a block, height 1 or more."""
        return parse_results(_need(self._results, _U64.pack(height), f"block {height}"))

    def raw_results(self, height: int) -> bytes:
        """Return the bytes of a block's results, height 1 or more."""
        return _need(self._results, _U64.pack(height), f"block {height}")

    def height_of(self, index: int) -> int:
        """Return the height of the block that holds an entry."""
        return self.place_of(index).height

    def place_of(self, index: int) -> BlockPlace:
        """Return the block that holds an entry, and where its batches begin."""
        found = self._index.last_row(_FIRST_INDEX + _U64.pack(index), _FIRST_INDEX)
        if found is None:
            raise NotOnLedger(f"entry {index} is not on the ledger")
        height, *starts = struct.unpack(f">Q{len(found[1]) // 4 - 2}I", found[1])
        return BlockPlace(height, starts)

    def governing(self, first: int, size: int) -> list[int]:
        """Return which entries from `first` to below `size` change who may do what, ascending."""
        found = []
        for key, _ in self._index.rows(_GOVERNING + _U64.pack(first), _GOVERNING):
            index: int = _U64.unpack_from(key, 1)[0]
            if index >= size:
                break
            found.append(index)
        return found

    def event_index(self, event_id: bytes) -> int | None:
        """Return the entry index of an event; the entry tells whether it is that event."""
        return self._listed(_EVENT_ID + event_id[:_ID_PREFIX])

    def batch_index(self, batch_id: bytes) -> int | None:
        """Return the entry index of a batch; the entry tells whether it is that batch."""
        return self._listed(_BATCH_ID + batch_id[:_ID_PREFIX])

    def listed_indexes(self, prefix: bytes, from_index: int) -> Iterator[int]:
        """Return the entry indexes that `seal_index` has listed under a prefix, ascending."""
        for key, _ in self._index.rows(prefix + _U64.pack(from_index), prefix):
            yield _U64.unpack(key[len(prefix) :])[0]

    def _listed(self, key: bytes) -> int | None:
        raw = self._index.get(key)
        return None if raw is None else _U64.unpack(raw)[0]

    def _index_rows(self, effects: BlockEffects) -> list[tuple[bytes, bytes]]:
        """Return the index rows of a block, ascending, which RocksDB takes faster.

        A batch is found once it has taken its number, or is evidence against its signer. Of equal
        events the accepted one is found.
        """
        pack, results = _U64.pack, effects.results
        starts = batch_starts(effects.block.batches)
        place = struct.pack(f">Q{len(starts)}I", results.close.height, *starts)
        rows = {_FIRST_INDEX + pack(results.first_index): place}
        index = results.first_index
        for batch, result in zip(effects.block.batches, results.batches, strict=True):
            consumes = not result.outcome or result.outcome >= CONSUMES_NUMBER_FROM
            if consumes or result.evidence:
                rows[_BATCH_ID + batch.batch_id[:_ID_PREFIX]] = pack(index)
            event_ids = batch.event_ids
            for position, outcome in enumerate(result.event_outcomes):
                key = _EVENT_ID + event_ids[position][:_ID_PREFIX]
                if not outcome or (key not in rows and self._index.get(key) is None):
                    rows[key] = pack(index + 1 + position)
                if not outcome:
                    event, at = batch.events[position], index + 1 + position
                    rows.update(seal_rows(event, batch.header.party, at))
            index += result.entry_count
        rows |= {_GOVERNING + pack(each): b"" for each in effects.governing}
        return sorted(rows.items())

    def _read_tile(self, level: int, number: int) -> bytes:
        return _need(self._tiles, _TILE.pack(level, number), f"tile {level}/{number}")


def _need(family: StoreFamily, key: bytes, what: str) -> bytes:
    value = family.get(key)
    if value is None:
        raise NotOnLedger(f"{what} is not on the ledger")
    return value


def _accepted(results: BlockResults, prepared: Sequence[PreparedBatch]) -> Iterator[IndexedBatch]:
    """Return the accepted batches of a block as the provenance index takes them."""
    index = results.first_index
    for each, result in zip(prepared, results.batches, strict=True):
        if not result.outcome:
            party = each.batch.header.party
            yield IndexedBatch(index + 1, party, each.events, result.event_outcomes)
        index += result.entry_count
