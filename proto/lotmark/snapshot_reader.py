"""Reads a snapshot file once, from front to back, with one record in memory at a time.

What the file claims is not judged here, only whether it is a snapshot: every member in its place,
every length within its bound, nothing left over.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lotmark.batch import EVENT_SIZE_MAX
from lotmark.block import BLOCK_SIZE_MAX
from lotmark.errors import MalformedError
from lotmark.genesis import ACCEPTANCES_SIZE_MAX, GENESIS_SIZE_MAX
from lotmark.merkle import HASH_SIZE, Frontier
from lotmark.signed_note import NOTE_SIZE_MAX
from lotmark.snapshot import (
    ACCEPTANCES_NAME,
    BLOCK_FILE_SIZE_MAX,
    CHECKPOINT_NAME,
    GENESIS_NAME,
    GOVERNANCE_NAME,
    MANIFEST_NAME,
    MANIFEST_SIZE_MAX,
    RESULTS_SIZE_MAX,
    ROW_KEY_SIZE_MAX,
    ROW_VALUE_SIZE_MAX,
    START_NAME,
    STATE_NAME,
    GovernanceEntry,
    SnapshotStart,
    block_record_size,
    parse_manifest,
)
from lotmark.tlog_proof import PATH_HASHES_MAX
from lotmark.ustar import TarReader

_U8 = struct.Struct(">B")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_START_SIZE_MAX = 64 << 10
_LEAF_SIZE_MAX = 512  # of an event or a close; both are shorter


@dataclass(frozen=True, slots=True)
class SnapshotBlock:
    """One block of a snapshot as it stands there, with what its file says came of it."""

    height: int
    block: bytes
    results: bytes


class SnapshotReader:
    """A snapshot file. Its parts are taken in the order of the methods, each to its end."""

    def __init__(self, source: BinaryIO) -> None:
        """Read everything before the records.

        Raises:
            CutOffError: The file ends too early.
            UnknownVersionError: It is of a later version.
            MalformedError: It is no snapshot.
        """
        self._tar = TarReader(source)
        self.manifest = parse_manifest(self._whole(MANIFEST_NAME, MANIFEST_SIZE_MAX))
        self.genesis = self._whole(GENESIS_NAME, GENESIS_SIZE_MAX)
        self.acceptances = self._whole(ACCEPTANCES_NAME, ACCEPTANCES_SIZE_MAX)
        self.start = self._read_start()

    def governance(self) -> Iterator[GovernanceEntry]:
        """Yield what governs before a range; none in a full snapshot.

        Raises:
            CutOffError: The file ends too early.
            MalformedError: It breaks the format.
        """
        if self.manifest.is_full:
            return
        tar = self._tar
        tar.enter(GOVERNANCE_NAME)
        while tar.remaining:
            event = self._bounded(_U32, EVENT_SIZE_MAX, "an event")
            leaf = self._bounded(_U16, _LEAF_SIZE_MAX, "a leaf")
            yield GovernanceEntry(event, leaf, self._read_path())
        tar.leave()

    def state_rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and value of the state before a range; none in a full snapshot.

        Raises:
            CutOffError: The file ends too early.
            MalformedError: It breaks the format, or the keys do not strictly ascend.
        """
        if self.manifest.is_full:
            return
        tar, previous = self._tar, b""
        tar.enter(STATE_NAME)
        while tar.remaining:
            key = self._bounded(_U32, ROW_KEY_SIZE_MAX, "a state key")
            value = self._bounded(_U32, ROW_VALUE_SIZE_MAX, "a state value")
            # Copies of a row could cancel each other in the state digest, so order is not cosmetic.
            if key <= previous:
                raise MalformedError(
                    f"state key {key.hex()} follows {previous.hex()}; keys must strictly ascend"
                )
            previous = key
            yield key, value
        tar.leave()

    def blocks(self) -> Iterator[SnapshotBlock]:
        """Yield the blocks in order.

        Raises:
            CutOffError: The file ends too early.
            MalformedError: It breaks the format.
        """
        tar, file_size = self._tar, BLOCK_FILE_SIZE_MAX
        for each in self.manifest.block_files:
            tar.enter(each.name, size_max=BLOCK_FILE_SIZE_MAX)
            previous_size, file_size = file_size, tar.remaining
            for height in range(each.first_height, each.last_height + 1):
                block = self._bounded(_U32, BLOCK_SIZE_MAX, "a block")
                results = self._bounded(_U32, RESULTS_SIZE_MAX, "block results")
                first_fits = previous_size + block_record_size(block, results)
                if height == each.first_height and first_fits <= BLOCK_FILE_SIZE_MAX:
                    raise MalformedError(f"block {height} fits the block file before {each.name}")
                yield SnapshotBlock(height, block, results)
            tar.leave()

    def checkpoint_note(self) -> bytes:
        """Return the checkpoint, once the file proves to end with it.

        Raises:
            CutOffError: The file ends too early.
            MalformedError: It breaks the format, or something follows the end.
        """
        note = self._whole(CHECKPOINT_NAME, NOTE_SIZE_MAX)
        self._tar.finish()
        return note

    def _whole(self, name: str, size_max: int) -> bytes:
        self._tar.enter(name, size_max=size_max)
        raw = self._tar.read(self._tar.remaining)
        self._tar.leave()
        return raw

    def _bounded(self, length: struct.Struct, size_max: int, what: str) -> bytes:
        (size,) = length.unpack(self._tar.read(length.size))
        if size > size_max:
            raise MalformedError(f"{what} of {size} bytes is announced; at most {size_max} fit")
        return self._tar.read(size)

    def _read_path(self) -> tuple[bytes, ...]:
        (count,) = _U8.unpack(self._tar.read(_U8.size))
        if count > PATH_HASHES_MAX:
            raise MalformedError(
                f"a path of {count} hashes; at most {PATH_HASHES_MAX} are possible"
            )
        return tuple(self._tar.read(HASH_SIZE) for _ in range(count))

    def _read_start(self) -> SnapshotStart:
        tar = self._tar
        tar.enter(START_NAME, size_max=_START_SIZE_MAX)
        (size,) = _U64.unpack(tar.read(_U64.size))
        nodes = [tar.read(HASH_SIZE) for _ in range(size.bit_count())]
        leaf = self._bounded(_U16, _LEAF_SIZE_MAX, "a leaf")
        start = SnapshotStart(Frontier(size, nodes), leaf, self._read_path())
        tar.leave()
        return start
