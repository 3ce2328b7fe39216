"""A folder that a camera writes to: images once they are whole, their contexts, and triggers."""

import logging
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lotmark_consensus.disk import make_folder, replace_file, sync_folder
from lotmark_node.edge.image_file import SUFFIXES, ImageFile, LargeImage

logger = logging.getLogger(__name__)

CONTEXT_SUFFIX = ".json"  # of the file beside an image that has its context
CONTEXT_ALONE_S = 600.0  # after which a context is removed that no image has come to
FOLDER_FILES_MAX = 10_000  # looked at in one poll, of images and of contexts
TRIGGER_SUFFIX = ".trigger"
TRIGGER_FILES_MAX = 64  # taken in one poll
JUDGED, REFUSED = "judged", "refused"  # folders beneath the watched one
UNJUDGED_TOLD_MAX = 16  # kinds of files that are not judged, each once

_UNFINISHED_SUFFIX = ".new"  # of what is being pushed, see `replace_file`


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look at a file showed."""

    size: int
    modified_ns: int
    inode: int


def _look_of(status: os.stat_result) -> _Look:
    return _Look(status.st_size, status.st_mtime_ns, status.st_ino)


@dataclass(frozen=True, slots=True)
class _Settled:
    """A file that is done with; it lies there as long as it cannot be removed."""

    look: _Look
    place: Path | None  # where it is moved to; None: it is removed
    context: _Look | None  # of its context, which goes with it; None: it had none


class ImageFolder:
    """A folder that a camera writes to; for one thread.

    A file is taken once it looks the same in two polls in a row: a camera that is still writing
    makes it grow. A camera that pauses longer than that between two writes must write elsewhere
    and move the file here. What was judged is kept beneath `judged`, named by its own digest, for
    whoever runs it again; what cannot be judged goes beneath `refused`.

    What is settled is not given out again, also where it cannot be removed: then it is told once,
    and tried again with each poll.
    """

    def __init__(self, folder: Path, *, now_s: Callable[[], float] = time.monotonic) -> None:
        """Watch a folder; nothing is read yet.

        Args:
            folder: It exists by the first poll.
            now_s: A clock that is never set.
        """
        self._folder = folder
        self._now_s = now_s
        self._looks: dict[str, _Look] = {}
        self._contexts: dict[str, _Look | None] = {}  # by image of the last poll
        self._settled: dict[str, _Settled] = {}  # by name; what lies there still
        self._alone_since_s: dict[str, float] = {}  # contexts without an image, by name
        self._unjudged_told: set[str] = set()
        self._is_unremoved_told = False

    @property
    def unremoved_count(self) -> int:
        """How many settled files could not be removed; any thread may ask."""
        return len(self._settled)

    def poll(self) -> list[Path]:
        """Return the images that are there whole, oldest first.

        Raises:
            OSError: The folder cannot be read.
        """
        looks = self._looked()
        ready = [name for name, look in looks.items() if self._looks.get(name) == look]
        self._looks = looks
        ready = [name for name in ready if not self._is_settled(name, looks[name])]
        self._remove_settled()
        self._contexts = {name: _context_look(self._folder / name) for name in ready}
        ready.sort(key=lambda name: (looks[name].modified_ns, name))
        return [self._folder / name for name in ready]

    def is_as_polled(self, image: Path) -> bool:
        """Return whether an image of the last poll and its context are still those of that poll.

        What was read of both before is then of the same image.
        """
        look = None
        with suppress(OSError):
            look = _look_of(image.lstat())
        name = image.name
        return (look, _context_look(image)) == (self._looks.get(name), self._contexts.get(name))

    def _looked(self) -> dict[str, _Look]:
        looks: dict[str, _Look] = {}
        contexts: set[str] = set()
        is_whole = True
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.name.lower().endswith(SUFFIXES):
                    if not entry.name.endswith(CONTEXT_SUFFIX):
                        self._tell_ending(entry)
                    elif len(contexts) < FOLDER_FILES_MAX:
                        contexts.add(entry.name)
                    continue
                if len(looks) == FOLDER_FILES_MAX:
                    logger.warning("too many images wait", extra={"folder": str(self._folder)})
                    is_whole = False
                    break
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # its camera took it away again
                if stat.S_ISREG(status.st_mode):
                    looks[entry.name] = _look_of(status)
                else:
                    self._tell_unjudged(entry.name, "it is no plain file")
        if is_whole:
            self._remove_lonely(contexts - {_context_name(name) for name in looks})
        return looks

    def _tell_ending(self, entry: "os.DirEntry[str]") -> None:
        ending = Path(entry.name).suffix.lower()[:16]
        if ending not in (TRIGGER_SUFFIX, _UNFINISHED_SUFFIX) and not entry.is_dir(
            follow_symlinks=False
        ):
            self._tell_unjudged(entry.name, f"its ending is {ending or 'none'}")

    def _tell_unjudged(self, name: str, why: str) -> None:
        """Tell once of a kind of files that are not judged; a camera may be set to write such."""
        if why not in self._unjudged_told and len(self._unjudged_told) < UNJUDGED_TOLD_MAX:
            self._unjudged_told.add(why)
            logger.warning(
                "such files are not judged",
                extra={"file": name, "why": why, "judged": ", ".join(SUFFIXES)},
            )

    def _remove_lonely(self, contexts: set[str]) -> None:
        """Remove contexts to which no image has come: they are not of a later one of that name."""
        now_s, since_s = self._now_s(), self._alone_since_s
        self._alone_since_s = {name: since_s.get(name, now_s) for name in contexts}
        for name, alone_since_s in self._alone_since_s.items():
            if now_s - alone_since_s >= CONTEXT_ALONE_S:
                self._alone_since_s[name] = now_s  # where it cannot be removed, again in a while
                logger.warning("no image came to a context", extra={"file": name})
                _remove_context(self._folder / name)

    def triggers(self) -> list[Path]:
        """Return the files that say that something happened at the line, oldest first.

        Such a file is named by the trigger, `tool_change.trigger`; what is in it does not matter.
        Whoever has acted on one removes it.

        Raises:
            OSError: The folder cannot be read.
        """
        looks: dict[str, _Look] = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(TRIGGER_SUFFIX) and len(looks) < TRIGGER_FILES_MAX:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    look = _look_of(status)
                    if not stat.S_ISDIR(status.st_mode) and not self._is_settled(entry.name, look):
                        looks[entry.name] = look
        self._looks.update(looks)  # by which they are removed
        found = sorted((look.modified_ns, name) for name, look in looks.items())
        return [self._folder / name for _, name in found]

    def keep(self, file: ImageFile, *, was_judged: bool) -> Path:
        """Write an image under its digest, on disk when this returns, and return where.

        What is written is what was read: the camera may have written another file by now.

        Raises:
            OSError: It cannot be written.
        """
        place = self._place(JUDGED if was_judged else REFUSED, file)
        replace_file(place, file.content)
        return place

    def refused_place(self, file: LargeImage) -> Path:
        """Return where a file that is too large goes."""
        return self._place(REFUSED, file)

    def settle(self, path: Path, large: LargeImage | None = None) -> None:
        """Give out a file of the last poll no more, unless it is another one by then.

        Args:
            path: Of an image that was kept and is on record, or of a trigger.
            large: What it is where it is too large to be an image: it is moved, not removed.
        """
        look = self._looks.get(path.name)
        if look is not None:
            place = None if large is None else self.refused_place(large)
            self._settled[path.name] = _Settled(look, place, self._contexts.get(path.name))

    def remove(self, path: Path, large: LargeImage | None = None) -> None:
        """Settle a file and take it out of the folder, with its context; as `settle`.

        A context that came after the last poll, or was written anew since, is of the next image of
        that name, and stays; see `is_as_polled`.

        Where it cannot be taken out, that is told once, and it is tried again with each poll.
        """
        self.settle(path, large)
        self._looks.pop(path.name, None)
        if path.name in self._settled:
            self._take_out(path.name)

    def _is_settled(self, name: str, look: _Look) -> bool:
        settled = self._settled.get(name)
        return settled is not None and settled.look == look

    def _remove_settled(self) -> None:
        """Try again to remove what lies there still, up to the first that cannot be."""
        for name in [*self._settled]:
            if not self._take_out(name):
                self._settled[name] = self._settled.pop(name)  # another one is first next time
                return
        self._is_unremoved_told = False

    def _take_out(self, name: str) -> bool:
        """Take a settled file out of the folder, unless it is another one by now.

        Returns:
            Whether it is not there any more.
        """
        path, settled = self._folder / name, self._settled[name]
        try:
            if settled.look == _look_of(path.lstat()):
                if settled.place is None:
                    path.unlink(missing_ok=True)
                else:
                    make_folder(settled.place.parent)
                    path.replace(settled.place)
                    sync_folder(settled.place.parent)
        except FileNotFoundError:
            pass
        except OSError as error:
            if not self._is_unremoved_told:
                logger.error(
                    "judged files cannot be removed", extra={"file": name, "reason": str(error)}
                )
            self._is_unremoved_told = True
            return False
        if settled.context is not None and settled.context == _context_look(path):
            _remove_context(path.with_suffix(CONTEXT_SUFFIX))
        del self._settled[name]
        return True

    def _place(self, beneath: str, file: ImageFile | LargeImage) -> Path:
        return self._folder / beneath / f"{file.digest.hex()}{Path(file.name).suffix.lower()}"


def _context_name(image: str) -> str:
    return Path(image).with_suffix(CONTEXT_SUFFIX).name


def _context_look(image: Path) -> _Look | None:
    """Look at the context file beside an image; None: there is none, or it cannot be looked at."""
    with suppress(OSError):
        return _look_of(image.with_suffix(CONTEXT_SUFFIX).lstat())
    return None


def _remove_context(context: Path) -> None:
    """Remove a context file, if it is there, or say why it cannot be."""
    try:
        context.unlink(missing_ok=True)
    except OSError as error:
        logger.warning(
            "context not removed", extra={"file": context.name, "reason": error.strerror}
        )
