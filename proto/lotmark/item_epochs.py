"""The item chain: what is hashed of an item's history, and when an epoch of it ends.

Every accepted event moves the head of each item that it names. What the heads are at the end of an
epoch stands in a tree, and the tree's root in the blocks' closes, so that whoever is shown an
item's events can tell whether one was withheld. Layouts: docs/protocol.md, section 13.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from lotmark.errors import MalformedError
from lotmark.item_name import canonical_item
from lotmark.merkle import HASH_SIZE, leaf_hash, root
from lotmark.state_rows import RowReader, parameter_key

FULL_EVERY = 64  # epochs: the tree of such a one holds every item, not only those touched in it
# An epoch with so many touches ends too: it bounds what a node holds of an epoch in memory.
TOUCHES_MAX = 200_000
EPOCH_PARAMETERS = ("item_epoch_entries", "item_epoch_ms")

_CHAIN_DOMAIN = b"lotmark/item/v1\n"
_LEAF_DOMAIN = b"lotmark/item-leaf/v1\n"
_HEAD_DOMAIN = b"lotmark/item-epoch/v1\n"
_RECORD = struct.Struct(">QQ32s")
_HEAD = struct.Struct(">QBQQQQ32s")
_RUNNING = struct.Struct(">QQQQQ32s")
_HASHES_CACHED_MAX = 16_384

RECORD_SIZE = _RECORD.size
ZERO_HASH = bytes(HASH_SIZE)


@lru_cache(_HASHES_CACHED_MAX)
def item_hash(item_id: str) -> bytes:
    """Return the hash under which an item is chained, of whichever of its names."""
    return hashlib.sha256(canonical_item(item_id).encode("ascii")).digest()


def touched_hashes(item_ids: Sequence[str]) -> Sequence[bytes]:
    """Return the hashes of the distinct items that an event names, in its order."""
    hashes = [item_hash(item_id) for item_id in item_ids]
    if len(hashes) > 1 and len(set(hashes)) != len(hashes):
        return list(dict.fromkeys(hashes))
    return hashes


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """How far an item's chain goes."""

    count: int = 0
    last_index: int = 0
    head: bytes = ZERO_HASH

    def encode(self) -> bytes:
        """Return the record's bytes."""
        return _RECORD.pack(self.count, self.last_index, self.head)


def parse_record(raw: bytes) -> ItemRecord:
    """Return the record that `encode` made."""
    return ItemRecord(*_RECORD.unpack(raw))


NO_RECORD = ItemRecord().encode()


def chained(record: bytes, index: int, entry: bytes) -> bytes:
    """Return an item's record after one more event.

    Args:
        record: Of the item before it.
        index: Of the event's entry.
        entry: Leaf hash of that entry.
    """
    count, _, head = _RECORD.unpack(record)
    return _RECORD.pack(count + 1, index, hashlib.sha256(_CHAIN_DOMAIN + head + entry).digest())


def chained_records(
    events: Iterable[tuple[int, Sequence[bytes]]],
    before: Mapping[bytes, bytes],
    leaf_hashes: Sequence[bytes],
    first_index: int,
) -> dict[bytes, bytes]:
    """Return the records that a block's events lead to; the same as `chained` for each, but faster.

    Args:
        events: Entry index and the items' hashes, in the order of the log.
        before: Records before; an item that has none is new.
        leaf_hashes: Of the block's entries.
        first_index: Of the first of them.
    """
    sha256, domain, get = hashlib.sha256, _CHAIN_DOMAIN, before.get
    moved: dict[bytes, tuple[int, int, bytes]] = {}
    for index, hashes in events:
        entry = leaf_hashes[index - first_index]
        for hashed in hashes:
            record = moved.get(hashed) or _RECORD.unpack(get(hashed, NO_RECORD))
            head = sha256(domain + record[2] + entry).digest()
            moved[hashed] = record[0] + 1, index, head
    pack = _RECORD.pack
    return {hashed: pack(*record) for hashed, record in moved.items()}


def item_leaf(hashed: bytes, record: bytes) -> bytes:
    """Return the leaf data of an item in an epoch's tree."""
    return _LEAF_DOMAIN + hashed + record


def is_full(number: int) -> bool:
    """Return whether an epoch's tree holds every item there is."""
    return number % FULL_EVERY == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochHead:
    """The first leaf of an epoch's tree; the items follow it, ascending by their hashes."""

    number: int
    chain_first_index: int  # of the entries before it no item's chain knows
    first_index: int
    size: int  # of the log at the epoch's end
    item_count: int
    previous_root: bytes = ZERO_HASH  # of the epoch before; zero for the first

    @property
    def tree_size(self) -> int:
        """How many leaves the tree has."""
        return 1 + self.item_count

    def leaf(self) -> bytes:
        """Return the leaf data."""
        return _HEAD_DOMAIN + _HEAD.pack(
            self.number,
            is_full(self.number),
            self.chain_first_index,
            self.first_index,
            self.size,
            self.item_count,
            self.previous_root,
        )


EPOCH_LEAF_SIZE = len(_HEAD_DOMAIN) + _HEAD.size


def parse_epoch_head(raw: bytes) -> EpochHead:
    """Return the head that `EpochHead.leaf` made.

    Raises:
        MalformedError: The bytes are none.
    """
    if not raw.startswith(_HEAD_DOMAIN) or len(raw) != EPOCH_LEAF_SIZE:
        raise MalformedError(f"{len(raw)} bytes are no head of an epoch of version 1")
    fields = _HEAD.unpack_from(raw, len(_HEAD_DOMAIN))
    number, holds_all, chain_first_index, first_index, size, item_count, previous_root = fields
    if holds_all != is_full(number):
        raise MalformedError(f"epoch {number} says {holds_all} of whether it holds every item")
    return EpochHead(
        number=number,
        chain_first_index=chain_first_index,
        first_index=first_index,
        size=size,
        item_count=item_count,
        previous_root=previous_root,
    )


def epoch_root(head: EpochHead, items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the root of an epoch's tree over its items' hashes and records, ascending."""
    leaves = [leaf_hash(head.leaf())]
    leaves += [leaf_hash(item_leaf(hashed, record)) for hashed, record in items]
    assert len(leaves) == head.tree_size, "the head counts the items"
    return root(leaves)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRule:
    """When an epoch ends: with the first block by whose end it has as many entries, or so long."""

    entries: int
    ms: int


def rule_in_force(rows: RowReader) -> EpochRule | None:
    """Return when epochs end in a state, or None where no item is chained."""
    raw = [rows.get(parameter_key(name)) for name in EPOCH_PARAMETERS]
    if raw[0] is None or raw[1] is None:
        return None
    return EpochRule(entries=int.from_bytes(raw[0]), ms=int.from_bytes(raw[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedEpoch:
    """An epoch whose tree is to be made."""

    number: int
    chain_first_index: int
    first_index: int
    size: int  # of the log at its end

    def head(self, *, item_count: int, previous_root: bytes) -> EpochHead:
        """Return the first leaf of its tree."""
        return EpochHead(
            number=self.number,
            chain_first_index=self.chain_first_index,
            first_index=self.first_index,
            size=self.size,
            item_count=item_count,
            previous_root=previous_root,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEpoch:
    """The epoch of the next block, and what the closes say meanwhile."""

    number: int = 1
    chain_first_index: int
    first_index: int
    start_ms: int  # time of the block before it
    touches: int = 0  # distinct items of each event, summed
    root: bytes = ZERO_HASH  # of the epoch that closes name

    @property
    def named(self) -> int:
        """The epoch whose root stands in closes; 0: none yet."""
        return max(0, self.number - 2)

    def encode(self) -> bytes:
        """Return the bytes of its row."""
        return _RUNNING.pack(
            self.number,
            self.chain_first_index,
            self.first_index,
            self.start_ms,
            self.touches,
            self.root,
        )

    def touched(self, count: int) -> "RunningEpoch":
        """Return it after a block's events."""
        return replace(self, touches=self.touches + count)

    def ends(self, rule: EpochRule, *, size: int, time_ms: int) -> bool:
        """Return whether it ends with the block after which the log has `size` entries."""
        return (
            size - self.first_index >= rule.entries
            or time_ms - self.start_ms >= rule.ms
            or self.touches >= TOUCHES_MAX
        )

    def ended(self, size: int) -> EndedEpoch:
        """Return it as what its tree is made of."""
        return EndedEpoch(
            number=self.number,
            chain_first_index=self.chain_first_index,
            first_index=self.first_index,
            size=size,
        )

    def next(self, *, size: int, time_ms: int, root: bytes) -> "RunningEpoch":
        """Return the epoch after it; `root` is that of the epoch before this one, if any."""
        return RunningEpoch(
            number=self.number + 1,
            chain_first_index=self.chain_first_index,
            first_index=size,
            start_ms=time_ms,
            root=root,
        )


def begin_epochs(*, size: int, time_ms: int) -> RunningEpoch:
    """Return the first epoch, which begins after the log of `size` entries."""
    return RunningEpoch(chain_first_index=size, first_index=size, start_ms=time_ms)


def parse_running_epoch(raw: bytes) -> RunningEpoch:
    """Return the epoch that `RunningEpoch.encode` made."""
    number, chain_first_index, first_index, start_ms, touches, shown = _RUNNING.unpack(raw)
    return RunningEpoch(
        number=number,
        chain_first_index=chain_first_index,
        first_index=first_index,
        start_ms=start_ms,
        touches=touches,
        root=shown,
    )
