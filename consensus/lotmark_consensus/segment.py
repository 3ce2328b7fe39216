"""One segment file of the journal: its bytes, reading it, and finding its end after a crash.

All integers are big-endian. A file is a header and then records, with nothing between or behind:

    header: magic 8, version u32, chain id 32, first index u64, marker 8, CRC-32 u32 of these
    record: length u32 of what follows the CRC, CRC-32 u32 of what follows it,
            marker 8, index u64, durable index u64, term u64, time in ms u64, block

The marker is chance, drawn for each file and never shown, so that no author of a block can put
bytes into it that pass for a record. The durable index is the highest index that was fsynced
before the record was written. Both serve one question, asked of a damaged record at the end: was
it ever acknowledged? See `find_end`.
"""

import mmap
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lotmark_consensus.disk import system_errors_as_ours
from lotmark_consensus.errors import ForeignJournal, JournalCorrupt
from lotmark_consensus.ordering import BLOCK_SIZE_MAX, CHAIN_ID_SIZE, Ordered

MAGIC = b"LOTMARKJ"
VERSION = 1
MARKER_SIZE = 8
READ_AHEAD_SIZE = 1024 * 1024

_HEADER = struct.Struct(f">8sI{CHAIN_ID_SIZE}sQ{MARKER_SIZE}s")
_CHECKSUM = struct.Struct(">I")
HEADER_SIZE = _HEADER.size + _CHECKSUM.size

_FRAME = struct.Struct(">II")
_FIELDS = struct.Struct(f">{MARKER_SIZE}sQQQQ")
HEAD_SIZE = _FRAME.size + _FIELDS.size


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHeader:
    """What stands at the front of a segment file."""

    chain_id: bytes
    first_index: int
    marker: bytes


def encode_header(header: SegmentHeader) -> bytes:
    """Return the first `HEADER_SIZE` bytes of a segment file."""
    fields = _HEADER.pack(MAGIC, VERSION, header.chain_id, header.first_index, header.marker)
    return fields + _CHECKSUM.pack(zlib.crc32(fields))


def encode_records(records: Sequence[Ordered], *, marker: bytes, durable_index: int) -> list[bytes]:
    """Return the buffers to write one behind the other; blocks are not copied."""
    buffers: list[bytes] = []
    for record in records:
        fields = _FIELDS.pack(marker, record.index, durable_index, record.term, record.time_ms)
        checksum = zlib.crc32(record.block, zlib.crc32(fields))
        length = _FIELDS.size + len(record.block)
        buffers += (_FRAME.pack(length, checksum) + fields, record.block)
    return buffers


class SegmentReader:
    """A segment file read forwards, every byte of it checked; close it after use.

    Attributes:
        header: Of this file.
        offset: Where the next record begins.
        next_index: What its index must be.
    """

    def __init__(self, path: Path, *, chain_id: bytes, first_index: int) -> None:
        """Open the file and check its header.

        Raises:
            OSError: It cannot be opened.
            JournalFailed: It cannot be read.
            JournalCorrupt: The header is damaged.
            ForeignJournal: The header is whole and names another chain.
        """
        self._path = path
        self.offset = 0
        self.next_index = first_index
        self._file = path.open("rb", buffering=READ_AHEAD_SIZE)
        try:
            self.header = self._read_header(chain_id)
        except BaseException:
            self._file.close()
            raise
        self.offset = HEADER_SIZE

    def _read_header(self, chain_id: bytes) -> SegmentHeader:
        data = self._take(HEADER_SIZE)
        fields = data[: _HEADER.size]
        if len(data) < HEADER_SIZE or data[_HEADER.size :] != _CHECKSUM.pack(zlib.crc32(fields)):
            raise self.damage("the header is damaged")
        magic, version, found_id, first_index, marker = _HEADER.unpack(fields)
        if (magic, version) != (MAGIC, VERSION):
            raise self.damage(f"not a journal of version {VERSION}: {magic!r} version {version}")
        if found_id != chain_id:
            raise ForeignJournal(
                f"{self._path} belongs to chain {found_id.hex()}, this node to {chain_id.hex()};"
                " name the right folder"
            )
        if first_index != self.next_index:
            raise self.damage(f"the header says that it begins with index {first_index}")
        return SegmentHeader(chain_id=found_id, first_index=first_index, marker=marker)

    def next_record(self) -> Ordered | None:
        """Return the next record, or None at the exact end of the file.

        Raises:
            JournalFailed: It cannot be read.
            JournalCorrupt: What stands there is not the record that must; `offset` stays before it.
        """
        head = self._take(HEAD_SIZE)
        if not head:
            return None
        if len(head) < HEAD_SIZE:
            raise self.damage("the record is incomplete")
        length, checksum = _FRAME.unpack_from(head)
        block_size = length - _FIELDS.size
        if not 0 <= block_size <= BLOCK_SIZE_MAX:
            raise self.damage(f"the record cannot be {length} bytes long")
        block = self._take(block_size)
        if len(block) < block_size:
            raise self.damage("the record is incomplete")
        if zlib.crc32(block, zlib.crc32(head[_FRAME.size :])) != checksum:
            raise self.damage("the record does not match its checksum")
        marker, index, _, term, time_ms = _FIELDS.unpack_from(head, _FRAME.size)
        if marker != self.header.marker or index != self.next_index:
            raise self.damage(f"the record is whole, but index {index} of another place")
        self.offset += HEAD_SIZE + block_size
        self.next_index += 1
        return Ordered(index=index, term=term, time_ms=time_ms, block=block)

    def _take(self, size: int) -> bytes:
        with system_errors_as_ours(self._path):
            return self._file.read(size)

    def damage(self, reason: str) -> JournalCorrupt:
        """Return the error that names this place."""
        return JournalCorrupt(self._path, self.offset, self.next_index, reason)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class TornTail:
    """What a crash left of an append; or damage to the last one, which looks the same."""

    path: Path
    offset: int
    index: int  # of the first record that is not whole
    size: int  # bytes cut off
    reason: str
    kept_in: Path | None = None  # the copy of these bytes; None: not cut off yet, or all were zero


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentEnd:
    """Where the last segment's whole records end."""

    header: SegmentHeader
    last_index: int  # first_index - 1 where there is no record
    size: int  # of header and whole records
    torn: TornTail | None


def find_end(path: Path, *, chain_id: bytes, first_index: int) -> SegmentEnd:
    """Read the last segment through and tell a torn append from damage.

    One append may be several records under one fsync, and a power cut may keep any of its pages.
    So whole records behind the first bad one do not prove that the bad one was acknowledged;
    one that was written after the bad one had been fsynced does.

    Raises:
        OSError: The file cannot be opened.
        JournalFailed: The file cannot be read.
        JournalCorrupt: The header, or a record that had been fsynced, is damaged.
        ForeignJournal: The file belongs to another chain.
    """
    reader = SegmentReader(path, chain_id=chain_id, first_index=first_index)
    torn = None
    try:
        while reader.next_record() is not None:
            pass
    except JournalCorrupt as damage:
        if _was_fsynced(path, reader):
            raise
        size = path.stat().st_size - reader.offset
        torn = TornTail(
            path=path,
            offset=reader.offset,
            index=reader.next_index,
            size=size,
            reason=damage.reason,
        )
    finally:
        reader.close()
    return SegmentEnd(
        header=reader.header, last_index=reader.next_index - 1, size=reader.offset, torn=torn
    )


def _was_fsynced(path: Path, reader: SegmentReader) -> bool:
    """Whether a whole record behind the reader's place was written after that place was fsynced."""
    marker = reader.header.marker
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        position = data.find(marker, reader.offset + _FRAME.size)
        while position >= 0:
            start = position - _FRAME.size
            if len(data) - start >= HEAD_SIZE:
                length, checksum = _FRAME.unpack_from(data, start)
                _, _, durable_index, _, _ = _FIELDS.unpack_from(data, position)
                if (
                    durable_index >= reader.next_index
                    and length <= _FIELDS.size + BLOCK_SIZE_MAX
                    and zlib.crc32(data[position : position + length]) == checksum
                ):
                    return True
            position = data.find(marker, position + 1)
    return False
