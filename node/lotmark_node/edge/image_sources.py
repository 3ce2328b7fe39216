"""Where images come from: a folder that a camera writes to, or a vision system's result.

Whatever the source, what is handed on is the file as it came, whole and bounded in size; nothing
here decodes it.
"""

import hashlib
import io
import logging
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lotmark.canonical_json import JsonValue, load
from lotmark.errors import MalformedError
from lotmark_adapters.observation import SourceRecord
from lotmark_consensus.disk import make_folder, replace_file, sync_folder
from lotmark_inference.errors import InputRefused
from lotmark_inference.image_reading import IMAGE_SIZE_MAX

logger = logging.getLogger(__name__)

SUFFIXES = (".png", ".pgm", ".bmp")
CONTEXT_SUFFIX = ".json"  # of the file beside an image that has its context
CONTEXT_ALONE_S = 600.0  # after which a context is removed that no image has come to
FOLDER_FILES_MAX = 10_000  # looked at in one poll, of images and of contexts
TRIGGER_SUFFIX = ".trigger"
TRIGGER_FILES_MAX = 64  # taken in one poll
JUDGED, REFUSED = "judged", "refused"  # folders beneath the watched one
UNJUDGED_TOLD_MAX = 16  # kinds of files that are not judged, each once

_UNFINISHED_SUFFIX = ".new"  # of what is being pushed, see `replace_file`
_RECORD_SIZE_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image as its source gave it."""

    name: str
    content: bytes

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return len(self.content)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return hashlib.sha256(self.content).digest()


@dataclass(frozen=True, slots=True)
class LargeImage:
    """A file that is too large to be an image: it is hashed where it lies, and not read whole."""

    name: str
    size: int  # bytes
    digest: bytes  # SHA-256


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
        ready.sort(key=lambda name: (looks[name].modified_ns, name))
        return [self._folder / name for name in ready]

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
            self._settled[path.name] = _Settled(look, place)

    def remove(self, path: Path, large: LargeImage | None = None) -> None:
        """Settle a file and take it out of the folder, with its context; as `settle`.

        Where it cannot be taken out, that is told once, and it is tried again with each poll.
        """
        self.settle(path, large)
        self._looks.pop(path.name, None)
        _remove_context(path)
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
                _remove_context(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            if not self._is_unremoved_told:
                logger.error(
                    "judged files cannot be removed", extra={"file": name, "reason": str(error)}
                )
            self._is_unremoved_told = True
            return False
        del self._settled[name]
        return True

    def _place(self, beneath: str, file: ImageFile | LargeImage) -> Path:
        return self._folder / beneath / f"{file.digest.hex()}{Path(file.name).suffix.lower()}"


def _context_name(image: str) -> str:
    return Path(image).with_suffix(CONTEXT_SUFFIX).name


def _remove_context(path: Path) -> None:
    """Remove the context file beside an image, if there is one, or say why it cannot be."""
    if path.suffix == TRIGGER_SUFFIX:
        return
    context = path.with_suffix(CONTEXT_SUFFIX)
    try:
        context.unlink(missing_ok=True)
    except OSError as error:
        logger.warning(
            "context not removed", extra={"file": context.name, "reason": error.strerror}
        )


def read_image_file(path: Path) -> ImageFile:
    """Return a file.

    Raises:
        InputRefused: It is too large, or no plain file.
        OSError: It cannot be read.
    """
    file = image_in_folder(path)
    if isinstance(file, LargeImage):
        raise InputRefused(f"{path} has {file.size} bytes; at most {IMAGE_SIZE_MAX} are read")
    return file


def image_in_folder(path: Path) -> ImageFile | LargeImage:
    """Return a file of a folder that others write to.

    Raises:
        InputRefused: It is no plain file.
        OSError: It cannot be read.
    """
    with open_plain(path) as file:
        content = file.read(IMAGE_SIZE_MAX + 1)
        if len(content) <= IMAGE_SIZE_MAX:
            return ImageFile(path.name, content)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").digest()
        return LargeImage(path.name, file.tell(), digest)


def open_plain(path: Path) -> io.BufferedReader:
    """Open a file of a folder that others write to, for reading; it never waits.

    Raises:
        InputRefused: It is no plain file.
        OSError: It cannot be opened, or is a symbolic link.
    """
    # Not through a link: somebody who may write into the folder shall not have other files judged.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    file = open(descriptor, "rb")  # noqa: PTH123, SIM115  # of a descriptor; its caller closes it
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise InputRefused(f"{path} is no plain file; hand in the image itself")
    return file


def referenced_image(record: SourceRecord, field: str, folder: Path) -> Path:
    """Return the file that a vision system's result names.

    Args:
        record: What the source told, as JSON.
        field: Where in it the file's name stands, such as "ResultContent/0/ImageFile".
        folder: Where the vision system puts its images; the file lies directly in it.

    Raises:
        InputRefused: The record has no such field, or it names no file of that folder, or one of
            another ending than images have.
    """
    try:
        value: JsonValue = load(record.content, size_max=_RECORD_SIZE_MAX)
    except MalformedError as error:
        raise InputRefused(f"{record.kind} {record.record} is no JSON: {error}") from error
    for part in field.split("/"):
        value = _member(value, part)
    if not isinstance(value, str) or not value:
        raise InputRefused(
            f"{record.kind} {record.record} names no file in {field}; see which field has it"
        )
    # Some systems tell their own path to the file; what lies here has the same name.
    name = value.replace("\\", "/").rpartition("/")[2]
    if name in ("", ".", "..") or "\0" in name:
        raise InputRefused(f"{record.kind} {record.record} names {value[:80]!a}, which is no file")
    if not name.lower().endswith(SUFFIXES):
        raise InputRefused(
            f"{record.kind} {record.record} names {value[:80]!a}, which is no image that is judged:"
            f" let the vision system write {', '.join(SUFFIXES)}"
        )
    return folder / name


def _member(value: JsonValue, part: str) -> JsonValue:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        item: JsonValue = value[int(part)]
        return item
    return None
