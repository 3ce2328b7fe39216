"""The durable journal: append-only segment files in one folder that one process holds."""

import fcntl
import logging
import os
import re
import secrets
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from lotmark_consensus.disk import (
    NO_ROOM,
    make_folder,
    no_room,
    sync_folder,
    system_errors_as_ours,
    write_fully,
)
from lotmark_consensus.errors import (
    IndexPruned,
    JournalCorrupt,
    JournalFailed,
    JournalLocked,
)
from lotmark_consensus.latency import Latency
from lotmark_consensus.ordering import BLOCK_SIZE_MAX, CHAIN_ID_SIZE, Ordered
from lotmark_consensus.segment import (
    HEAD_SIZE,
    HEADER_SIZE,
    MARKER_SIZE,
    SegmentHeader,
    SegmentReader,
    TornTail,
    encode_header,
    encode_records,
    find_end,
)
from lotmark_consensus.torn_copy import UNFINISHED_SUFFIX, keep_torn

logger = logging.getLogger(__name__)

SEGMENT_SIZE_MAX = 64 * 1024 * 1024
FDATASYNC_TIMES_MAX = 1024
LOCK_NAME = "lock"
SEGMENT_NAME = re.compile(r"(\d{20})\.segment")


class Journal:
    """An append-only file of ordered blocks; what `append_many` returned from survives a crash.

    One thread appends. Reading, pruning and scrubbing may run beside it, in any thread.
    Files are not preallocated: on ext4 that took 0.03 ms off an fdatasync of 0.2 to 0.5 ms, and a
    file that ends where its records end has no tail of zeros to tell from damage.

    Attributes:
        torn_tail: What opening cut off and where its copy is, None where the end was whole.
        fsyncs: How many appends were made durable.
        fdatasync_ms: How long the newest of them waited for the disk.
        durable_writes: How long all of them waited for it.
    """

    def __init__(
        self, folder: Path, chain_id: bytes, *, segment_size_max: int = SEGMENT_SIZE_MAX
    ) -> None:
        """Open the folder, creating it where it is missing; only the last segment is read.

        Args:
            folder: Used for nothing else.
            chain_id: 32 bytes; each segment carries them.
            segment_size_max: A new file is begun rather than exceed it; only a single append that
                is larger by itself makes a larger file.

        Raises:
            JournalLocked: Another process has the folder open.
            ForeignJournal: It belongs to another chain.
            JournalCorrupt: The last segment is damaged.
            JournalFull: There is no room for the first segment, or for a copy of a torn tail.
            JournalFailed: The operating system refused a call.
        """
        assert len(chain_id) == CHAIN_ID_SIZE, chain_id
        self._folder = folder
        self._chain_id = chain_id
        self._segment_size_max = segment_size_max
        self._segments_lock = threading.Lock()  # prune and append both change the tuple below
        self._failure: JournalFailed | None = None
        self.fsyncs = 0
        self.fdatasync_ms: deque[float] = deque(maxlen=FDATASYNC_TIMES_MAX)
        self.durable_writes = Latency()
        with system_errors_as_ours(folder), ExitStack() as undo:
            make_folder(folder)
            self._lock = _lock(folder / LOCK_NAME)
            undo.callback(os.close, self._lock)
            for leftover in folder.glob(f"*{UNFINISHED_SUFFIX}"):
                leftover.unlink()
            names = (SEGMENT_NAME.fullmatch(path.name) for path in folder.iterdir())
            # First indexes, ascending. Replaced as a whole, so that a reader keeps what it has.
            self._segments = tuple(sorted(int(name[1]) for name in names if name))
            if self._segments:
                self._open_last()
            else:
                self.torn_tail: TornTail | None = None
                self._last_index = 0
                self._begin_segment(1)
            undo.pop_all()

    def _open_last(self) -> None:
        """Find the end of the last segment and make all of it durable."""
        first_index = self._segments[-1]
        path = self._path(first_index)
        end = find_end(path, chain_id=self._chain_id, first_index=first_index)
        torn = end.torn
        self._file = os.open(path, os.O_RDWR)
        try:
            if torn is not None:
                torn = replace(torn, kept_in=keep_torn(torn))
                os.ftruncate(self._file, end.size)
                logger.warning(
                    "torn append cut off the journal",
                    extra={
                        "path": str(path),
                        "offset": torn.offset,
                        "index": torn.index,
                        "cut_size": torn.size,
                        "reason": torn.reason,
                        "kept_in": str(torn.kept_in) if torn.kept_in else None,
                    },
                )
            # A killed process may have left whole records that never reached the disk.
            os.fsync(self._file)
            sync_folder(self._folder)
        except BaseException:
            os.close(self._file)
            raise
        self.torn_tail = torn
        self._marker = end.header.marker
        self._size = end.size
        self._last_index = end.last_index

    @property
    def last_index(self) -> int:
        """The highest durable index, 0 where nothing was ever appended."""
        return self._last_index

    @property
    def first_index(self) -> int:
        """The lowest index kept; `last_index` + 1 where no record is."""
        return self._segments[0]

    def append_many(self, records: Sequence[Ordered]) -> None:
        """Write records behind the last one and return when they are durable, by one fdatasync.

        Args:
            records: One or more, their indexes following `last_index` without a gap.

        Raises:
            JournalFull: Nothing of it was kept; it may be tried again.
            JournalFailed: A write or fsync failed, now or before. What is on the disk is known only
                after a restart, so nothing more is taken; reading goes on.
        """
        indexes = [record.index for record in records]
        assert indexes, "nothing to append"
        assert indexes == list(range(self._last_index + 1, self._last_index + 1 + len(indexes)))
        assert all(len(record.block) <= BLOCK_SIZE_MAX for record in records)
        if self._failure is not None:
            raise JournalFailed(f"nothing is appended any more: {self._failure}")
        size = sum(HEAD_SIZE + len(record.block) for record in records)
        if self._size > HEADER_SIZE and self._size + size > self._segment_size_max:
            full = self._file
            self._begin_segment(self._last_index + 1)
            os.close(full)
        buffers = encode_records(records, marker=self._marker, durable_index=self._last_index)
        try:
            write_fully(self._file, buffers, self._size)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise self._fail(error) from error
            self._cut_back()
            raise no_room(self._folder, size, error) from error
        self._make_durable()
        self._size += size
        self._last_index = indexes[-1]

    def _make_durable(self) -> None:
        started_s = time.perf_counter()
        try:
            os.fdatasync(self._file)
        except OSError as error:
            # The kernel may have dropped the pages and would report success the next time.
            raise self._fail(error) from error
        waited_s = time.perf_counter() - started_s
        self.fdatasync_ms.append(waited_s * 1000)
        self.durable_writes.add(waited_s)
        self.fsyncs += 1

    def _cut_back(self) -> None:
        """Take off what an append for which there was no room has written."""
        try:
            os.ftruncate(self._file, self._size)
            os.fdatasync(self._file)
        except OSError as error:
            raise self._fail(error) from error

    def _fail(self, error: OSError) -> JournalFailed:
        """Refuse all appends from now on."""
        self._failure = JournalFailed(
            f"{self._folder}: {error.strerror or error} while appending index"
            f" {self._last_index + 1}; check the disk, then restart: that re-reads it"
        )
        return self._failure

    def _begin_segment(self, first_index: int) -> None:
        """Go on in a new file; its name appears only when its header is durable."""
        marker = secrets.token_bytes(MARKER_SIZE)
        header = SegmentHeader(chain_id=self._chain_id, first_index=first_index, marker=marker)
        path = self._path(first_index)
        unfinished = path.with_suffix(UNFINISHED_SUFFIX)
        try:
            file = _write_new(unfinished, encode_header(header))
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise self._fail(error) from error
            raise no_room(self._folder, HEADER_SIZE, error) from error
        try:
            # From here on any failure is final: whether the name is there, a restart will see.
            unfinished.rename(path)
            sync_folder(self._folder)
        except OSError as error:
            os.close(file)
            raise self._fail(error) from error
        self._file = file
        self._marker = marker
        self._size = HEADER_SIZE
        with self._segments_lock:
            self._segments = (*self._segments, first_index)

    def read(self, from_index: int) -> Iterator[Ordered]:
        """Return the records from an index on, up to what is durable at the time of this call.

        Holds one record and one read-ahead buffer in memory.

        Raises:
            IndexPruned: `from_index` is below `first_index`.
            JournalCorrupt: Met while iterating; the records before it were whole.
            JournalFailed: A file cannot be read (while iterating).
        """
        assert from_index >= 1, from_index
        last_index = self._last_index  # before the tuple, which is changed before it
        segments = self._segments
        if from_index < segments[0]:
            raise self._pruned(from_index)
        if from_index > last_index:
            return iter(())
        return self._read(from_index, last_index, segments)

    def _read(
        self, from_index: int, last_index: int, segments: tuple[int, ...]
    ) -> Iterator[Ordered]:
        start = bisect_right(segments, from_index) - 1
        for position in range(start, len(segments)):
            first_index = segments[position]
            closed = position + 1 < len(segments)
            until_index = segments[position + 1] - 1 if closed else last_index
            reader = self._reader(first_index)
            try:
                while reader.next_index <= until_index:
                    record = reader.next_record()
                    if record is None:
                        raise reader.damage(f"the file ends before index {until_index}")
                    if record.index >= from_index:
                        yield record
                if closed and reader.next_record() is not None:
                    raise reader.damage("more stands here than the next file's name allows")
            finally:
                reader.close()

    def _reader(self, first_index: int) -> SegmentReader:
        path = self._path(first_index)
        try:
            return SegmentReader(path, chain_id=self._chain_id, first_index=first_index)
        except FileNotFoundError as error:
            if first_index < self.first_index:
                raise self._pruned(first_index) from error
            raise JournalCorrupt(path, 0, first_index, "the file is missing") from error
        except OSError as error:
            raise JournalFailed(f"{path}: {error.strerror}; check the rights on it") from error

    def _pruned(self, index: int) -> IndexPruned:
        return IndexPruned(
            f"index {index} is pruned, {self.first_index} is the first kept;"
            " fetch older blocks from an archive or a snapshot"
        )

    def scrub(self) -> None:
        """Re-read and check every byte that is durable at the time of this call.

        Raises:
            JournalCorrupt: The first damage found.
            JournalFailed: A file cannot be read.
            IndexPruned: Files were pruned while they were checked; start again.
        """
        last_index = self._last_index
        segments = self._segments
        for _ in self._read(segments[0], last_index, segments):
            pass

    def prune(self, below_index: int) -> None:
        """Delete the segments that hold only records below an index; the last one stays.

        Raises:
            JournalFailed: A file could not be deleted; those before it are.
        """
        with self._segments_lock, system_errors_as_ours(self._folder):
            while len(self._segments) > 1 and self._segments[1] <= below_index:
                gone, self._segments = self._segments[0], self._segments[1:]
                self._path(gone).unlink()
                # One at a time, oldest first: a power cut in between must not leave a gap.
                sync_folder(self._folder)

    def close(self) -> None:
        """Give the folder back; nothing may be called afterwards."""
        os.close(self._file)
        os.close(self._lock)

    def _path(self, first_index: int) -> Path:
        return self._folder / f"{first_index:020d}.segment"


def _lock(path: Path) -> int:
    """Return the descriptor that holds the folder; closing it, or dying, gives it back."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
        os.close(descriptor)
        raise JournalLocked(
            f"{path.parent} is held by process {holder};"
            " stop that process, or give this one a folder of its own"
        ) from error
    except BaseException:
        os.close(descriptor)
        raise
    os.ftruncate(descriptor, 0)
    try:
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except OSError as error:
        # The id only helps whoever meets the lock; a full disk must still be readable.
        logger.warning("process id not written to the lock", extra={"error": str(error)})
    return descriptor


def _write_new(path: Path, content: bytes) -> int:
    """Create a durable file and return it open; it is closed where that fails."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_fully(descriptor, [content], 0)
        os.fsync(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
