"""The log's Merkle tree as tiles: 256 neighbouring hashes of every eighth level, side by side.

Only hashes that will never change are kept, so a tile grows until it is full and any proof under
any size is made from a few tiles. The layout is that of C2SP `tlog-tiles`.
"""

from collections.abc import Callable, Sequence

from lotmark.errors import ProofError
from lotmark.merkle import node_hash, root

TILE_WIDTH = 256
TILE_LEVELS = 8
_HASH = 32

TileReader = Callable[[int, int], bytes]  # tile level, tile number -> hashes of that tile so far


class TileWriter:
    """The tiles that are not full yet."""

    def __init__(self, size: int, read: TileReader) -> None:
        """Continue a tree of `size` leaves whose tiles `read` returns."""
        self._open: list[tuple[int, list[bytes]]] = []  # level -> number of the tile, its hashes
        count = size
        while count:
            number, used = divmod(count, TILE_WIDTH)
            hashes = _split(read(len(self._open), number))[:used] if used else []
            self._open.append((number, hashes))
            count = number

    def append(self, leaf_hashes: Sequence[bytes]) -> list[tuple[int, int, bytes]]:
        """Add leaves; return (level, number, hashes) of every tile that changed."""
        changed: list[tuple[int, int, bytes]] = []
        added, level = list(leaf_hashes), 0
        while added:
            if level == len(self._open):
                self._open.append((0, []))
            number, hashes = self._open[level]
            hashes = hashes + added
            added = []
            while len(hashes) >= TILE_WIDTH:
                full, hashes = hashes[:TILE_WIDTH], hashes[TILE_WIDTH:]
                changed.append((level, number, b"".join(full)))
                added.append(root(full))
                number += 1
            if hashes:
                changed.append((level, number, b"".join(hashes)))
            self._open[level] = (number, hashes)
            level += 1
        return changed


def _split(raw: bytes) -> list[bytes]:
    return [raw[at : at + _HASH] for at in range(0, len(raw), _HASH)]


class TileTree:
    """Roots and proofs of any size up to the log's, from tiles."""

    def __init__(self, read: TileReader) -> None:
        self._read = read

    def root(self, size: int) -> bytes:
        """Return the root of the first `size` leaves, 1 or more."""
        return self._subtree(0, size)

    def leaf(self, index: int) -> bytes:
        """Return one leaf hash."""
        return self._node(0, index)

    def inclusion_path(self, index: int, size: int) -> list[bytes]:
        """Return the RFC 6962 inclusion path of a leaf.

        Raises:
            ProofError: There is no such leaf in a tree of that size.
        """
        if not 0 <= index < size:
            raise ProofError(f"there is no leaf {index} in a tree of size {size}")
        path: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split_size(end - start)
            if index < middle:
                path.append(self._subtree(middle, end))
                end = middle
            else:
                path.append(self._subtree(start, middle))
                start = middle
        return path[::-1]

    def consistency_path(self, first_size: int, second_size: int) -> list[bytes]:
        """Return the RFC 6962 consistency path between two sizes.

        Raises:
            ProofError: The sizes are not 1 or more and ascending.
        """
        if not 1 <= first_size <= second_size:
            raise ProofError(
                f"consistency is shown from a size of 1 or more to one not smaller,"
                f" not from {first_size} to {second_size}"
            )
        path: list[bytes] = []
        start, end, whole = 0, second_size, True
        while first_size != end:
            middle = start + _split_size(end - start)
            if first_size <= middle:
                path.append(self._subtree(middle, end))
                end = middle
            else:
                path.append(self._subtree(start, middle))
                start, whole = middle, False
        if not whole:
            path.append(self._subtree(start, end))
        return path[::-1]

    def frontier_nodes(self, size: int) -> list[bytes]:
        """Return the roots of the full subtrees of the first `size` leaves, largest first."""
        nodes, start = [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                nodes.append(self._node(level, start >> level))
                start += 1 << level
        return nodes

    def _subtree(self, start: int, end: int) -> bytes:
        """Return the root over leaves `start` to `end`; `start` is aligned to the size."""
        size = end - start
        if size & (size - 1) == 0:
            return self._node(size.bit_length() - 1, start // size)
        middle = start + _split_size(size)
        return node_hash(self._subtree(start, middle), self._subtree(middle, end))

    def _node(self, level: int, index: int) -> bytes:
        """Return the root of the full subtree of 2**level leaves number `index`."""
        tile_level, above = divmod(level, TILE_LEVELS)
        first = index << above
        tile = self._read(tile_level, first // TILE_WIDTH)
        at = first % TILE_WIDTH * _HASH
        hashes = _split(tile[at : at + (_HASH << above)])
        assert len(hashes) == 1 << above, "a tile holds every hash below the log's size"
        return root(hashes)


def _split_size(size: int) -> int:
    """Return the largest power of two below `size`, 2 or more."""
    return 1 << (size - 1).bit_length() - 1
