"""The largest tree this node has signed, on disk before any signature leaves.

A log must never sign two trees that do not fit together. So a node that comes back with less than
it has signed, because part of its folder is an older copy, refuses to sign at all. An older copy of
the whole folder brings its own file along and is not seen here: it must never be started.
"""

import os
import struct
import zlib
from pathlib import Path

from lotmark_consensus.disk import sync_folder
from lotmark_node.engine.errors import Regression, StoreCorrupt

_SLOT = struct.Struct(">Q32s")
_SLOT_SIZE = 512  # a sector: a torn write spoils one slot, and the other still holds


class SignedMaximum:
    """Two slots written in turn, each with a checksum, one fdatasync a write."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            StoreCorrupt: Neither slot of an existing file is whole.
        """
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        sync_folder(path.parent)  # a name that a power cut takes away would forget what was signed
        slots = [_read_slot(os.pread(self._fd, _SLOT_SIZE, at * _SLOT_SIZE)) for at in (0, 1)]
        if os.fstat(self._fd).st_size and not any(slots):
            os.close(self._fd)
            raise StoreCorrupt(
                f"{path}: neither slot is whole, so it is not known what was signed;"
                " give this node a new id and new keys"
            )
        whole = [slot for slot in slots if slot]
        self.size, self.root = max(whole, default=(0, bytes(32)))
        self._next = 0 if slots[1] and (not slots[0] or slots[1] > slots[0]) else 1

    def raise_to(self, size: int, root: bytes) -> None:
        """Remember that a tree is about to be signed.

        Raises:
            Regression: A larger tree, or another of this size, was signed before.
        """
        if (size, root) == (self.size, self.root):
            return
        if size <= self.size:
            raise Regression(
                f"asked to sign size {size}, but size {self.size} was signed before;"
                " restore the newest folder, or give this node a new id"
            )
        fields = _SLOT.pack(size, root)
        record = fields + struct.pack(">I", zlib.crc32(fields))
        os.pwrite(self._fd, record.ljust(_SLOT_SIZE, b"\0"), self._next * _SLOT_SIZE)
        os.fdatasync(self._fd)
        self._next ^= 1
        self.size, self.root = size, root

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def _read_slot(raw: bytes) -> tuple[int, bytes] | None:
    if len(raw) < _SLOT.size + 4:
        return None
    fields = raw[: _SLOT.size]
    if zlib.crc32(fields) != int.from_bytes(raw[_SLOT.size : _SLOT.size + 4], "big"):
        return None
    size, root = _SLOT.unpack(fields)
    return size, root
