"""A stored log answers as the log in memory from which it was made, at every size."""

from pathlib import Path

from lotmark_node.engine.log_tree import StoredLogTree
from tests.node.engine.checkpoint_network import FOUR, LogInMemory, ledger
from tests.node.engine.stored_ledger import StoredLedger


def test_roots_heights_and_paths_are_those_of_the_ledger_in_memory(tmp_path: Path) -> None:
    whole = ledger(FOUR)
    expected = LogInMemory(whole)
    expected.height = whole.height
    stored = StoredLedger(tmp_path / "ledger", whole)
    try:
        stored.grow(whole.height)
        tree = StoredLogTree(stored.store)
        ends = [size for size in range(1, whole.size + 1) if tree.height_at(size) is not None]
        assert ends == whole.sizes
        for size in range(1, whole.size + 1):
            assert tree.root(size) == expected.root(size)
            assert tree.height_at(size) == expected.height_at(size)
            path = expected.consistency_path(size, whole.size)
            assert tree.consistency_path(size, whole.size) == path
    finally:
        stored.close()


def test_what_is_asked_about_a_smaller_size_does_not_change_as_the_log_grows(
    tmp_path: Path,
) -> None:
    whole = ledger(FOUR)
    stored = StoredLedger(tmp_path / "ledger", whole)
    try:
        stored.grow(4)
        tree = StoredLogTree(stored.store)
        before = [(tree.root(size), tree.height_at(size)) for size in whole.sizes[:5]]
        stored.grow(12)
        assert [(tree.root(size), tree.height_at(size)) for size in whole.sizes[:5]] == before
    finally:
        stored.close()
