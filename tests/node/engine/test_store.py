"""The store: what it gives back after closing and crashing, and to whom it opens."""

import random
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from lotmark_node.engine.errors import ForeignStore, StoreCorrupt, StoreLocked, StoreOutdated
from lotmark_node.engine.store import LedgerStore
from tests.node.engine.stored_ledger import StoredLedger, crash_image
from tests.node.ledger_in_memory import LedgerInMemory
from tests.node.state_machine.random_history import history, resumed
from tests.node.state_machine.reading import digest_of_all_rows

ROOT = Path(__file__).parents[3]
BLOCKS = 30
WHOLE = history(0, BLOCKS)


def check_equal(stored: StoredLedger, ledger: LedgerInMemory) -> None:
    """Check that a store holds all that a ledger has, and nothing else."""
    store = stored.store
    assert stored.state.height == stored.ordered_index == ledger.height
    assert stored.state.bases == ledger.state.bases
    assert (stored.state.size, stored.state.time_ms) == (ledger.size, ledger.state.time_ms)
    assert stored.state.lanes.tobytes() == ledger.state.lanes.tobytes()
    assert dict(store.rows(b"")) == dict(ledger.rows.rows(b""))
    for height, (block, results) in enumerate(ledger.blocks, 1):
        assert (store.block(height), store.raw_results(height)) == (block, results)
    for size in ledger.sizes:
        assert store.tree.root(size) == ledger.root(size)
    entries = list(stored.reader.entries(0, ledger.size))
    assert [entry.leaf_data for entry in entries] == ledger.leaf_data


@pytest.mark.parametrize("stops", [[], [0], [1, 2, 3], [10, 29], [30]])
def test_a_store_closed_and_opened_anywhere_holds_the_same(
    tmp_path: Path, stops: list[int]
) -> None:
    for height in [*stops, BLOCKS]:
        with closing(StoredLedger(tmp_path / "ledger", WHOLE)) as stored:
            stored.grow(height)
    with closing(StoredLedger(tmp_path / "ledger", WHOLE)) as stored:
        check_equal(stored, WHOLE)
        assert WHOLE.state.lanes.tobytes() == stored.state.lanes.tobytes()
    assert digest_of_all_rows(WHOLE)


def test_a_killed_process_leaves_all_that_was_written(tmp_path: Path) -> None:
    with closing(StoredLedger(tmp_path / "ledger", WHOLE)) as stored:
        stored.grow(BLOCKS)
        image = crash_image(tmp_path / "ledger", tmp_path / "image")
    with closing(StoredLedger(image, WHOLE)) as recovered:
        check_equal(recovered, WHOLE)


def test_a_block_is_written_at_once_or_not_at_all(tmp_path: Path) -> None:
    """Cut the write-ahead log anywhere: the store is that of some height, whole."""
    with closing(StoredLedger(tmp_path / "ledger", WHOLE)) as stored:
        stored.grow(BLOCKS)
        image = crash_image(tmp_path / "ledger", tmp_path / "image")
    (log,) = image.glob("*.log")
    whole = log.read_bytes()
    pick = random.Random(7)  # noqa: S311 - a seed makes it the same each time
    heights = set()
    for size in sorted(pick.sample(range(len(whole)), 12)):
        image = crash_image(tmp_path / "image", tmp_path / "cut")
        (image / log.name).write_bytes(whole[:size])
        with closing(StoredLedger(image, WHOLE)) as recovered:
            height = recovered.state.height
            heights.add(height)
            check_equal(recovered, resumed(WHOLE, height))
            recovered.grow(BLOCKS)
            check_equal(recovered, WHOLE)
    assert len(heights) > 3, heights


def test_another_chain_s_store_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    with closing(StoredLedger(tmp_path / "ledger", WHOLE)) as stored:
        stored.grow(3)
    other = bytes(32)
    with pytest.raises(ForeignStore, match=f"holds chain {WHOLE.chain_id.hex()}, not {'00' * 32}"):
        LedgerStore(tmp_path / "ledger", other)
    with closing(StoredLedger(tmp_path / "ledger", WHOLE)) as stored:
        check_equal(stored, resumed(WHOLE, 3))


def test_a_store_that_another_process_has_open_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    module = "tests.node.engine.stored_ledger"
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", module, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(StoreLocked, match="open in another process"):
            LedgerStore(folder, WHOLE.chain_id)
        holder.kill()
    LedgerStore(folder, history(0, 1).chain_id).close()


def test_a_store_that_this_process_has_open_is_refused(tmp_path: Path) -> None:
    with (
        closing(StoredLedger(tmp_path / "lock and block", WHOLE)),
        pytest.raises(StoreLocked),
    ):
        LedgerStore(tmp_path / "lock and block", WHOLE.chain_id)


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST-*"])
def test_a_store_without_its_own_lists_is_damaged_and_not_locked(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "block"  # a name with "lock" in it, as every message about blocks has
    with closing(StoredLedger(folder, WHOLE)) as stored:
        stored.grow(3)
    for path in folder.glob(name):
        path.write_bytes(b"nonsense\n")

    with pytest.raises(StoreCorrupt, match="the node makes it again"):
        LedgerStore(folder, WHOLE.chain_id)


@pytest.mark.parametrize("written", [None, b"1", b"3"])
def test_a_store_of_another_version_is_refused_and_left_as_it_is(
    tmp_path: Path, written: bytes | None
) -> None:
    stored = StoredLedger(tmp_path / "ledger", WHOLE)
    stored.close()
    raw = Rdict(str(tmp_path / "ledger"), Options(raw_mode=True))
    if written is None:
        raw.delete(b"format")
    else:
        raw[b"format"] = written
    raw.close()

    with pytest.raises(StoreOutdated, match=f"is of format {(written or b'1').decode()}, this"):
        LedgerStore(tmp_path / "ledger", WHOLE.chain_id)
