"""Scrubbing: all that a stopped node has stored is read again and held against everything else.

Nothing is believed but the genesis: every entry is hashed from its block again, and tiles, closes,
indexes, state rows and the signed maximum must all follow. What stands in the store and was signed
by nobody, such as an index, is found wrong here and nowhere else.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lotmark import ed25519
from lotmark import genesis as protocol_genesis
from lotmark.block import Block, batch_starts, batches_root, parse_block
from lotmark.block_results import BlockResults, leaf_hashes
from lotmark.entry import EntryKind, parse_close, parse_event_payload, parse_leaf_data
from lotmark.errors import ProofError, ProtocolError
from lotmark.genesis import Genesis, chain_of
from lotmark.item_epochs import EpochHead
from lotmark.merkle import HASH_SIZE, Frontier, leaf_hash
from lotmark.outcome import CONSUMES_NUMBER_FROM
from lotmark_consensus.ordering import Ordered
from lotmark_node.engine.errors import NotOnLedger, Regression, StoreCorrupt
from lotmark_node.engine.item_scrub import ChainedBlocks, ItemScrub
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.scrubbed_order import ScrubbedOrder, open_order
from lotmark_node.engine.signed_maximum import SignedMaximum
from lotmark_node.engine.store import LedgerStore, OrderPlace
from lotmark_node.engine.stored_block import LogEntry
from lotmark_node.engine.tiles import TILE_WIDTH, TileWriter
from lotmark_node.state_machine import lthash
from lotmark_node.state_machine.genesis_block import GenesisBlock, make_genesis_block
from lotmark_node.state_machine.item_chain import load_item_chain
from lotmark_node.state_machine.item_epochs import ItemsInMemory
from lotmark_node.state_machine.ledger_state import LogPosition, load_state
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.state import StateInMemory
from lotmark_node.state_machine.tables import split_row_key
from lotmark_node.state_machine.transition import apply_block

ROWS_SUMMED = 4_096  # at once; bounds what is held in memory

# Opens a display of progress for work of so many steps and gives what counts them.
Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubReport:
    """What was found whole."""

    journal_first_index: int
    journal_last_index: int
    torn_size: int  # bytes of an unfinished append that were cut off
    height: int
    size: int
    row_count: int
    waiting_count: int  # entries of the order that the next start, or a leader, has it apply
    signed_size: int  # largest tree that this node has signed


@dataclass(frozen=True, slots=True)
class _Head:
    """The log after the blocks that were checked so far."""

    frontier: Frontier
    close_index: int
    state_digest: bytes
    ordered_index: int  # of the newest block in the order


class _ScrubbedStore(LedgerStore):
    """A store with what only a scrub reads."""

    def tile(self, level: int, number: int) -> bytes:
        """Return a tile as it is stored."""
        return self._read_tile(level, number)


def scrub(folder: Path, genesis: Genesis, progress: Progress, *, is_shared: bool) -> ScrubReport:
    """Check everything in a node's data folder, and return what was found whole.

    Args:
        folder: The data folder.
        genesis: The founding document.
        progress: Shows how far it is.
        is_shared: Whether the node is one of several voters.

    Raises:
        StoreCorrupt, JournalCorrupt: The first damage found, and what to do about it.
        Regression: The ledger is behind what this node has signed.
        EngineError, ConsensusError: The folder is in use, foreign, or cannot be read.
    """
    chain_id = protocol_genesis.chain_id(genesis.to_json())
    with ExitStack() as opened:
        order = open_order(folder / "journal", chain_id, is_shared=is_shared)
        opened.callback(order.close)
        store = _ScrubbedStore(folder / "ledger", chain_id)
        opened.callback(store.close)
        scrubbing = _Scrubbing(folder, genesis, chain_id, order, store)
        return scrubbing.run(progress)


class _Scrubbing:
    """One scrub of an open folder."""

    def __init__(
        self,
        folder: Path,
        genesis: Genesis,
        chain_id: bytes,
        order: ScrubbedOrder,
        store: _ScrubbedStore,
    ) -> None:
        self._folder = folder
        self._genesis = genesis
        self._chain_id = chain_id
        self._order = order
        self._store = store
        self._founding: GenesisBlock = make_genesis_block(genesis, chain_id)
        self._reader = LogReader(store, self._founding)
        self._items = ItemScrub(store.items, self._reader)
        self._led_ahead: dict[int, bytes] = {}  # entries not reached yet, and what they must be

    def run(self, progress: Progress) -> ScrubReport:
        order = self._order
        with progress("Reading the journal", None):
            order.scrub()
        loaded = self._store.load_position()
        if loaded is None:
            raise self._damage("the store is empty")
        position, place = loaded
        waiting_count = max(0, order.last_index - place.index)
        if order.last_index < place.index and not place.leapt:
            raise self._older_journal(place)
        with progress("Hashing blocks", position.height) as advance:
            head = self._check_blocks(position, place, advance)
        with progress("Summing state rows", None) as advance:
            row_count = self._check_rows(position, head, advance)
        with progress("Hashing items", None), self._place("items"):
            newest = self._items.check_trees()
            self._items.check_records(self._unmade_blocks(newest, position))
        return ScrubReport(
            journal_first_index=order.first_index,
            journal_last_index=order.last_index,
            torn_size=order.torn_size,
            height=position.height,
            size=position.frontier.size,
            row_count=row_count,
            waiting_count=waiting_count,
            signed_size=self._check_maximum(position, waiting_count),
        )

    def _unmade_blocks(
        self, newest: EpochHead | None, position: LogPosition
    ) -> ChainedBlocks | None:
        """Return the blocks whose events are chained and stand in no tree yet."""
        chain = load_item_chain(self._store, ItemsInMemory())
        if chain.running is None:
            return None
        first_index = chain.running.chain_first_index if newest is None else newest.size
        if first_index >= position.frontier.size:
            return None
        return ChainedBlocks(self._store.height_of(first_index), position.height)

    def _older_journal(self, place: OrderPlace) -> Regression:
        remedy = (
            "it is an older copy, and no older copy of a voter may start: keep it aside; the others"
            " go on without this voter, whose place no other can take yet"
            if self._order.is_shared
            else "restore the newest journal folder"
        )
        return Regression(
            f"{self._folder}: the ledger has applied block {place.index} of the order, but"
            f" the journal ends at {self._order.last_index}; {remedy}"
        )

    def _damage(self, what: str) -> StoreCorrupt:
        """Return the error that names a damage of the store and the way out."""
        ledger = self._folder / "ledger"
        if self._order.first_index == 1:
            remedy = f"move {ledger} away: the next start builds it again from the journal"
        elif self._order.is_shared:
            remedy = (
                f"check the disk and keep {self._folder} aside: no older copy of a voter may start,"
                " and the others go on without this one, whose place no other can take yet"
            )
        else:
            remedy = f"restore {self._folder} from a backup, and check the disk"
        return StoreCorrupt(f"{ledger}: {what}; {remedy}")

    @contextmanager
    def _place(self, what: str) -> Iterator[None]:
        """Turn what is found wrong inside into a damage at this place."""
        try:
            yield
        except StoreCorrupt:
            raise
        except (ProtocolError, NotOnLedger) as error:
            raise self._damage(f"{what}: {error}") from error

    # Blocks, entries, tiles and indexes

    def _check_blocks(
        self, position: LogPosition, place: OrderPlace, advance: Callable[[int], None]
    ) -> _Head:
        tiles = _Tiles(self._store)
        hashes = [leaf_hash(leaf) for leaf in self._founding.leaves]
        frontier = Frontier()
        frontier.extend(hashes)
        close = parse_close(parse_leaf_data(self._founding.leaves[1])[1])
        head = _Head(frontier, 1, close.state_digest, 0)
        with self._place("height 0"):
            tiles.check(hashes)
        for height in range(1, position.height + 1):
            with self._place(f"block {height}"):
                head = self._check_block(height, head, tiles)
            advance(1)
        if head.ordered_index > place.index:
            raise self._damage(f"the kept place in the order is before block {position.height}")
        with self._place(f"entries up to {head.close_index}"):
            tiles.check_unfinished()
        for index, own_id in self._led_ahead.items():
            raise self._damage(f"the index leads from {own_id.hex()} to entry {index}, another one")
        if (position.close_index, position.frontier.nodes) != (head.close_index, frontier.nodes):
            raise self._damage(f"the kept position is not that of block {position.height}")
        return head

    def _check_block(self, height: int, before: _Head, tiles: "_Tiles") -> _Head:
        ordered = self._store.ordered(height)
        self._check_ordered(height, ordered, before)
        block, results = parse_block(ordered.block), self._store.results(height)
        self._check_proposal(height, block)
        self._check_close(height, block, results, before)
        self._items.take(results.close)
        hashes = leaf_hashes(block.batches, results)
        tiles.check(hashes)
        self._check_indexes(height, block, results)
        before.frontier.extend(hashes)
        return _Head(
            before.frontier, results.close_index, results.close.state_digest, ordered.index
        )

    def _check_ordered(self, height: int, ordered: Ordered, before: _Head) -> None:
        """Hold a block and its place against the order, as far as that is kept."""
        order, index = self._order, ordered.index
        journalled = order.block(index)
        if journalled is not None and journalled != ordered.block:
            raise self._damage(f"block {height} is not the block that the journal holds")
        # A voter's log that a pointer cut short begins with an entry that stands for a block.
        is_kept = order.first_index + order.is_shared <= index <= order.last_index
        if index <= before.ordered_index or (journalled is None and is_kept):
            raise self._damage(f"block {height} stands at place {index}, where it was not ordered")

    def _check_proposal(self, height: int, block: Block) -> None:
        proposal = block.proposal
        ed25519.verify(proposal.key, proposal.signed_message(), block.signature)
        if proposal.batches_root != batches_root(block.batches):
            raise self._damage(f"block {height}: its batches are not those that were proposed")

    def _check_close(self, height: int, block: Block, results: BlockResults, before: _Head) -> None:
        close, size = results.close, before.frontier.size
        if len(results.batches) != len(block.batches):
            raise self._damage(f"block {height}: results of {len(results.batches)} batches")
        for batch, result in zip(block.batches, results.batches, strict=True):
            if len(result.event_outcomes) not in (0, len(batch.events)):
                raise self._damage(f"block {height}: results of another number of events")
        found = (
            results.first_index,
            close.height,
            close.time_ms,
            close.previous_close_index,
            close.previous_size,
            close.previous_root,
            close.proposal_digest,
        )
        expected = (
            size,
            height,
            block.proposal.time_ms,
            before.close_index,
            size,
            before.frontier.root(),
            block.proposal.digest(),
        )
        if found != expected:
            raise self._damage(f"block {height}: its close does not follow from what is before it")

    def _check_indexes(self, height: int, block: Block, results: BlockResults) -> None:
        index = results.first_index
        for at in (index, results.close_index):
            if self._store.height_of(at) != height:
                raise self._damage(f"the index does not find entry {at} in block {height}")
        if self._store.place_of(index).batch_starts not in ([], batch_starts(block.batches)):
            raise self._damage(f"the index does not find the batches of block {height}")
        for batch, result in zip(block.batches, results.batches, strict=True):
            if not result.outcome or result.outcome >= CONSUMES_NUMBER_FROM:
                batch_id = batch.batch_id
                self._check_found("batch", batch_id, index, self._store.batch_index(batch_id))
            for position in range(len(result.event_outcomes)):
                event_id, at = batch.event_ids[position], index + 1 + position
                self._check_found("event", event_id, at, self._store.event_index(event_id))
            index += result.entry_count

    def _check_found(self, what: str, own_id: bytes, index: int, indexed: int | None) -> None:
        """Check where the index leads; equal events share a row, which leads to one of them."""
        led = self._led_ahead.pop(index, own_id)
        if led != own_id:
            raise self._damage(f"the index leads from {led.hex()} to entry {index}, another one")
        if indexed is None:
            raise self._damage(f"the index lacks {what} {own_id.hex()}, entry {index}")
        if indexed > index:
            self._led_ahead[indexed] = own_id  # to be seen when that entry is reached
        elif indexed < index and _id_of(self._reader.entry(indexed)) != own_id:
            raise self._damage(
                f"the index leads from {what} {own_id.hex()} to entry {indexed}, another one"
            )

    # State

    def _check_rows(
        self, position: LogPosition, head: _Head, advance: Callable[[int], None]
    ) -> int:
        total, count = lthash.empty_lanes(), 0
        chunk: list[bytes] = []
        for key, value in self._store.rows(b""):
            chunk.append(lthash.row_bytes(key, value))
            if len(chunk) == ROWS_SUMMED:
                total, count = total + lthash.sum_elements(chunk), count + len(chunk)
                advance(len(chunk))
                chunk = []
        total, count = total + lthash.sum_elements(chunk), count + len(chunk)
        if lthash.digest(total) != head.state_digest:
            raise self._damage(self._first_wrong_row(position.height))
        if total.tobytes() != position.lanes:
            raise self._damage("the kept sum over the state rows is not theirs")
        return count

    def _first_wrong_row(self, height: int) -> str:
        """Say which row is not as the blocks make it; all of them are executed again for that."""
        expected = StateInMemory()
        expected.write(self._founding.changes.changed())
        state = load_state(
            expected,
            self._founding.position,
            chain=chain_of(self._genesis, self._chain_id),
        )
        for at in range(1, height + 1):
            block = parse_block(self._store.block(at))
            effects = apply_block(state, block, [PreparedBatch(each) for each in block.batches])
            expected.write(effects.changes)
            effects.commit()
        for key, value in self._store.rows(b""):
            if expected.get(key) != value:
                return f"the state row {_row_name(key)} is not as block {height} left it"
        for key, _ in expected.rows(b""):
            if self._store.get(key) is None:
                return f"the state row {_row_name(key)} is missing"
        return f"the blocks, executed again, make another state than the close of block {height}"

    # What was signed

    def _check_maximum(self, position: LogPosition, waiting_count: int) -> int:
        path = self._folder / "signed-maximum"
        if not path.exists():
            raise Regression(
                f"{path} is missing, so it is not known what this node has signed; restore it, or"
                " give the node a new id and new keys"
            )
        maximum = SignedMaximum(path)
        maximum.close()
        size = position.frontier.size
        if maximum.size > size:
            if waiting_count:
                return maximum.size  # whether the blocks that wait make this tree, the start sees
            raise Regression(
                f"{self._folder}: the ledger has {size} entries, but this node has signed a tree"
                f" of {maximum.size}; restore the newest folder, or give the node a new id"
            )
        if maximum.size and self._store.tree.root(maximum.size) != maximum.root:
            raise Regression(
                f"{path}: this node has signed another tree of {maximum.size} entries than the"
                " ledger has; keep both, and ask the other parties which is theirs"
            )
        return maximum.size


def _id_of(entry: LogEntry) -> bytes | None:
    """Return the event or batch id of an entry; None where it has none."""
    head, payload = parse_leaf_data(entry.leaf_data)
    if head.kind is EntryKind.EVENT:
        return parse_event_payload(payload)[2]
    if head.kind is EntryKind.BATCH and entry.batch is not None:
        return entry.batch.batch_id
    return None


def _row_name(key: bytes) -> str:
    """Return a state key as a person reads it."""
    try:
        table, parts = split_row_key(key)
    except (ValueError, struct.error):
        return key.hex()
    shown = (part.decode() if part.isascii() and part.isalnum() else part.hex() for part in parts)
    return " ".join([table.name.lower().replace("_", " "), *shown])


class _Tiles:
    """The log's tiles made again, each held against the stored one as it grows."""

    def __init__(self, store: _ScrubbedStore) -> None:
        self._store = store
        self._made = TileWriter(0, store.tile)
        self._unfinished: dict[tuple[int, int], bytes] = {}

    def check(self, hashes: list[bytes]) -> None:
        """Add leaves, and check the tiles that hold them."""
        for level, number, made in self._made.append(hashes):
            self._unfinished[level, number] = made
            if len(made) == TILE_WIDTH * HASH_SIZE:
                del self._unfinished[level, number]
            if self._store.tile(level, number)[: len(made)] != made:
                raise _wrong_tile(level, number)

    def check_unfinished(self) -> None:
        """Check that the tiles that are not full hold nothing more."""
        for (level, number), made in self._unfinished.items():
            if self._store.tile(level, number) != made:
                raise _wrong_tile(level, number)


def _wrong_tile(level: int, number: int) -> ProofError:
    first = number * TILE_WIDTH ** (level + 1)
    return ProofError(f"tile {level}/{number}, over entries from {first} on, has other hashes")
