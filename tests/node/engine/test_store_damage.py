"""A damaged byte anywhere in the store is found where it is read, and never served as truth."""

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from rocksdict import Cache

from lotmark.block import parse_block
from lotmark_node.engine import store_opening
from lotmark_node.engine.errors import EngineError, StoreCorrupt
from lotmark_node.engine.store import LedgerStore
from tests.node.engine.stored_ledger import StoredLedger, crash_image
from tests.node.state_machine.random_history import history, resumed

BLOCKS = 30
WHOLE = history(0, BLOCKS)
FLIPS_PER_FILE = 10


@pytest.fixture(autouse=True)
def _without_block_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of one store share their cached blocks, which would hide the damage."""
    monkeypatch.setattr(store_opening, "_CACHE", Cache(0))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine") / "ledger"
    with closing(StoredLedger(folder, WHOLE)) as stored:
        stored.grow(BLOCKS)
    return folder


@contextmanager
def damaged(pristine: Path, copy: Path, name: str, at: int) -> Iterator[Path]:
    """Give a copy of a store in which one byte of a file is another."""
    shutil.copytree(pristine, copy)
    raw = bytearray((copy / name).read_bytes())
    raw[at] ^= 0x41
    (copy / name).write_bytes(raw)
    yield copy
    shutil.rmtree(copy)


def reads() -> Iterator[tuple[str, Callable[[LedgerStore], object], object]]:
    """Return everything that can be asked of the store, and what is true."""
    rows = list(WHOLE.rows.rows(b""))
    yield "rows", lambda store: list(store.rows(b"")), rows
    for table in range(1, 13):
        prefix = bytes([table])
        own = [row for row in rows if row[0].startswith(prefix)]
        yield f"table {table}", lambda store, prefix=prefix: list(store.rows(prefix)), own  # type: ignore[misc]
    for key, value in rows[:: len(rows) // 20]:
        yield "row", lambda store, key=key: store.get(key), value  # type: ignore[misc]
    for height, (block, results) in enumerate(WHOLE.blocks, 1):
        yield "block", lambda store, height=height: store.block(height), block  # type: ignore[misc]
        yield "results", lambda store, height=height: store.raw_results(height), results  # type: ignore[misc]
    for size in WHOLE.sizes:
        yield "root", lambda store, size=size: store.tree.root(size), WHOLE.root(size)  # type: ignore[misc]
    for height in range(1, BLOCKS + 1):
        first = WHOLE.sizes[height - 1]
        yield "height", lambda store, first=first: store.height_of(first), height  # type: ignore[misc]


def wrong_or_found(store: LedgerStore) -> tuple[list[str], int]:
    """Return what the store answers falsely, and how often it finds itself damaged."""
    wrong, found = [], 0
    for what, read, truth in reads():
        try:
            if read(store) != truth:
                wrong.append(what)
        except StoreCorrupt:
            found += 1
    return wrong, found


def test_a_flipped_byte_in_any_table_file_is_found_and_nothing_false_is_said(
    pristine: Path, tmp_path: Path
) -> None:
    pick = random.Random(11)  # noqa: S311 - a seed makes it the same each time
    files = sorted(path.name for path in pristine.glob("*.sst"))
    assert len(files) >= 5, "each family has its own"
    found_in = set()
    for name in files:
        size = (pristine / name).stat().st_size
        for at in sorted(pick.sample(range(size), FLIPS_PER_FILE)):
            with damaged(pristine, tmp_path / "copy", name, at) as folder:
                try:
                    store = LedgerStore(folder, WHOLE.chain_id)
                except StoreCorrupt:
                    found_in.add(name)
                    continue
                wrong, found = wrong_or_found(store)
                assert wrong == [], f"{name} with byte {at} flipped answers falsely: {wrong}"
                if found:
                    found_in.add(name)
                store.close()
    assert found_in == set(files)


def test_an_undamaged_store_answers_everything(pristine: Path, tmp_path: Path) -> None:
    copy = crash_image(pristine, tmp_path / "copy")
    with closing(LedgerStore(copy, WHOLE.chain_id)) as store:
        assert wrong_or_found(store) == ([], 0)


def test_a_damaged_state_stops_a_start_and_is_not_read_as_a_shorter_window(
    pristine: Path, tmp_path: Path
) -> None:
    """The duplicate window is read by iterating, which must not end early at a bad block."""
    stopped = 0
    (state_file,) = [
        path.name
        for path in pristine.glob("*.sst")
        if b"duplicate_window_events" in path.read_bytes()
    ]
    size = (pristine / state_file).stat().st_size
    for at in range(100, size, size // 25):
        with damaged(pristine, tmp_path / "copy", state_file, at) as folder:
            try:
                stored = StoredLedger(folder, WHOLE)
            except StoreCorrupt:
                stopped += 1
                continue
            assert stored.state.window.__dict__ == WHOLE.state.window.__dict__
            stored.close()
    assert stopped


def test_a_flipped_byte_in_the_write_ahead_log_gives_an_earlier_height_or_is_found(
    tmp_path: Path,
) -> None:
    with closing(StoredLedger(tmp_path / "ledger", WHOLE)) as stored:
        stored.grow(BLOCKS)
        image = crash_image(tmp_path / "ledger", tmp_path / "image")
    (log,) = image.glob("*.log")
    pick = random.Random(13)  # noqa: S311 - a seed makes it the same each time
    heights = set()
    for at in sorted(pick.sample(range(log.stat().st_size), 12)):
        with damaged(image, tmp_path / "copy", log.name, at) as folder:
            try:
                recovered = StoredLedger(folder, WHOLE)
            except StoreCorrupt:
                continue
            with closing(recovered):
                height = recovered.state.height
                heights.add(height)
                ledger = resumed(WHOLE, height)
                assert dict(recovered.store.rows(b"")) == dict(ledger.rows.rows(b""))
                assert recovered.store.tree.root(ledger.size) == ledger.root()
    assert min(heights) < BLOCKS, heights


def test_a_damaged_block_is_not_served_by_the_log_either(pristine: Path, tmp_path: Path) -> None:
    needle = parse_block(WHOLE.blocks[-1][0]).signature
    (name,) = [path.name for path in pristine.glob("*.sst") if needle in path.read_bytes()]
    at = (pristine / name).read_bytes().index(needle)
    with (
        damaged(pristine, tmp_path / "copy", name, at) as folder,
        closing(StoredLedger(folder, WHOLE)) as stored,
    ):
        with pytest.raises(StoreCorrupt, match=r"checksum mismatch[^;]*; stop the node"):
            list(stored.reader.entries(0, WHOLE.size))
        with pytest.raises(StoreCorrupt):
            stored.reader.entry(WHOLE.size - 1)
        assert stored.reader.entry(0).leaf_data == WHOLE.leaf_data[0]
        with suppress(EngineError):
            stored.reader.find_event(bytes(32))
