"""The calls by which bytes and names become durable on a POSIX file system."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lotmark_consensus.errors import JournalFailed, JournalFull

# The disk, the quota and the file size limit (ulimit -f) run out in the same way.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
BUFFERS_MAX = os.sysconf("SC_IOV_MAX")  # per pwritev


def write_fully(descriptor: int, buffers: Sequence[bytes], offset: int) -> None:
    """Write all buffers one behind the other, without joining them; short writes go on.

    Raises:
        OSError: Any number of bytes may have been written before it.
    """
    rest = [memoryview(buffer) for buffer in buffers if buffer]
    start = 0
    while start < len(rest):
        written = os.pwritev(descriptor, rest[start : start + BUFFERS_MAX], offset)
        if written == 0:
            raise OSError(errno.EIO, "the write took no byte")
        offset += written
        while start < len(rest) and written >= len(rest[start]):
            written -= len(rest[start])
            start += 1
        if written:
            rest[start] = rest[start][written:]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents so that a power cut does not take them away again."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Let a file have this content: whole on disk when this returns, or as before if it fails.

    Args:
        path: Its folder is made if absent; the name with the suffix `.new` is used meanwhile.
        content: All of it.

    Raises:
        OSError: It cannot be written.
    """
    place_file(path, content)
    sync_folder(path.parent)


def place_file(path: Path, content: bytes) -> None:
    """As `replace_file`, but that the name is durable only after `sync_folder` of its folder.

    So many files of one folder share that wait.
    """
    make_folder(path.parent)
    unfinished = path.with_suffix(".new")
    with unfinished.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    unfinished.replace(path)


def no_room(folder: Path, size: int, error: OSError) -> JournalFull:
    """Return the error that says how much is free and what to do."""
    disk = os.statvfs(folder)
    return JournalFull(
        f"{folder}: no room for {size} bytes ({error.strerror});"
        f" {disk.f_bavail * disk.f_frsize} bytes are free on the disk:"
        " make room, or raise the quota or the file size limit, then try again"
    )


@contextmanager
def system_errors_as_ours(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into `JournalFailed`, naming the path."""
    try:
        yield
    except OSError as error:
        raise JournalFailed(
            f"{path}: {error.strerror or error}; check the disk and the rights on the folder"
        ) from error
