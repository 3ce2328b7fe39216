"""Images that somebody pushes: `POST /images/NAME` puts a file into a station's folder.

The folder is the queue, so what was taken, with 202, is on disk and outlives a kill. Beside
`NAME.png` its context may be pushed first, as `NAME.json`. Whoever pushes to other than loopback
needs the station's key.
"""

import hmac
import logging
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path

from lotmark_consensus.disk import replace_file
from lotmark_inference.errors import InputRefused
from lotmark_inference.image_reading import IMAGE_SIZE_MAX
from lotmark_node.edge.image_file import SUFFIXES, read_image_file
from lotmark_node.edge.image_folder import CONTEXT_SUFFIX
from lotmark_node.edge.station_run import CONTEXT_SIZE_MAX
from lotmark_node.edge.station_settings import StationSettings
from lotmark_node.monitoring.bounded_http import BoundedHandler, BoundedHttpServer

WAITING_MAX = 256  # images in the folder, and as many contexts
PUSH_S = 30.0  # for an image to come
UNREAD_SIZE_MAX = 1 << 20  # that is read of what was refused, so that the answer arrives

_FULL = f"{WAITING_MAX} wait; push it again later"
_PATH = "/images/"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LENGTH = re.compile(r"[0-9]{1,18}")

logger = logging.getLogger(__name__)


@contextmanager
def listening(settings: StationSettings) -> Iterator[str | None]:
    """Take pushed images for a station, and give the address; None: its settings name none.

    Raises:
        OSError: The address cannot be used.
    """
    if settings.images_listen is None:
        yield None
        return
    listener = ImageListener(settings.images_listen, settings.images, settings.images_key)
    try:
        yield listener.address
    finally:
        listener.stop()


class ImageInbox:
    """Puts whole images into the folder that a station watches; any thread may call it."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is made with the first image."""
        self._folder = folder
        self._lock = threading.Lock()

    def has_room(self, name: str) -> bool:
        """Return whether fewer images wait than may; of a context's name, whether fewer contexts.

        Raises:
            OSError: The folder cannot be read.
        """
        is_context = name.endswith(CONTEXT_SUFFIX)
        try:
            with os.scandir(self._folder) as entries:
                count = sum(
                    each.name.endswith(CONTEXT_SUFFIX)
                    if is_context
                    else each.name.lower().endswith(SUFFIXES)
                    for each in entries
                )
        except FileNotFoundError:
            return True
        return count < WAITING_MAX

    def put(self, name: str, content: bytes) -> None:
        """Put an image or context there, on disk when this returns; the same twice is there once.

        Raises:
            FileExistsError: Another one of this name waits.
            BlockingIOError: As many wait as may.
            OSError: It cannot be written.
        """
        path = self._folder / name
        with self._lock:
            with suppress(FileNotFoundError):
                if _is_content(path, content):
                    return
                raise FileExistsError(f"another {name} waits to be judged; give each its own name")
            if not self.has_room(name):
                raise BlockingIOError(_FULL)
            replace_file(path, content)


def _is_content(path: Path, content: bytes) -> bool:
    """Return whether a file has this content; what is no plain file has none.

    Raises:
        OSError: It cannot be read.
    """
    try:
        return read_image_file(path).content == content
    except InputRefused:
        return False


class ImageListener(BoundedHttpServer):
    """Takes images from its making to its stop."""

    def __init__(self, address: str, folder: Path, key: bytes) -> None:
        """Listen at an address; port 0 takes a free one.

        Args:
            address: host:port.
            folder: That the station watches.
            key: Which whoever pushes must show; b"": nobody need.

        Raises:
            OSError: The address cannot be used.
        """
        self.inbox, self.key = ImageInbox(folder), key
        super().__init__(address, _Handler, setting="images_listen")


class _Handler(BoundedHandler):
    server: ImageListener
    request_size_max = IMAGE_SIZE_MAX + (16 << 10)
    request_s = PUSH_S

    def do_POST(self) -> None:  # noqa: N802  # the library's name
        """Take one image, or say why not."""
        size = self._size()
        if size is None:
            return
        name = self.path.removeprefix(_PATH)
        content = self.rfile.read(size)
        if len(content) != size:
            return  # cut off: nobody waits for an answer
        try:
            self.server.inbox.put(name, content)
        except BlockingIOError as error:
            self.answer(HTTPStatus.TOO_MANY_REQUESTS, _line(error))
        except FileExistsError as error:
            self.answer(HTTPStatus.CONFLICT, _line(error))
        except OSError as error:
            logger.error("pushed image not kept", extra={"image": name, "reason": str(error)})
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "it cannot be kept; push it again later")
        else:
            self.answer(HTTPStatus.ACCEPTED, b"taken\n")

    def _size(self) -> int | None:
        """Return the body's size, or None after an answer that says why it is not read."""
        lengths = self.headers.get_all("Content-Length", [])
        name = self.path.removeprefix(_PATH)
        is_context = name.endswith(CONTEXT_SUFFIX)
        most = CONTEXT_SIZE_MAX if is_context else IMAGE_SIZE_MAX
        if not self._has_key():
            self._refuse(HTTPStatus.UNAUTHORIZED, "give the key: Authorization: Bearer KEY")
        elif not self.path.startswith(_PATH) or not _NAME.fullmatch(name):
            self._refuse(
                HTTPStatus.NOT_FOUND,
                f"POST to {_PATH}NAME; a name has at most 128 letters, digits and ._-",
            )
        elif not is_context and not name.lower().endswith(SUFFIXES):
            self._refuse(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"NAME ends with one of {', '.join((*SUFFIXES, CONTEXT_SUFFIX))}",
            )
        elif "Transfer-Encoding" in self.headers or len(lengths) != 1:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "give one Content-Length")
        elif not _LENGTH.fullmatch(lengths[0]):
            self._refuse(HTTPStatus.BAD_REQUEST, "Content-Length is no number of bytes")
        elif int(lengths[0]) > most:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {most} bytes are taken")
        elif not self._has_room(name):
            self._refuse(HTTPStatus.TOO_MANY_REQUESTS, _FULL)
        else:
            return int(lengths[0])
        return None

    def _has_room(self, name: str) -> bool:
        with suppress(OSError):  # which is told once the image is to be put there
            return self.server.inbox.has_room(name)
        return True

    def _has_key(self) -> bool:
        if not self.server.key:
            return True
        shown = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(shown.encode(), self.server.key)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        """Answer, and read a bounded rest: a socket closed over unread bytes loses the answer."""
        self.answer(status, f"{reason}\n".encode())
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            left = UNREAD_SIZE_MAX
            while left > 0 and (piece := self.rfile.read1(min(left, 65_536))):
                left -= len(piece)


def _line(error: OSError) -> bytes:
    return f"{error}\n".encode()
