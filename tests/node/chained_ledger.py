"""Ledgers in memory whose items are chained in small epochs, and a plain reckoning of the chain."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from lotmark.batch import Batch
from lotmark.block import parse_block
from lotmark.block_results import leaves, parse_results
from lotmark.entry import EntryKind, parse_leaf_data
from lotmark.item_epochs import EpochHead, item_leaf
from lotmark.item_name import canonical_item
from lotmark.merkle import leaf_hash, root
from lotmark.v1 import event_pb2
from tests.node.ledger_in_memory import LedgerInMemory, consortium, event, measurement

URN = "urn:epc:id:sgtin:4012345.000001.7"  # one item, by two of its names
LINK = "https://id.gs1.org/01/04012345000016/21/7"


def sha256(raw: bytes) -> bytes:
    """Return a hash."""
    return hashlib.sha256(raw).digest()


def chained_ledger(
    seed: int, block_count: int, *, entries: int = 12, ms: int = 10_000, items: int = 6
) -> LedgerInMemory:
    """Return a ledger of random blocks whose epochs are short."""
    ledger = LedgerInMemory(consortium(item_epoch_entries=entries, item_epoch_ms=ms))
    grow(ledger, seed, block_count, items=items)
    return ledger


def grow(ledger: LedgerInMemory, seed: int, block_count: int, *, items: int = 6) -> None:
    """Add random blocks: events of some items, doubled and refused ones, and empty blocks."""
    pick = random.Random(seed)  # noqa: S311 - a seed makes it the same each time
    for number in range(block_count):
        batches = [_batch(ledger, pick, f"{seed} {number} {at}", items) for at in range(2)]
        chosen = batches[: 1 + (pick.random() < 0.5)] if pick.random() < 0.8 else []
        later_ms = pick.choice((0, 900, 4_000, 11_000))
        ledger.block(chosen, time_ms=ledger.state.time_ms + later_ms)


def _batch(ledger: LedgerInMemory, pick: random.Random, name: str, items: int) -> Batch:
    events = [_event(pick, f"{name} {at}", items) for at in range(pick.randint(1, 4))]
    if pick.random() < 0.3:
        events += [events[0], b"no event"]
    holder = pick.choice(("T1-STATOR/mes", "OEM-A/erp"))
    return ledger.batch(holder, events, lane=int.from_bytes(sha256(name.encode())[:4]))


def _event(pick: random.Random, name: str, items: int) -> bytes:
    named = pick.sample([URN, LINK, *(f"ST-{at}" for at in range(items))], pick.randint(1, 3))
    roles = [(item, event_pb2.ITEM_ROLE_SUBJECT) for item in named]
    body = event_pb2.Event.FromString(measurement(0)).measurement
    return event(measurement=body, nonce=name, items=roles)


@dataclass(slots=True)
class Reckoned:
    """The chain as the log alone makes it, reckoned without the code under test."""

    records: dict[bytes, tuple[int, int, bytes]] = field(default_factory=dict)
    roots: dict[int, bytes] = field(default_factory=dict)
    closes: list[tuple[int, bytes]] = field(default_factory=list)  # of each height from 1 on
    entries: dict[bytes, list[int]] = field(default_factory=dict)  # of each item


def reckon(ledger: LedgerInMemory, *, entries: int, ms: int, start: int = 0) -> Reckoned:
    """Return the chain of a ledger.

    Args:
        ledger: The ledger.
        entries: With so many an epoch ends.
        ms: Or with so much time.
        start: Height after which it was begun.
    """
    made = Reckoned()
    number, first = 1, ledger.sizes[start]
    begun_ms, chain_first = ledger.genesis.created_ms, first
    touched: set[bytes] = set()
    named, shown = 0, bytes(32)
    for height, (raw, raw_results) in enumerate(ledger.blocks, 1):
        block, results = parse_block(raw), parse_results(raw_results)
        if height == start:
            begun_ms = results.close.time_ms
        if height <= start:
            made.closes.append((0, bytes(32)))
            continue
        for leaf, body in leaves(block.batches, results):
            for item in _items(leaf, body):
                head, _ = parse_leaf_data(leaf)
                count, _, before = made.records.get(item, (0, 0, bytes(32)))
                chained = sha256(b"lotmark/item/v1\n" + before + leaf_hash(leaf))
                made.records[item] = (count + 1, head.index, chained)
                made.entries.setdefault(item, []).append(head.index)
                touched.add(item)
        size, time_ms = results.close_index + 1, results.close.time_ms
        if size - first >= entries or time_ms - begun_ms >= ms:
            chosen = made.records.keys() if number % 64 == 0 else touched
            made.roots[number] = _root(made, sorted(chosen), number, (chain_first, first, size))
            named, shown = number - 1, made.roots.get(number - 1, bytes(32))
            number, first, begun_ms, touched = number + 1, size, time_ms, set()
        made.closes.append((named, shown))
    return made


def _items(leaf: bytes, body: bytes) -> Sequence[bytes]:
    head, _ = parse_leaf_data(leaf)
    if head.kind is not EntryKind.EVENT or head.outcome:
        return ()
    names = [canonical_item(item.id) for item in event_pb2.Event.FromString(body).items]
    return [sha256(name.encode()) for name in dict.fromkeys(names)]


def _root(
    made: Reckoned, chosen: Sequence[bytes], number: int, places: tuple[int, int, int]
) -> bytes:
    chain_first, first, size = places
    head = EpochHead(
        number=number,
        chain_first_index=chain_first,
        first_index=first,
        size=size,
        item_count=len(chosen),
        previous_root=made.roots.get(number - 1, bytes(32)),
    )
    hashes = [leaf_hash(head.leaf())]
    for item in chosen:
        count, last, chained = made.records[item]
        record = count.to_bytes(8) + last.to_bytes(8) + chained
        hashes.append(leaf_hash(item_leaf(item, record)))
    return root(hashes)
