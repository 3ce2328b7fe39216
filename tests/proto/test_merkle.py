"""RFC 6962 trees: foreign vectors, the RFC's own recursion, and tampering."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import DataObject as Draw
from hypothesis.strategies import binary, data, integers, lists

from lotmark.errors import MalformedError, ProofError
from lotmark.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from tests.shared_vectors import require_shared, shared_folder

SIZE_MAX = 70  # past 64, so that a path meets the right edge at every height
leaf_counts = integers(min_value=1, max_value=SIZE_MAX)


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(index.to_bytes(2)) for index in range(count)]


def root_by_the_rfc(leaf_hashes: list[bytes]) -> bytes:
    """The definition of section 2.1, in its own recursion."""
    if len(leaf_hashes) == 1:
        return leaf_hashes[0]
    split = largest_power_of_two_below(len(leaf_hashes))
    return node_hash(root_by_the_rfc(leaf_hashes[:split]), root_by_the_rfc(leaf_hashes[split:]))


def inclusion_by_the_rfc(leaf_hashes: list[bytes], index: int) -> list[bytes]:
    """PATH of section 2.1.1."""
    if len(leaf_hashes) == 1:
        return []
    split = largest_power_of_two_below(len(leaf_hashes))
    left, right = leaf_hashes[:split], leaf_hashes[split:]
    if index < split:
        return [*inclusion_by_the_rfc(left, index), root_by_the_rfc(right)]
    return [*inclusion_by_the_rfc(right, index - split), root_by_the_rfc(left)]


def consistency_by_the_rfc(
    leaf_hashes: list[bytes], first_size: int, *, known: bool = True
) -> list[bytes]:
    """SUBPROOF of section 2.1.2; `known` while the subtree is the whole first tree."""
    if first_size == len(leaf_hashes):
        return [] if known else [root_by_the_rfc(leaf_hashes)]
    split = largest_power_of_two_below(len(leaf_hashes))
    left, right = leaf_hashes[:split], leaf_hashes[split:]
    if first_size <= split:
        return [*consistency_by_the_rfc(left, first_size, known=known), root_by_the_rfc(right)]
    below = consistency_by_the_rfc(right, first_size - split, known=False)
    return [*below, root_by_the_rfc(left)]


def largest_power_of_two_below(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def vector_files(kind: str) -> list[Path]:
    folder = shared_folder()
    return sorted((folder / "vectors/rfc6962-merkle" / kind).rglob("*.json")) if folder else []


def hashes(encoded: list[str] | None) -> list[bytes]:
    return [base64.b64decode(text) for text in encoded or []]


def test_the_vectors_are_all_there() -> None:
    require_shared("vectors/rfc6962-merkle")

    assert len(vector_files("inclusion")) >= 60
    assert len(vector_files("consistency")) >= 60


@pytest.mark.parametrize(
    "path", vector_files("inclusion"), ids=lambda path: "/".join(path.parts[-3:])
)
def test_inclusion_is_judged_as_other_logs_judge_it(path: Path) -> None:
    vector = json.loads(path.read_text())
    leaf, tree_root = hashes([vector["leafHash"], vector["root"]])
    claim = (leaf, vector["leafIdx"], vector["treeSize"], hashes(vector["proof"]), tree_root)

    if vector["wantErr"]:
        with pytest.raises(ProofError):
            verify_inclusion(*claim)
    else:
        verify_inclusion(*claim)


@pytest.mark.parametrize(
    "path", vector_files("consistency"), ids=lambda path: "/".join(path.parts[-3:])
)
def test_consistency_is_judged_as_other_logs_judge_it(path: Path) -> None:
    vector = json.loads(path.read_text())
    first_root, second_root = hashes([vector["root1"], vector["root2"]])
    claim = (vector["size1"], vector["size2"], first_root, second_root, hashes(vector["proof"]))

    if vector["wantErr"]:
        with pytest.raises(ProofError):
            verify_consistency(*claim)
    else:
        verify_consistency(*claim)


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert root([]) == Frontier().root() == EMPTY_ROOT


@pytest.mark.parametrize("count", range(1, SIZE_MAX))
def test_roots_and_paths_are_those_the_rfc_defines(count: int) -> None:
    tree = leaves(count)

    assert root(tree) == root_by_the_rfc(tree)
    for index in range(count):
        assert inclusion_path(tree, index) == inclusion_by_the_rfc(tree, index)
    for first_size in range(1, count + 1):
        assert consistency_path(tree, first_size) == consistency_by_the_rfc(tree, first_size)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 13, 64, 65])
def test_every_leaf_and_every_prefix_can_be_proven(count: int) -> None:
    tree = leaves(count)

    for index in range(count):
        verify_inclusion(tree[index], index, count, inclusion_path(tree, index), root(tree))
    for first_size in range(1, count + 1):
        path = consistency_path(tree, first_size)
        verify_consistency(first_size, count, root(tree[:first_size]), root(tree), path)


@given(draw=data(), count=leaf_counts)
def test_a_leaf_is_proven_at_no_other_index(draw: Draw, count: int) -> None:
    tree = leaves(count)
    index = draw.draw(integers(0, count - 1))
    other = draw.draw(
        integers(0, count - 1).filter(lambda at: at != index) if count > 1 else integers(1, 9)
    )

    with pytest.raises(ProofError):
        verify_inclusion(tree[index], other, count, inclusion_path(tree, index), root(tree))


@given(draw=data(), count=leaf_counts)
def test_an_inclusion_proof_with_one_bit_changed_is_refused(draw: Draw, count: int) -> None:
    tree = leaves(count)
    index = draw.draw(integers(0, count - 1))
    parts = [tree[index], *inclusion_path(tree, index), root(tree)]
    leaf, *path, tree_root = with_one_bit_changed(draw, parts)

    with pytest.raises(ProofError, match="root"):
        verify_inclusion(leaf, index, count, path, tree_root)


@given(draw=data(), count=leaf_counts)
def test_a_consistency_proof_with_one_bit_changed_is_refused(draw: Draw, count: int) -> None:
    tree = leaves(count)
    first_size = draw.draw(integers(1, count))
    parts = [root(tree[:first_size]), *consistency_path(tree, first_size), root(tree)]
    first_root, *path, second_root = with_one_bit_changed(draw, parts)

    with pytest.raises(ProofError, match="root"):
        verify_consistency(first_size, count, first_root, second_root, path)


def with_one_bit_changed(draw: Draw, parts: list[bytes]) -> list[bytes]:
    at = draw.draw(integers(0, len(parts) - 1))
    bit = draw.draw(integers(0, 255))
    changed = (int.from_bytes(parts[at]) ^ 1 << bit).to_bytes(32)
    return [*parts[:at], changed, *parts[at + 1 :]]


@given(draw=data(), count=leaf_counts)
def test_a_path_of_another_length_is_refused(draw: Draw, count: int) -> None:
    tree = leaves(count)
    index = draw.draw(integers(0, count - 1))
    path = inclusion_path(tree, index)
    longer = [*path, draw.draw(binary(min_size=32, max_size=32))]

    with pytest.raises(ProofError, match="hashes"):
        verify_inclusion(tree[index], index, count, longer, root(tree))
    if path:
        with pytest.raises(ProofError, match="hashes"):
            verify_inclusion(tree[index], index, count, path[1:], root(tree))


@given(
    index=integers(-2, 2**70),
    size=integers(-2, 2**70),
    path=lists(binary(min_size=31, max_size=33), max_size=70),
)
def test_any_claim_is_answered_with_a_proof_error(index: int, size: int, path: list[bytes]) -> None:
    with pytest.raises(ProofError):
        verify_inclusion(EMPTY_ROOT, index, size, path, EMPTY_ROOT)
    with pytest.raises(ProofError):
        verify_consistency(index, size, leaf_hash(b"1"), leaf_hash(b"2"), path)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_path_to_a_leaf_that_is_not_there_is_refused(index: int) -> None:
    with pytest.raises(ProofError, match=f"no leaf {index} in a tree of size 3"):
        inclusion_path(leaves(3), index)


@pytest.mark.parametrize("first_size", [0, 4])
def test_a_path_from_a_size_that_never_was_is_refused(first_size: int) -> None:
    with pytest.raises(ProofError, match=f"not {first_size}"):
        consistency_path(leaves(3), first_size)


@given(steps=lists(integers(0, 40), max_size=8))
def test_a_frontier_has_the_root_of_the_whole_tree(steps: list[int]) -> None:
    tree = leaves(sum(steps))
    grown, appended = Frontier(), Frontier()

    for count in steps:
        grown.extend(tree[grown.size : grown.size + count])
    for leaf in tree:
        appended.append(leaf)

    assert grown.size == appended.size == len(tree)
    assert grown.nodes == appended.nodes
    assert grown.root() == appended.root() == root(tree)


@given(count=integers(0, SIZE_MAX), more=integers(0, SIZE_MAX))
def test_a_frontier_continues_from_its_nodes(count: int, more: int) -> None:
    tree = leaves(count + more)
    before = Frontier()
    before.extend(tree[:count])

    after = Frontier(before.size, before.nodes)
    after.extend(tree[count:])

    assert after.root() == root(tree)


def test_a_copy_of_a_frontier_grows_alone() -> None:
    frontier = Frontier()
    frontier.extend(leaves(5))
    copy = frontier.copy()

    copy.append(leaf_hash(b"more"))

    assert (frontier.size, frontier.root()) == (5, root(leaves(5)))
    assert copy.size == 6


@pytest.mark.parametrize(
    ("size", "nodes", "reason"),
    [
        (-1, [EMPTY_ROOT], "each bit"),
        (0, [EMPTY_ROOT], "each bit"),
        (5, [EMPTY_ROOT], "each bit"),
        (4, [EMPTY_ROOT, EMPTY_ROOT], "each bit"),
        (1, [b"short"], "5 bytes"),
    ],
)
def test_a_frontier_of_the_wrong_shape_is_refused(
    size: int, nodes: list[bytes], reason: str
) -> None:
    with pytest.raises(MalformedError, match=reason):
        Frontier(size, nodes)


def test_golden_roots() -> None:
    frontier = Frontier()
    frontier.extend(leaves(13))

    assert leaf_hash(b"").hex() == (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )
    assert frontier.root().hex() == (
        "5d9f3dd941477e9c4ecf240bf4213eaa71f8be5f1e5c97af0b310abb1010dae7"
    )
