"""Where images come from: a folder that a camera writes to, or a vision system's result.

Whatever the source, what is handed on is the file as it came, whole and bounded in size; nothing
here decodes it.
"""

import hashlib
import logging
import os
import stat
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
FOLDER_FILES_MAX = 10_000  # looked at in one poll
TRIGGER_SUFFIX = ".trigger"
TRIGGER_FILES_MAX = 64  # taken in one poll
JUDGED, REFUSED = "judged", "refused"  # folders beneath the watched one

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


class ImageFolder:
    """A folder that a camera writes to.

    A file is taken once it looks the same in two polls in a row: a camera that is still writing
    makes it grow. A camera that pauses longer than that between two writes must write elsewhere
    and move the file here. What was judged is kept beneath `judged`, named by its own digest, for
    whoever runs it again; what cannot be judged goes beneath `refused`.
    """

    def __init__(self, folder: Path) -> None:
        """Watch a folder; nothing is read yet."""
        self._folder = folder
        self._looks: dict[str, _Look] = {}

    def poll(self) -> list[Path]:
        """Return the images that are there whole, oldest first.

        Raises:
            OSError: The folder cannot be read.
        """
        looks = self._looked()
        ready = [name for name, look in looks.items() if self._looks.get(name) == look]
        self._looks = looks
        ready.sort(key=lambda name: (looks[name].modified_ns, name))
        return [self._folder / name for name in ready]

    def _looked(self) -> dict[str, _Look]:
        looks: dict[str, _Look] = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.name.lower().endswith(SUFFIXES):
                    continue
                if len(looks) == FOLDER_FILES_MAX:
                    logger.warning("too many images wait", extra={"folder": str(self._folder)})
                    break
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # its camera took it away again
                if stat.S_ISREG(status.st_mode):
                    looks[entry.name] = _look_of(status)
        return looks

    def triggers(self) -> list[Path]:
        """Return the files that say that something happened at the line, oldest first.

        Such a file is named by the trigger, `tool_change.trigger`; what is in it does not matter.
        Whoever has acted on one removes it.

        Raises:
            OSError: The folder cannot be read.
        """
        found: list[tuple[int, str]] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(TRIGGER_SUFFIX) and len(found) < TRIGGER_FILES_MAX:
                    try:
                        modified_ns = entry.stat(follow_symlinks=False).st_mtime_ns
                    except FileNotFoundError:
                        continue
                    found.append((modified_ns, entry.name))
        return [self._folder / name for _, name in sorted(found)]

    def keep(self, file: ImageFile, *, was_judged: bool) -> Path:
        """Write an image under its digest, on disk when this returns, and return where.

        What is written is what was read: the camera may have written another file by now.

        Raises:
            OSError: It cannot be written.
        """
        place = self._place(JUDGED if was_judged else REFUSED, file)
        replace_file(place, file.content)
        return place

    def remove(self, path: Path) -> None:
        """Take an image that was kept out of the folder, unless it is another one by now.

        Raises:
            OSError: It cannot be removed.
        """
        if self._is_as_seen(path):
            path.unlink(missing_ok=True)

    def refused_place(self, file: LargeImage) -> Path:
        """Return where a file that is too large goes."""
        return self._place(REFUSED, file)

    def set_aside(self, path: Path, file: LargeImage) -> None:
        """Move a file that is too large out of the way, unless it is another one by now.

        Raises:
            OSError: It cannot be moved.
        """
        place = self.refused_place(file)
        make_folder(place.parent)
        if self._is_as_seen(path):
            path.replace(place)
            sync_folder(place.parent)

    def _place(self, beneath: str, file: ImageFile | LargeImage) -> Path:
        return self._folder / beneath / f"{file.digest.hex()}{Path(file.name).suffix.lower()}"

    def _is_as_seen(self, path: Path) -> bool:
        """Return whether a file is there as the last poll saw it, and forget how that was."""
        look = self._looks.pop(path.name, None)
        try:
            return look == _look_of(path.lstat())
        except FileNotFoundError:
            return False


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
    # Not through a link: somebody who may write into the folder shall not have other files judged.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123  # of a descriptor
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InputRefused(f"{path} is no plain file; hand in the image itself")
        content = file.read(IMAGE_SIZE_MAX + 1)
        if len(content) <= IMAGE_SIZE_MAX:
            return ImageFile(path.name, content)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").digest()
        return LargeImage(path.name, file.tell(), digest)


def referenced_image(record: SourceRecord, field: str, folder: Path) -> Path:
    """Return the file that a vision system's result names.

    Args:
        record: What the source told, as JSON.
        field: Where in it the file's name stands, such as "ResultContent/0/ImageFile".
        folder: Where the vision system puts its images; the file lies directly in it.

    Raises:
        InputRefused: The record has no such field, or it names no file of that folder.
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
    return folder / name


def _member(value: JsonValue, part: str) -> JsonValue:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        item: JsonValue = value[int(part)]
        return item
    return None
