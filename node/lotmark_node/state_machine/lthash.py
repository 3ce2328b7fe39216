"""LtHash16 over BLAKE3: a digest of a whole map that is updated row by row.

It shows that two maps are equal, never what a single row holds. Rows of a file must strictly
ascend, because 65,536 copies of any row sum to nothing. Source: docs/protocol.md, section 7;
Bellare and Micciancio 1997, Lewi et al. 2019 (eprint 2019/227).
"""

import struct
from collections.abc import Iterable, Sequence

import blake3
import numpy as np
from numpy.typing import NDArray

LANES = 1_024
LANES_SIZE = 2 * LANES
_DOMAIN = b"lotmark/state/v1\n"
_DIGEST_DOMAIN = b"lotmark/lanes/v1\n"
_U32 = struct.Struct(">I")
_CHUNK = 64  # rows summed at once: their elements fit the second-level cache

Lanes = NDArray[np.uint16]


def empty_lanes() -> Lanes:
    """Return the lanes of an empty map."""
    return np.zeros(LANES, np.dtype("<u2"))


def lanes_from_bytes(raw: bytes) -> Lanes:
    """Return lanes as `lanes.tobytes()` gave them."""
    return np.frombuffer(raw, np.dtype("<u2")).copy()


def row_bytes(key: bytes, value: bytes) -> bytes:
    """Return what the element of a row is made of."""
    return _DOMAIN + _U32.pack(len(key)) + key + value


def sum_elements(rows: Sequence[bytes]) -> Lanes:
    """Return the sum of the elements of rows given as `row_bytes`."""
    total = empty_lanes()
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        raw = b"".join([blake3.blake3(row).digest(length=LANES_SIZE) for row in chunk])
        elements = np.frombuffer(raw, np.dtype("<u2")).reshape(len(chunk), LANES)
        total += np.add.reduce(elements, axis=0, dtype=np.uint16)
    return total


def updated(lanes: Lanes, changes: Iterable[tuple[bytes, bytes | None, bytes | None]]) -> Lanes:
    """Return the lanes after changes given as (key, old value, new value); None: no row."""
    added: list[bytes] = []
    removed: list[bytes] = []
    for key, old, new in changes:
        if old == new:
            continue
        if old is not None:
            removed.append(row_bytes(key, old))
        if new is not None:
            added.append(row_bytes(key, new))
    return lanes + sum_elements(added) - sum_elements(removed)


def digest(lanes: Lanes) -> bytes:
    """Return the 32-byte digest of the map."""
    return blake3.blake3(_DIGEST_DOMAIN + lanes.tobytes()).digest()
