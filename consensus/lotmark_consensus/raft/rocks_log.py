"""The durable log: RocksDB rows, changed by one atomic batch and one fsync at a time.

Keys are a letter and, where it says so, an index as u64; numbers are big-endian:

| key | value |
|---|---|
| c index | an entry's command |
| h index | the entry's head: term u64, CRC-32 of this key, the term and the command |
| m index | payload of a membership entry, sealed; stays when the entry is pruned |
| o | "lotmark/raft-log/v1", a newline and the chain id |
| p peer | a peer's mark: term u64, index u64, signed size u64, sealed |
| s | first index u64, last index u64, term u64, vote (a name or nothing), sealed |
| t index | the term u64 that begins at an index, sealed |

Sealed: a CRC-32 of key and value follows. Commands have the lowest letter, so that a cursor which
steps over the end of another kind never meets one: start-up reads no payload.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from lotmark_consensus.disk import make_folder, system_errors_as_ours
from lotmark_consensus.errors import (
    ConsensusError,
    ForeignJournal,
    JournalCorrupt,
    JournalFailed,
    JournalFull,
    JournalLocked,
)
from lotmark_consensus.raft.log_entry import EntryKind
from lotmark_consensus.raft.log_store import PeerMark, StoredEntry, StoredLog, Writes
from lotmark_consensus.raft.term_starts import TermStarts

MEMTABLES_SIZE_MAX = 16 << 20
MEMTABLES_MAX = 3
BLOCK_CACHE_SIZE = 4 << 20  # heads and references; commands have a cache of their own
BLOB_SIZE_MIN = 4096  # larger commands are written once, beside the tables, and never moved
FILE_SIZE_MAX = 4 << 20  # of RocksDB's list of files and of its own log; without it, endless
ROOM_KEPT = 64 << 20  # on the disk behind every write, for what RocksDB writes later

_COMMAND, _HEAD, _MEMBERSHIP, _PEER, _TERM = b"c", b"h", b"m", b"p", b"t"
_OWNER, _STANDING = b"o", b"s"
_OWNER_PREFIX = b"lotmark/raft-log/v1\n"
_U32, _U64 = struct.Struct(">I"), struct.Struct(">Q")
_THREE_U64 = struct.Struct(">QQQ")
_HEAD_VALUE = struct.Struct(">QI")


class RocksLogStore:
    """The log of one voter, in a folder of its own. A `LogStore`."""

    def __init__(self, folder: Path, chain_id: bytes) -> None:
        """Open the log of a chain, or begin it where the folder is empty.

        Raises:
            JournalLocked: Another process has it open.
            ForeignJournal: It belongs to another chain.
            JournalCorrupt: Acknowledged bytes are missing or damaged; a torn last write is not
                damage.
            JournalFailed: The operating system refused.
        """
        self._folder = folder
        with system_errors_as_ours(folder):
            make_folder(folder)
        self._check_files()
        try:
            self._db = Rdict(str(folder), _options())
        except Exception as error:  # rocksdict raises plain Exception, its text tells which
            raise self._refusal(0, error) from error
        self._failure: str | None = None
        try:
            self._check_owner(_OWNER_PREFIX + chain_id)
            stored = self.load()
        except ConsensusError:
            self.close()
            raise
        self._first_index, self._last_index = stored.first_index, stored.last_index
        self._terms = TermStarts(self._term_rows())  # the rows there are: `stored` cuts the first
        self._membership_indexes = [index for index, _ in stored.memberships]

    def _check_files(self) -> None:
        """Refuse where RocksDB would begin anew beside what is left: votes would be forgotten."""
        tables, journals = any(self._folder.glob("*.sst")), any(self._folder.glob("*.log"))
        if (tables or journals) and not (self._folder / "CURRENT").exists():
            raise self._corrupt(0, "the file CURRENT is missing")
        if tables and not journals:
            raise self._corrupt(0, "the newest rows are missing: there is no *.log file")

    def _check_owner(self, owner: bytes) -> None:
        found = self._get(_OWNER, 0)
        if found is None:
            if any(True for _ in self._rows(b"")):
                raise self._corrupt(0, "the row that names the chain is missing")
            self._begin(owner)
        elif found != owner:
            raise ForeignJournal(
                f"{self._folder} holds {found!r}, not {owner!r}; name another folder"
            )

    def _begin(self, owner: bytes) -> None:
        batch = WriteBatch(raw_mode=True)
        batch.put(_OWNER, owner)
        _put_sealed(batch, _STANDING, _THREE_U64.pack(1, 0, 0))
        self._commit(batch)
        try:
            self._db.flush(True)  # from now on there is a table: without a *.log file it is damage
        except Exception as error:
            raise self._refusal(0, error) from error

    def close(self) -> None:
        """Let go of the folder; all that was written is durable already.

        Raises:
            JournalFailed: The operating system refused; what was written stays durable.
        """
        try:
            self._db.close()
        except Exception as error:
            if self._failure is None:  # else that was told, and RocksDB repeats it
                raise self._refusal(0, error) from error

    # Reading

    def load(self) -> StoredLog:
        """Return where the log stands.

        Raises:
            JournalCorrupt: What is there cannot be what was written.
            JournalFailed: The operating system refused.
        """
        value = self._get(_STANDING, 0)
        if value is None:
            raise self._corrupt(0, "the row that tells term and vote is missing")
        value = self._unseal(_STANDING, value)
        first, last, term = _THREE_U64.unpack_from(value)
        terms = self._load_terms(first, last, term)
        for index, expected in (terms[0], (last, terms[-1][1])) if terms else ():
            if self._head(index)[0] != expected:
                raise self._corrupt(index, f"the entry is not of term {expected}")
        return StoredLog(
            term=term,
            vote=value[_THREE_U64.size :].decode() or None,
            first_index=first,
            last_index=last,
            terms=terms,
            memberships=tuple(self._indexed_rows(_MEMBERSHIP)),
            marks=self._load_marks(),
        )

    def _load_terms(self, first: int, last: int, current: int) -> list[tuple[int, int]]:
        rows = self._term_rows()
        if first > last:
            return []
        terms = [term for _, term in rows]
        sound = rows and rows[0][0] <= first and rows[-1][0] <= last and terms[-1] <= current
        if not sound or sorted(set(terms)) != terms:
            raise self._corrupt(first, f"terms begin at {rows[:9]}, the log is {first} to {last}")
        return TermStarts(rows).rows(first)

    def _term_rows(self) -> list[tuple[int, int]]:
        return [(index, _U64.unpack(value)[0]) for index, value in self._indexed_rows(_TERM)]

    def _load_marks(self) -> dict[str, PeerMark]:
        marks = {}
        for key, value in self._rows(_PEER):
            term, index, signed_size = _THREE_U64.unpack(self._unseal(key, value))
            peer = key[len(_PEER) :].decode()
            marks[peer] = PeerMark(term=term, index=index, signed_size=signed_size)
        return marks

    def _indexed_rows(self, kind: bytes) -> Iterator[tuple[int, bytes]]:
        for key, value in self._rows(kind):
            content = self._unseal(key, value)
            yield _U64.unpack_from(key, len(kind))[0], content

    def _rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        # Not `items()`, which ends at a damaged block as if no row came after it.
        try:
            cursor = self._db.iter()
            cursor.seek(prefix)
            while cursor.valid():
                key: bytes = cursor.key()
                if not key.startswith(prefix):
                    return
                yield key, cursor.value()
                cursor.next()
            cursor.status()
        except Exception as error:
            raise self._refusal(0, error) from error

    def read(self, index: int) -> StoredEntry:
        """Return a durable entry.

        Raises:
            JournalCorrupt: It is missing or damaged.
            JournalFailed: The operating system refused.
        """
        term, checksum = self._head(index)
        command = self._get(_COMMAND + _U64.pack(index), index)
        if command is None or _checksum(_HEAD + _U64.pack(index), term, command) != checksum:
            raise self._corrupt(index, "the command is missing or damaged")
        return StoredEntry(index, term, command)

    def _head(self, index: int) -> tuple[int, int]:
        value = self._get(_HEAD + _U64.pack(index), index)
        if value is None or len(value) != _HEAD_VALUE.size:
            raise self._corrupt(index, "the entry's head is missing or damaged")
        term, checksum = _HEAD_VALUE.unpack(value)
        return term, checksum

    def _get(self, key: bytes, index: int) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise self._refusal(index, error) from error
        return value

    # Writing

    def write(self, writes: Writes) -> None:
        """Make writes durable, by one fsync.

        Raises:
            JournalFull: There is no room; nothing of it was kept.
            JournalFailed: It is not known what was kept; nothing may be written until a restart.
        """
        if self._failure is not None:
            raise JournalFailed(f"{self._folder}: an earlier write failed: {self._failure}")
        self._check_room(sum(len(entry.command) for entry in writes.entries))
        batch = WriteBatch(raw_mode=True)
        self._put_bounds(batch, writes)
        self._put_memberships(batch, writes)
        for entry in writes.entries:
            number = _U64.pack(entry.index)
            checksum = _checksum(_HEAD + number, entry.term, entry.command)
            batch.put(_COMMAND + number, entry.command)
            batch.put(_HEAD + number, _HEAD_VALUE.pack(entry.term, checksum))
            if self._terms.append(entry.index, entry.term):
                _put_sealed(batch, _TERM + number, _U64.pack(entry.term))
        for peer, mark in writes.marks.items():
            value = _THREE_U64.pack(mark.term, mark.index, mark.signed_size)
            _put_sealed(batch, _PEER + peer.encode(), value)
        standing = _THREE_U64.pack(writes.first_index, writes.last_index, writes.term)
        _put_sealed(batch, _STANDING, standing + (writes.vote or "").encode())
        self._commit(batch)

    def _check_room(self, size: int) -> None:
        """Refuse before RocksDB meets the end of the disk, after which only a restart helps it."""
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        if free < size + ROOM_KEPT:
            raise JournalFull(
                f"{self._folder}: {free} bytes are free, but a write of {size} bytes wants"
                f" {ROOM_KEPT} beside it: make room on the disk, then try again"
            )

    def _put_bounds(self, batch: WriteBatch, writes: Writes) -> None:
        """Delete the entries outside the log, and the term starts of those that go or change."""
        first, end = writes.first_index, writes.last_index + 1
        for gone in (
            range(self._first_index, min(first, self._last_index + 1)),
            range(max(end, self._first_index), self._last_index + 1),
        ):
            if gone:
                for kind in (_COMMAND, _HEAD):
                    batch.delete_range(kind + _U64.pack(gone.start), kind + _U64.pack(gone.stop))
        cut_from = _cut_from(writes)
        starts = self._terms.cut_from(cut_from if cut_from > first else 0)
        for index in starts + self._terms.cut_below(first):
            batch.delete(_TERM + _U64.pack(index))
        self._first_index, self._last_index = first, writes.last_index

    def _put_memberships(self, batch: WriteBatch, writes: Writes) -> None:
        if writes.memberships is not None:
            kept_below, rows = 0, writes.memberships
        else:
            kept_below = _cut_from(writes)
            rows = [
                (entry.index, entry.command[1:])
                for entry in writes.entries
                if entry.command[0] == EntryKind.MEMBERSHIP
            ]
        for index in self._membership_indexes:
            if index >= kept_below:
                batch.delete(_MEMBERSHIP + _U64.pack(index))
        kept = [index for index in self._membership_indexes if index < kept_below]
        self._membership_indexes = kept + [index for index, _ in rows]
        for index, payload in rows:
            _put_sealed(batch, _MEMBERSHIP + _U64.pack(index), payload)

    def _commit(self, batch: WriteBatch) -> None:
        """Write a batch and wait for the disk.

        Python's lock is held by `write`, but neither by `flush_wal` nor by `flush`: so the fsync is
        asked for apart, and where RocksDB would make `write` wait for memory, that wait is here.
        """
        try:
            waiting = self._db.property_int_value("rocksdb.num-immutable-mem-table")
            if waiting is not None and waiting >= MEMTABLES_MAX - 1:
                self._db.flush(True)
            self._db.write(batch, WriteOptions())
            self._db.flush_wal(True)
        except Exception as error:
            self._failure = str(error)
            raise JournalFailed(
                f"{self._folder}: {error}; mend the disk, then restart the node"
            ) from error

    # What is wrong

    def _unseal(self, key: bytes, value: bytes) -> bytes:
        content = value[: -_U32.size]
        if value[-_U32.size :] != _U32.pack(crc32(content, crc32(key))):
            raise self._corrupt(0, f"the row {key!r} is damaged")
        return content

    def _refusal(self, index: int, error: Exception) -> ConsensusError:
        text = str(error)
        if "/LOCK" in text:
            return JournalLocked(f"{self._folder} is open in another process; stop that node first")
        if text.startswith("Corruption") or "No such file" in text:
            return self._corrupt(index, text)
        return JournalFailed(f"{self._folder}: {text}; mend the disk, then restart the node")

    def _corrupt(self, index: int, reason: str) -> JournalCorrupt:
        return JournalCorrupt(self._folder, 0, index, reason, is_shared=True)


def _cut_from(writes: Writes) -> int:
    """Return from where on what was stored is gone."""
    return writes.entries[0].index if writes.entries else writes.last_index + 1


def _checksum(head_key: bytes, term: int, command: bytes) -> int:
    return crc32(command, crc32(head_key + _U64.pack(term)))


def _put_sealed(batch: WriteBatch, key: bytes, value: bytes) -> None:
    batch.put(key, value + _U32.pack(crc32(value, crc32(key))))


def _options() -> Options:
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(BLOCK_CACHE_SIZE))
    blocks.set_cache_index_and_filter_blocks(True)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    # A record that a power cut tore off at the end was never acknowledged; anything else is damage.
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_block_based_table_factory(blocks)
    options.set_compression_type(DBCompressionType.none())
    options.set_enable_blob_files(True)
    options.set_min_blob_size(BLOB_SIZE_MIN)
    options.set_max_background_jobs(2)
    options.set_write_buffer_size(MEMTABLES_SIZE_MAX // MEMTABLES_MAX)
    options.set_max_write_buffer_number(MEMTABLES_MAX)
    options.set_db_write_buffer_size(MEMTABLES_SIZE_MAX)
    options.set_max_manifest_file_size(FILE_SIZE_MAX)
    options.set_max_log_file_size(FILE_SIZE_MAX)
    options.set_keep_log_file_num(2)
    return options
