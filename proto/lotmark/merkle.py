r"""Merkle trees of RFC 6962 over SHA-256: roots, proofs, and a frontier that grows with the log.

A tree over n leaves is split at the largest power of two below n; the left part is therefore
always a full tree, and leaves are only ever added on the right. Level by level the same tree is
built by hashing neighbours in pairs, where a last node without a neighbour moves up unchanged:

    size 7        root
               /        \
           h             g          level 2
         /   \         /   \
        d     e       f     6       level 1: leaf 6 has no neighbour and moved up
       / \   / \     / \
      0   1 2   3   4   5   6       level 0: leaf hashes

Leaves and nodes are hashed with different first bytes, so that no node passes for a leaf.

Source: RFC 6962, section 2.1, and RFC 9162, section 2.1. Verification is stricter than both: every
hash has 32 bytes, a path has exactly the length its sizes demand, and nothing is consistent with
the empty tree, because a proof of that would say nothing.
"""

import hashlib
from collections.abc import Iterable, Sequence

from lotmark.errors import MalformedError, ProofError

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

_LEAF_PREFIX = b"\x00"
_NODE_PREFIX = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """Return the hash under which `data` stands in a tree."""
    return hashlib.sha256(_LEAF_PREFIX + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two others."""
    return hashlib.sha256(_NODE_PREFIX + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root over `leaf_hashes`, or `EMPTY_ROOT` for none."""
    if not leaf_hashes:
        return EMPTY_ROOT
    level = leaf_hashes
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def _level_above(level: Sequence[bytes]) -> list[bytes]:
    """Return the nodes over neighbours in `level`, and the last one itself if it has none."""
    # The hottest loop of the package: node_hash is written out, with its names bound locally.
    sha256, prefix = hashlib.sha256, _NODE_PREFIX
    nodes = iter(level)
    above = [
        sha256(prefix + left + right).digest() for left, right in zip(nodes, nodes, strict=False)
    ]
    if len(level) % 2:
        above.append(level[-1])
    return above


def inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return what `verify_inclusion` needs to climb from one leaf to the root.

    Hashes the whole tree: meant for trees that fit in memory, such as a batch.

    Raises:
        ProofError: There is no leaf `index`.
    """
    if not 0 <= index < len(leaf_hashes):
        raise ProofError(f"there is no leaf {index} in a tree of size {len(leaf_hashes)}")
    return _siblings_upward(leaf_hashes, index)


def _siblings_upward(level: Sequence[bytes], index: int) -> list[bytes]:
    """Return the sibling of node `index` and of each node above it that has one."""
    path = []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level = _level_above(level)
        index >>= 1
    return path


def consistency_path(leaf_hashes: Sequence[bytes], first_size: int) -> list[bytes]:
    """Return what `verify_consistency` needs to show that the first leaves are a prefix of all.

    Hashes the whole tree: meant for trees that fit in memory.

    Raises:
        ProofError: `first_size` is not in 1..the number of leaves.
    """
    second_size = len(leaf_hashes)
    if not 1 <= first_size <= second_size:
        raise ProofError(
            f"a tree of size {second_size} shows consistency with sizes 1..{second_size},"
            f" not {first_size}"
        )
    if first_size == second_size:
        return []
    # The last full subtree of the first tree is a node of both trees: the climb starts there.
    subtree_level = _trailing_zeros(first_size)
    level = leaf_hashes
    for _ in range(subtree_level):
        level = _level_above(level)
    index = (first_size >> subtree_level) - 1
    path = _siblings_upward(level, index)
    # Alone in the first tree, that subtree is its root, which the verifier knows already.
    return path if index == 0 else [level[index], *path]


def _trailing_zeros(number: int) -> int:
    return (number & -number).bit_length() - 1


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Check that the leaf hash `leaf` stands at `index` in the tree of `size` leaves under `root`.

    Raises:
        ProofError: It does not, by this path; the message names what failed.
    """
    if not 0 <= index < size:
        raise ProofError(f"there is no leaf {index} in a tree of size {size}")
    turns, border = _path_shape(index, size)
    _check_path_length(path, turns + border, f"leaf {index} of {size}")
    _check_hash_sizes(("leaf", leaf), ("root", root), path=path)
    node = _climb(leaf, index, path[:turns])
    for left in path[turns:]:
        node = node_hash(left, node)
    _check_root(node, root, f"leaf {index} and its path lead", size)


def verify_consistency(
    first_size: int,
    second_size: int,
    first_root: bytes,
    second_root: bytes,
    path: Sequence[bytes],
) -> None:
    """Check that the first tree is a prefix of the second: that nothing in it changed.

    Raises:
        ProofError: It is not, by this path; the message names what failed. Also for a first tree
            of size 0, with which every tree is consistent: asking is the caller's mistake.
    """
    if not 1 <= first_size <= second_size:
        raise ProofError(
            f"consistency is shown from a size of 1 or more to one not smaller,"
            f" not from {first_size} to {second_size}"
        )
    roots = ("first root", first_root), ("second root", second_root)
    if first_size == second_size:
        _check_path_length(path, 0, f"two trees of size {first_size}")
        _check_hash_sizes(*roots, path=path)
        _check_root(first_root, second_root, "the first tree leads", second_size)
        return

    # Both climbs start at the last full subtree of the first tree, a node of both trees. Above it
    # the first tree has nothing on the right, so only what stands on the left enters its root.
    subtree_level = _trailing_zeros(first_size)
    index = (first_size >> subtree_level) - 1
    turns, border = _path_shape(first_size - 1, second_size)
    turns -= subtree_level
    given = 0 if index == 0 else 1  # where that subtree is the whole first tree, its root is known
    _check_path_length(path, given + turns + border, f"sizes {first_size} to {second_size}")
    _check_hash_sizes(*roots, path=path)
    subtree = path[0] if given else first_root
    inner, outer = path[given : given + turns], path[given + turns :]

    first, second = subtree, _climb(subtree, index, inner)
    for level, sibling in enumerate(inner):
        if index >> level & 1:
            first = node_hash(sibling, first)
    for left in outer:
        first, second = node_hash(left, first), node_hash(left, second)
    _check_root(first, first_root, "the path leads", first_size)
    _check_root(second, second_root, "the path leads", second_size)


def _path_shape(index: int, size: int) -> tuple[int, int]:
    """Return how many hashes a path has before and after it meets the right edge of its tree.

    Below that point the bits of `index` tell on which side a sibling stands, and every level has
    one. From there on a node has a sibling only on its left, at the levels whose bit is set.
    """
    turns = (index ^ (size - 1)).bit_length()
    return turns, (index >> turns).bit_count()


def _climb(node: bytes, index: int, siblings: Sequence[bytes]) -> bytes:
    """Return the node above `node` after one sibling a level."""
    for level, sibling in enumerate(siblings):
        node = node_hash(sibling, node) if index >> level & 1 else node_hash(node, sibling)
    return node


def _check_hash_sizes(*named: tuple[str, bytes], path: Sequence[bytes]) -> None:
    for name, value in (*named, *((f"path[{at}]", value) for at, value in enumerate(path))):
        if len(value) != HASH_SIZE:
            raise ProofError(f"{name} has {len(value)} bytes; a hash has {HASH_SIZE}")


def _check_path_length(path: Sequence[bytes], expected: int, what: str) -> None:
    if len(path) != expected:
        raise ProofError(f"a path for {what} has {expected} hashes, this one has {len(path)}")


def _check_root(computed: bytes, claimed: bytes, what: str, size: int) -> None:
    if computed != claimed:
        raise ProofError(
            f"{what} to root {computed.hex()}, but the root claimed for size {size}"
            f" is {claimed.hex()}"
        )


class Frontier:
    """A growing tree of which only the roots of its full subtrees are kept.

    A tree of size 13 = 8 + 4 + 1 has three of them. They suffice to append and to compute the root,
    so a log of any length is continued from at most 64 hashes. Mutable; not for several threads.
    """

    __slots__ = ("_nodes", "_size")

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        """Continue a tree of `size` leaves from its full subtrees' roots, largest first.

        Raises:
            MalformedError: The nodes are not as many as the size has subtrees, or not hashes.
        """
        self._size = size
        self._nodes = list(nodes)
        if size < 0 or len(self._nodes) != size.bit_count():
            raise MalformedError(
                f"a frontier of size {size} has one node for each bit set in its size, "
                f"not {len(self._nodes)}"
            )
        for at, node in enumerate(self._nodes):
            if len(node) != HASH_SIZE:
                raise MalformedError(f"frontier node {at} has {len(node)} bytes, not {HASH_SIZE}")

    def __repr__(self) -> str:
        return f"Frontier(size={self._size}, root={self.root().hex()})"

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    @property
    def nodes(self) -> tuple[bytes, ...]:
        """The roots of the full subtrees, largest first."""
        return tuple(self._nodes)

    def append(self, leaf_hash: bytes) -> None:
        """Add one leaf on the right."""
        node, size = leaf_hash, self._size
        while size & 1:  # two subtrees of one height make a higher one, like a carry in addition
            node = node_hash(self._nodes.pop(), node)
            size >>= 1
        self._nodes.append(node)
        self._size += 1

    def extend(self, leaf_hashes: Sequence[bytes]) -> None:
        """Add many leaves on the right; the same as one `append` each, but faster."""
        carried = list(leaf_hashes)  # complete subtrees of the height in hand, left to right
        finished = []  # what stays, lowest first
        height_size = self._size
        while carried:
            if height_size & 1:
                carried.insert(0, self._nodes.pop())
            if len(carried) & 1:
                finished.append(carried.pop())
            carried = _level_above(carried)
            height_size >>= 1
        self._nodes.extend(reversed(finished))
        self._size += len(leaf_hashes)

    def root(self) -> bytes:
        """Return the root of the tree, `EMPTY_ROOT` while it has no leaf."""
        if not self._nodes:
            return EMPTY_ROOT
        node = self._nodes[-1]
        for left in reversed(self._nodes[:-1]):
            node = node_hash(left, node)
        return node

    def copy(self) -> "Frontier":
        """Return a frontier that grows on its own from here."""
        return Frontier(self._size, self._nodes)
