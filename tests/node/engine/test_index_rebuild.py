"""The provenance index made again from the blocks equals the one that the apply loop keeps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers

from lotmark_node.engine.errors import EngineError, IndexBehind
from lotmark_node.engine.index_rebuild import check_indexed, rebuild_index
from lotmark_node.engine.store import LedgerStore
from tests.node.engine.stored_ledger import StoredLedger
from tests.node.ledger_in_memory import LedgerInMemory
from tests.node.state_machine.random_history import history

BLOCKS = 12


@contextmanager
def unseen(_what: str, _count: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda _done: None


def rows(store: LedgerStore) -> list[tuple[bytes, bytes]]:
    return list(store.provenance.scan(b"", b"\xff" * 8))


def grown(folder: Path, whole: LedgerInMemory) -> StoredLedger:
    stored = StoredLedger(folder, whole)
    stored.grow(whole.height)
    return stored


@given(seed=integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_an_index_made_again_equals_the_one_kept(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    stored = grown(tmp_path_factory.mktemp("ledger"), history(seed, BLOCKS))
    kept = rows(stored.store)

    done = rebuild_index(stored.store, stored.whole.genesis, from_scratch=True, progress=unseen)

    assert len(kept) > 5
    assert rows(stored.store) == kept
    assert (done.first_height, done.height) == (1, stored.whole.height)
    stored.close()


def test_a_rebuild_that_is_broken_off_goes_on_where_it_ended(tmp_path: Path) -> None:
    stored = grown(tmp_path / "ledger", history(3, BLOCKS))
    kept, height = rows(stored.store), stored.whole.height

    @contextmanager
    def broken_off(_what: str, _count: int | None) -> Iterator[Callable[[int], None]]:
        done = []

        def advance(count: int) -> None:
            done.append(count)
            if len(done) == 5:
                raise KeyboardInterrupt

        yield advance

    with pytest.raises(KeyboardInterrupt):
        rebuild_index(stored.store, stored.whole.genesis, from_scratch=True, progress=broken_off)
    stored.close()
    reopened = StoredLedger(tmp_path / "ledger", stored.whole)
    with pytest.raises(IndexBehind, match=f"ends at 5, the ledger at {height}; run `lotmark"):
        check_indexed(reopened.store, height)

    done = rebuild_index(reopened.store, stored.whole.genesis, from_scratch=False, progress=unseen)

    assert done.first_height == 6
    assert rows(reopened.store) == kept
    check_indexed(reopened.store, height)
    reopened.close()


def test_a_whole_index_is_left_as_it_is(tmp_path: Path) -> None:
    stored = grown(tmp_path / "ledger", history(3, 4))

    done = rebuild_index(stored.store, stored.whole.genesis, from_scratch=False, progress=unseen)

    assert done.first_height == done.height + 1
    stored.close()


def test_blocks_go_on_after_a_rebuild_as_if_there_had_been_none(tmp_path: Path) -> None:
    whole = history(5, BLOCKS)
    plain, rebuilt = (StoredLedger(tmp_path / name, whole) for name in ("plain", "rebuilt"))
    for each in (plain, rebuilt):
        each.grow(6)
    rebuild_index(rebuilt.store, whole.genesis, from_scratch=True, progress=unseen)
    for each in (plain, rebuilt):
        each.grow(whole.height)

    assert rows(rebuilt.store) == rows(plain.store)
    plain.close()
    rebuilt.close()


def test_a_store_without_a_ledger_has_nothing_to_index(tmp_path: Path) -> None:
    whole = history(5, 1)
    store = LedgerStore(tmp_path / "ledger", whole.chain_id)
    with pytest.raises(EngineError, match="no ledger is here yet"):
        rebuild_index(store, whole.genesis, from_scratch=False, progress=unseen)
    store.close()
