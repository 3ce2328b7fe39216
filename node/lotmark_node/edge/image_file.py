"""Image files as their source gave them: whole, bounded in size, not decoded."""

import hashlib
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from lotmark_inference.errors import InputRefused
from lotmark_inference.image_reading import IMAGE_SIZE_MAX

SUFFIXES = (".png", ".pgm", ".bmp")


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
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputRefused(f"{path} is no plain file; hand in the image itself")
    return open(descriptor, "rb")  # noqa: PTH123  # of a descriptor; its caller closes it
