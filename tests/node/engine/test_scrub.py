"""A scrub finds whatever in a stopped node's folder is not as it was written, and names it."""

import random
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from rocksdict import Rdict

from lotmark.block import parse_block
from lotmark_consensus.errors import JournalCorrupt, JournalLocked
from lotmark_consensus.journal import Journal
from lotmark_consensus.ordering import Ordered
from lotmark_node.engine.errors import Regression, StoreCorrupt
from lotmark_node.engine.scrub import ScrubReport, scrub
from lotmark_node.engine.signed_maximum import SignedMaximum
from lotmark_node.engine.store import LedgerStore
from lotmark_node.state_machine import lthash
from tests.node.engine.stored_ledger import StoredLedger
from tests.node.state_machine.random_history import history

SEED, BLOCKS = 5, 150
WHOLE = history(SEED, BLOCKS)
HASH = 32
TILE = struct.Struct(">BQ")
U64 = struct.Struct(">Q")
LANES_AT = 4 * 8  # in the position row: four integers stand before the lanes


class Vandal(LedgerStore):
    """A store whose rows can be changed behind the ledger's back."""

    def read(self, family: str, key: bytes) -> bytes:
        value: bytes = self._rows_of(family)[key]  # type: ignore[assignment]  # raw mode: bytes
        return value

    def change(self, family: str, key: bytes, value: bytes) -> None:
        self._rows_of(family)[key] = value

    def remove(self, family: str, key: bytes) -> None:
        del self._rows_of(family)[key]

    def keys(self, family: str) -> list[bytes]:
        return list(self._rows_of(family).keys())  # type: ignore[arg-type]  # raw mode: bytes

    def _rows_of(self, family: str) -> Rdict:
        return self._db.get_column_family(family) if family else self._db


@contextmanager
def steps(_what: str, _total_count: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda _count: None


def write_journal(data: Path, first: int, last: int) -> None:
    with closing(Journal(data / "journal", WHOLE.chain_id)) as journal:
        for index in range(first, last + 1):
            raw = WHOLE.blocks[index - 1][0]
            time_ms = parse_block(raw).proposal.time_ms
            journal.append_many([Ordered(index=index, term=1, time_ms=time_ms, block=raw)])


def sign(data: Path, size: int, root: bytes) -> None:
    with closing(SignedMaximum(data / "signed-maximum")) as maximum:
        maximum.raise_to(size, root)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("node") / "data"
    data.mkdir()
    write_journal(data, 1, BLOCKS)
    with closing(StoredLedger(data / "ledger", WHOLE)) as stored:
        stored.grow(BLOCKS)
    sign(data, WHOLE.size, WHOLE.root())
    return data


@pytest.fixture
def data(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "data")
    return tmp_path / "data"


def scrubbed(data: Path) -> ScrubReport:
    return scrub(data, WHOLE.genesis, steps, is_shared=False)


def damage(data: Path) -> str:
    """Return what the scrub names, without the folder."""
    with pytest.raises(StoreCorrupt) as raised:
        scrubbed(data)
    return str(raised.value).removeprefix(f"{data / 'ledger'}: ")


@contextmanager
def vandal(data: Path) -> Iterator[Vandal]:
    with closing(Vandal(data / "ledger", WHOLE.chain_id)) as store:
        yield store


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def test_an_undamaged_folder_is_whole_and_every_row_is_counted(data: Path) -> None:
    assert WHOLE.size > 256, "a full tile, and one above it, are checked too"
    report = scrubbed(data)

    assert report == ScrubReport(
        journal_first_index=1,
        journal_last_index=BLOCKS,
        torn_size=0,
        height=BLOCKS,
        size=WHOLE.size,
        row_count=len(list(WHOLE.rows.rows(b""))),
        waiting_count=0,
        signed_size=WHOLE.size,
    )
    assert scrubbed(data) == report, "a scrub changes nothing"


def test_any_flipped_bit_of_any_block_or_its_results_is_found_in_that_block(data: Path) -> None:
    pick = random.Random(7)  # noqa: S311 - a seed makes it the same each time
    for family in ("blocks", "results"):
        for _ in range(15):
            height = pick.randrange(1, BLOCKS + 1)
            key = U64.pack(height)
            with vandal(data) as store:
                whole = store.read(family, key)
                at = pick.randrange(len(whole))
                store.change(family, key, flipped(whole, at))
            found = damage(data)
            with vandal(data) as store:
                store.change(family, key, whole)
            assert found.startswith(f"block {height}"), (family, height, at, found)
    scrubbed(data)


@pytest.mark.parametrize(("level", "number", "at"), [(0, 0, 3), (0, 0, 255), (0, 1, 0), (1, 0, 0)])
def test_a_changed_hash_in_a_tile_of_any_level_is_found(
    data: Path, level: int, number: int, at: int
) -> None:
    with vandal(data) as store:
        key = TILE.pack(level, number)
        store.change("tiles", key, flipped(store.read("tiles", key), at * HASH))

    first = number * 256 ** (level + 1)
    assert f"tile {level}/{number}, over entries from {first} on, has other hashes" in damage(data)


def test_a_missing_tile_is_found(data: Path) -> None:
    with vandal(data) as store:
        store.remove("tiles", TILE.pack(0, 0))

    assert "tile 0/0 is not on the ledger" in damage(data)


def test_a_changed_state_row_is_named_also_where_the_kept_sum_was_changed_with_it(
    data: Path,
) -> None:
    key, value = next(row for row in WHOLE.rows.rows(b"\x0a"))
    with vandal(data) as store:
        store.change("state", key, flipped(value, 0))
        position = store.read("", b"position")
        lanes = lthash.lanes_from_bytes(position[LANES_AT : LANES_AT + lthash.LANES_SIZE])
        changed = lthash.updated(lanes, [(key, value, flipped(value, 0))]).tobytes()
        end = LANES_AT + lthash.LANES_SIZE
        store.change("", b"position", position[:LANES_AT] + changed + position[end:])

    assert damage(data).startswith("the state row counter ")
    assert f"is not as block {BLOCKS} left it" in damage(data)


def test_a_state_row_too_few_or_too_many_is_named(data: Path) -> None:
    key, value = next(WHOLE.rows.rows(b"\x03"))
    with vandal(data) as store:
        store.remove("state", key)
    assert damage(data).startswith(f"the state row key {key[3:].hex()} is missing")

    with vandal(data) as store:
        store.change("state", key, value)
        store.change("state", b"\x19\x00\x03ab1", U64.pack(9))
    assert damage(data).startswith(f"the state row once ab1 is not as block {BLOCKS} left it")


def test_a_wrong_kept_sum_over_right_rows_is_found(data: Path) -> None:
    with vandal(data) as store:
        store.change("", b"position", flipped(store.read("", b"position"), LANES_AT))

    assert damage(data).startswith("the kept sum over the state rows is not theirs")


@pytest.mark.parametrize("kind", [b"e", b"b", b"i"])
def test_an_index_that_leads_elsewhere_or_nowhere_is_found(data: Path, kind: bytes) -> None:
    with vandal(data) as store:
        key = [key for key in store.keys("index") if key[:1] == kind][-1]
        whole = store.read("index", key)
        store.change("index", key, U64.pack(U64.unpack_from(whole)[0] ^ 1))
    assert "the index " in damage(data)

    with vandal(data) as store:
        store.remove("index", key)
    assert "the index " in damage(data)

    with vandal(data) as store:
        store.change("index", key, whole)
    scrubbed(data)


def test_an_index_that_leads_beside_a_batch_is_found(data: Path) -> None:
    with vandal(data) as store:
        key = [key for key in store.keys("index") if key[:1] == b"i"][-1]
        store.change("index", key, flipped(store.read("index", key), 11))

    assert f"the index does not find the batches of block {BLOCKS}" in damage(data)


def test_a_block_that_the_journal_holds_otherwise_is_found(data: Path) -> None:
    shutil.rmtree(data / "journal")
    with closing(Journal(data / "journal", WHOLE.chain_id)) as journal:
        for index, (raw, _) in enumerate(WHOLE.blocks, start=1):
            block = flipped(raw, len(raw) - 1) if index == 17 else raw
            journal.append_many([Ordered(index=index, term=1, time_ms=0, block=block)])

    assert damage(data).startswith("block 17 is not the block that the journal holds")


def test_a_damaged_journal_is_found_before_the_store_is_looked_at(data: Path) -> None:
    (segment,) = (data / "journal").glob("*.segment")
    raw = segment.read_bytes()
    segment.write_bytes(flipped(raw, 200))

    with pytest.raises(JournalCorrupt, match="index 1: the record does not match its checksum"):
        scrubbed(data)


def test_a_journal_behind_the_store_is_a_regression(data: Path) -> None:
    shutil.rmtree(data / "journal")
    write_journal(data, 1, BLOCKS - 1)

    with pytest.raises(Regression, match=f"the journal ends at {BLOCKS - 1}; restore the newest"):
        scrubbed(data)


def test_blocks_that_only_the_journal_has_wait_for_the_next_start(data: Path) -> None:
    shutil.rmtree(data / "ledger")
    with closing(StoredLedger(data / "ledger", WHOLE)) as stored:
        stored.grow(BLOCKS - 3)
    report = scrubbed(data)

    assert (report.height, report.waiting_count) == (BLOCKS - 3, 3)
    assert report.signed_size == WHOLE.size, "they were signed, and will be there again"


def test_the_way_out_depends_on_whether_the_journal_holds_everything(data: Path) -> None:
    with vandal(data) as store:
        store.remove("blocks", U64.pack(1))
    assert damage(data) == (
        f"block 1: block 1 is not on the ledger; move {data / 'ledger'} away: the next start builds"
        " it again from the journal"
    )

    shutil.rmtree(data / "journal")
    with closing(Journal(data / "journal", WHOLE.chain_id, segment_size_max=1)) as journal:
        for index, (raw, _) in enumerate(WHOLE.blocks, start=1):
            journal.append_many([Ordered(index=index, term=1, time_ms=0, block=raw)])
        journal.prune(BLOCKS - 5)
    assert damage(data) == (
        f"block 1: block 1 is not on the ledger; restore {data} from a backup, and check the disk"
    )


@pytest.mark.parametrize(
    ("size", "root", "message"),
    [
        (WHOLE.size + 1, bytes(32), f"has signed a tree of {WHOLE.size + 1}; restore the newest"),
        (WHOLE.sizes[-2], bytes(32), "has signed another tree"),
    ],
)
def test_a_signed_tree_that_the_ledger_does_not_have_is_a_regression(
    data: Path, size: int, root: bytes, message: str
) -> None:
    (data / "signed-maximum").unlink()
    sign(data, size, root)

    with pytest.raises(Regression, match=message):
        scrubbed(data)


def test_a_lost_signed_maximum_is_a_regression(data: Path) -> None:
    (data / "signed-maximum").unlink()

    with pytest.raises(Regression, match="it is not known what this node has signed"):
        scrubbed(data)
    assert not (data / "signed-maximum").exists()


def test_a_folder_that_a_node_holds_is_not_scrubbed(data: Path) -> None:
    with (
        closing(Journal(data / "journal", WHOLE.chain_id)),
        pytest.raises(JournalLocked, match="is held by process"),
    ):
        scrubbed(data)
