"""A node's items: the same records, roots and trees whatever is killed in between."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.item_epochs import EndedEpoch, epoch_root, item_leaf
from lotmark.merkle import leaf_hash, verify_inclusion
from lotmark_node.engine.item_rows import ItemRows, Tile
from lotmark_node.engine.store import LedgerStore
from tests.node.chained_ledger import chained_ledger, reckon, sha256
from tests.node.engine.stored_ledger import StoredLedger, crash_image
from tests.node.ledger_in_memory import LedgerInMemory

ENTRIES = 3


@cache
def whole() -> LedgerInMemory:
    """Return a ledger of some 200 epochs, which callers leave as it is."""
    return chained_ledger(11, 220, entries=ENTRIES, ms=10_000, items=30)


def stored_results(ledger: StoredLedger) -> list[bytes]:
    return [ledger.store.raw_results(height) for height in range(1, ledger.state.height + 1)]


def expected_results(height: int) -> list[bytes]:
    return [results for _, results in whole().blocks[:height]]


def settled(ledger: StoredLedger) -> int:
    """Wait until the trees of all ended epochs are made; return the newest of them."""
    running = ledger.state.items.running
    assert running is not None
    if running.number > 1:
        ledger.items.root(running.number - 1)
    assert not ledger.failures
    return running.number - 1


def test_a_store_makes_the_roots_that_memory_makes(tmp_path: Path) -> None:
    ledger = StoredLedger(tmp_path / "ledger", whole())
    ledger.grow(len(whole().blocks))

    assert stored_results(ledger) == expected_results(len(whole().blocks))
    assert settled(ledger) > 128
    expected = reckon(whole(), entries=ENTRIES, ms=10_000)
    heads = {head.number: root for head, root in ledger.store.items.heads()}
    assert heads == {number: root for number, root in expected.roots.items() if number >= 64}
    ledger.close()


@pytest.mark.parametrize("height", [1, 7, 60, 100, 101, 150])
def test_a_killed_store_goes_on_alike(height: int, tmp_path: Path) -> None:
    first = StoredLedger(tmp_path / "first", whole())
    first.grow(height)
    image = crash_image(tmp_path / "first", tmp_path / "image")
    first.close()
    again = StoredLedger(image, whole())
    again.grow(len(whole().blocks))

    assert stored_results(again) == expected_results(len(whole().blocks))
    settled(again)
    again.close()


@settings(max_examples=10, deadline=None)
@given(heights=st.lists(st.integers(0, 220), max_size=4))
def test_stops_change_nothing(heights: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("stops")
    for height in [*sorted(heights), len(whole().blocks)]:
        ledger = StoredLedger(folder, whole())
        ledger.grow(height)
        ledger.close()
    ledger = StoredLedger(folder, whole())

    assert stored_results(ledger) == expected_results(len(whole().blocks))
    settled(ledger)
    expected = reckon(whole(), entries=ENTRIES, ms=10_000)
    found = ledger.items.records(expected.records.keys())
    assert found == {
        item: count.to_bytes(8) + last.to_bytes(8) + head
        for item, (count, last, head) in expected.records.items()
    }
    ledger.close()


@pytest.mark.parametrize("left", ["records", "leaves"])
def test_a_tree_that_a_kill_left_half_made_is_made_again(
    left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    ledger = StoredLedger(tmp_path / "first", whole())
    ledger.grow(100)
    newest = settled(ledger)
    if left == "records":
        monkeypatch.setattr(ItemRows, "put_tree", killed)
    else:
        monkeypatch.setattr("lotmark_node.engine.item_rows._TreeInTheMaking.finish", killed)
    running = ledger.state.items.running
    while ledger.state.items.running == running or not ledger.failures:
        ledger.grow(ledger.state.height + 1)
        if ledger.state.items.running.number > newest + 1:  # type: ignore[union-attr]
            break
    image = crash_image(tmp_path / "first", tmp_path / "image")
    monkeypatch.undo()
    ledger.close()
    again = StoredLedger(image, whole())
    again.grow(len(whole().blocks))

    assert stored_results(again) == expected_results(len(whole().blocks))
    again.close()


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[ItemRows]:
    store = LedgerStore(tmp_path / "rows", bytes(32))
    yield store.items
    store.close()


@pytest.mark.parametrize("count", [0, 1, 2, 254, 255, 256, 257, 511, 512, 767, 5_000, 66_000])
def test_every_item_is_found_and_proven_in_a_tree(rows: ItemRows, count: int) -> None:
    items = sorted((sha256(b"%d" % number), bytes(47) + b"1") for number in range(count))
    ended = EndedEpoch(number=3, chain_first_index=2, first_index=9, size=99)
    root = rows.put_tree(ended, iter(items), previous_root=bytes(32), last_height=0)
    found = rows.head(3)
    assert found is not None
    head = found[0]

    assert (head.item_count, found[1], epoch_root(head, items)) == (count, root, root)
    assert [item for tile in rows.tiles(3) for item in tile.items] == items
    step = max(1, count // 40)
    for at in [*range(0, count, step), *([count - 1] if count else [])]:
        hashed, record = items[at]
        tile = rows.tile_at(3, hashed)
        assert tile.items[at + 1 - tile.first_leaf] == items[at]
        path = rows.tree(head, tile).inclusion_path(at + 1, head.tree_size)
        leaf = leaf_hash(item_leaf(hashed, record))
        verify_inclusion(leaf, at + 1, head.tree_size, path, root)
    first = rows.tile_at(3, bytes(32))
    path = rows.tree(head, first).inclusion_path(0, head.tree_size)
    verify_inclusion(leaf_hash(head.leaf()), 0, head.tree_size, path, root)


def test_a_tile_knows_its_place() -> None:
    assert [Tile(number, ()).first_leaf for number in (0, 1, 2)] == [1, 256, 512]
