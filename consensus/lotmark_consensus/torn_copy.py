"""Copies of what opening cuts off a journal.

A bit that flipped in the last acknowledged record looks like an append that was torn. What is cut
off therefore stays beside its segment until somebody has looked at it, or newer copies came.
"""

import os
import re
from pathlib import Path
from typing import BinaryIO

from lotmark_consensus.disk import NO_ROOM, no_room, sync_folder
from lotmark_consensus.segment import TornTail

COPIES_MAX = 4
UNFINISHED_SUFFIX = ".unfinished"
_PIECE_SIZE = 1024 * 1024
# The last number counts the cuts in a folder: one place may be cut twice, and clocks go back.
_NAME = re.compile(r"\d{20}\.segment\.torn-\d+-(\d+)")


def keep_torn(torn: TornTail) -> Path | None:
    """Copy a torn tail, durable when this returns, and delete all copies but the newest four.

    Returns:
        The copy, `<segment name>.torn-<offset>-<number>`; None where all bytes are zero: those are
        room that a file system gave and nobody wrote to.

    Raises:
        JournalFull: There is no room for the copy.
        OSError: The segment cannot be read, or the copy not be written.
    """
    with torn.path.open("rb") as segment:
        if _is_zero(segment, torn.offset):
            return None
        folder = torn.path.parent
        kept = _copies(folder)
        number = kept[-1][0] + 1 if kept else 1
        path = folder / f"{torn.path.name}.torn-{torn.offset}-{number}"
        unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
        try:
            _copy(segment, torn.offset, unfinished)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            if error.errno not in NO_ROOM:
                raise
            raise no_room(folder, torn.size, error) from error
    unfinished.rename(path)
    sync_folder(folder)
    for _, old in kept[: 1 - COPIES_MAX]:
        old.unlink()
    return path


def _copies(folder: Path) -> list[tuple[int, Path]]:
    """Return the copies there are with their numbers, oldest first."""
    names = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(name[1]), path) for name, path in names if name)


def _is_zero(segment: BinaryIO, offset: int) -> bool:
    segment.seek(offset)
    while piece := segment.read(_PIECE_SIZE):
        if piece.count(0) < len(piece):
            return False
    return True


def _copy(segment: BinaryIO, offset: int, path: Path) -> None:
    segment.seek(offset)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as copy:
        while piece := segment.read(_PIECE_SIZE):
            copy.write(piece)
        copy.flush()
        os.fsync(copy.fileno())
