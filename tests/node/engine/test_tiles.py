"""Tiles give the roots and paths that the whole tree gives, at every size."""

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark import merkle
from lotmark.errors import ProofError
from lotmark.merkle import Frontier
from lotmark_node.engine.tiles import TILE_WIDTH, TileTree, TileWriter

LEAVES = [hashlib.sha256(number.to_bytes(4)).digest() for number in range(1_000)]


class TileFolder:
    """Tiles as a store keeps them."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.tree = TileTree(self.read)

    def read(self, level: int, number: int) -> bytes:
        return self.tiles[level, number]

    def write(self, writer: TileWriter, leaves: list[bytes]) -> None:
        for level, number, hashes in writer.append(leaves):
            assert 0 < len(hashes) <= 32 * TILE_WIDTH
            self.tiles[level, number] = hashes


def folder_of(size: int) -> TileFolder:
    folder = TileFolder()
    folder.write(TileWriter(0, folder.read), LEAVES[:size])
    return folder


@pytest.mark.parametrize("size", range(1, 71))
def test_every_root_and_path_of_a_small_tree_is_the_whole_tree_s(size: int) -> None:
    tree = folder_of(size).tree
    for smaller in range(1, size + 1):
        leaves = LEAVES[:smaller]
        root = merkle.root(leaves)
        assert tree.root(smaller) == root
        for index in range(smaller):
            path = tree.inclusion_path(index, smaller)
            assert path == merkle.inclusion_path(leaves, index)
            merkle.verify_inclusion(LEAVES[index], index, smaller, path, root)
        path = tree.consistency_path(smaller, size)
        assert path == merkle.consistency_path(LEAVES[:size], smaller)
        merkle.verify_consistency(smaller, size, root, tree.root(size), path)


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=6),
    reopened=st.lists(st.booleans(), min_size=6, max_size=6),
    data=st.data(),
)
def test_tiles_written_in_any_portions_and_reopened_give_the_same_tree(
    sizes: list[int], reopened: list[bool], data: st.DataObject
) -> None:
    folder = TileFolder()
    writer, size = TileWriter(0, folder.read), 0
    for portion, again in zip(sizes, reopened, strict=False):
        portion = min(portion, len(LEAVES) - size)
        folder.write(writer, LEAVES[size : size + portion])
        size += portion
        if again:
            writer = TileWriter(size, folder.read)
    if not size:
        return
    assert folder.tree.root(size) == merkle.root(LEAVES[:size])
    index = data.draw(st.integers(0, size - 1))
    assert folder.tree.leaf(index) == LEAVES[index]
    assert folder.tree.inclusion_path(index, size) == merkle.inclusion_path(LEAVES[:size], index)
    first = index + 1
    assert folder.tree.consistency_path(first, size) == merkle.consistency_path(
        LEAVES[:size], first
    )
    frontier = Frontier(size, folder.tree.frontier_nodes(size))
    assert frontier.root() == merkle.root(LEAVES[:size])


def test_a_tree_that_fills_two_levels_of_tiles_and_one_more_leaf() -> None:
    size = TILE_WIDTH * TILE_WIDTH + 1
    leaves = [hashlib.sha256(number.to_bytes(4)).digest() for number in range(size)]
    folder = TileFolder()
    writer = TileWriter(0, folder.read)
    folder.write(writer, leaves[:65_000])
    folder.write(TileWriter(65_000, folder.read), leaves[65_000:])
    assert {level for level, _ in folder.tiles} == {0, 1, 2}

    tree = folder.tree
    roots = {size: merkle.root(leaves), size - 1: merkle.root(leaves[:-1])}
    pick = random.Random(1)  # noqa: S311 - a seed makes it the same each time
    for tree_size, root in roots.items():
        assert tree.root(tree_size) == root
        for index in (0, 255, 256, 65_279, 65_535, *(pick.randrange(65_536) for _ in range(20))):
            path = tree.inclusion_path(index, tree_size)
            merkle.verify_inclusion(leaves[index], index, tree_size, path, root)
    for first in (1, 255, 256, 257, 65_535, 65_536, *(pick.randrange(1, size) for _ in range(20))):
        path = tree.consistency_path(first, size)
        merkle.verify_consistency(first, size, merkle.root(leaves[:first]), roots[size], path)
    merkle.verify_inclusion(
        leaves[-1], size - 1, size, tree.inclusion_path(size - 1, size), roots[size]
    )


@pytest.mark.parametrize(("index", "size"), [(5, 5), (6, 5), (-1, 5), (0, 0)])
def test_a_leaf_beyond_the_size_has_no_path(index: int, size: int) -> None:
    with pytest.raises(ProofError, match="no leaf"):
        folder_of(10).tree.inclusion_path(index, size)


@pytest.mark.parametrize(("first", "second"), [(0, 5), (6, 5), (-1, 5)])
def test_sizes_that_do_not_ascend_have_no_consistency(first: int, second: int) -> None:
    with pytest.raises(ProofError, match="consistency"):
        folder_of(10).tree.consistency_path(first, second)
