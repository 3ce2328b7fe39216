"""Rows of the index by many keys at once: whether they are walked along or looked up."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from rocksdict import Options, Rdict

from lotmark_node.engine.errors import StoreCorrupt
from lotmark_node.engine.stored_index import KEYS_PER_WALK, WALKED_KEYS_MIN, StoredIndexRows

ROWS = {b"row %06d" % number: b"value %d" % number for number in range(0, 20_000, 2)}
SEED = 11


@contextmanager
def stored(folder: Path) -> Iterator[StoredIndexRows]:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    database = Rdict(str(folder), options, column_families={"rows": options})
    family = database.get_column_family("rows")
    for key, value in ROWS.items():
        family.put(key, value)
    rows = StoredIndexRows(folder, database, "rows")
    yield rows
    rows.let_go()
    database.close()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoredIndexRows]:
    with stored(tmp_path_factory.mktemp("rows")) as found:
        yield found


@pytest.mark.parametrize("apart", [1, 2, 3, 50, 900], ids=lambda apart: f"{apart} apart")
@pytest.mark.parametrize(
    "count", [1, WALKED_KEYS_MIN - 1, WALKED_KEYS_MIN, KEYS_PER_WALK, 2 * KEYS_PER_WALK + 7]
)
def test_rows_are_found_by_keys_that_lie_close_or_far_apart(
    rows: StoredIndexRows, apart: int, count: int
) -> None:
    keys = [b"row %06d" % (number * apart % 1_000_000) for number in range(count)]
    keys.sort()

    assert list(rows.get_many(keys)) == [ROWS.get(key) for key in keys]


def test_rows_are_found_by_keys_drawn_at_random(rows: StoredIndexRows) -> None:
    drawn = Random(SEED)  # noqa: S311  # a seed that a failure tells
    for _ in range(50):
        near, far = drawn.randrange(20_000), drawn.randrange(300)
        numbers = {near + at for at in range(drawn.randrange(400))}
        numbers |= {drawn.randrange(30_000) for _ in range(far)}
        keys = sorted(b"row %06d" % number for number in numbers)
        assert list(rows.get_many(keys)) == [ROWS.get(key) for key in keys], f"seed {SEED}"


def test_damage_among_the_rows_is_told_and_not_taken_for_their_end(tmp_path: Path) -> None:
    with stored(tmp_path / "rows") as rows:
        rows._opened()[0].flush(True)
    (file,) = sorted((tmp_path / "rows").glob("*.sst"), key=lambda each: each.stat().st_size)[-1:]
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 4] ^= 1
    file.write_bytes(raw)
    options = Options(raw_mode=True)
    database = Rdict(str(tmp_path / "rows"), options, column_families={"rows": options})
    damaged = StoredIndexRows(tmp_path, database, "rows")

    with pytest.raises(StoreCorrupt):
        damaged.get_many(sorted(ROWS))
    damaged.let_go()
    database.close()
