"""The parts of a `multipart/x-mixed-replace` stream, taken out of its bytes as they come."""

import re
from collections.abc import Iterator

from lotmark_adapters.errors import UnreadableDocument

HEAD_SIZE_MAX = 4_096  # of a part: boundary and header lines

_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*([0-9]{1,10})[ \t]*\r?$", re.I | re.M)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


class MultipartReader:
    """Takes bytes and gives the bodies of the parts that are whole.

    A part must tell its length, as agents do: so the boundary is never searched in a document, and
    what is kept is bounded before it comes.
    """

    def __init__(self, document_size_max: int, place: str) -> None:
        self._document_size_max = document_size_max
        self._place = place
        self._kept = bytearray()
        self._length: int | None = None  # of the body that comes; None: a head comes

    def feed(self, raw: bytes) -> Iterator[bytes]:
        """Yield the body of each part that these bytes end.

        Raises:
            UnreadableDocument: A part tells no length or too large a one, or its head does not end.
        """
        self._kept += raw
        while (body := self._next_body()) is not None:
            yield body

    def _next_body(self) -> bytes | None:
        if self._length is None and not self._take_head():
            return None
        assert self._length is not None, "a head was taken"
        if len(self._kept) < self._length:
            return None
        body = bytes(self._kept[: self._length])
        del self._kept[: self._length]
        self._length = None
        return body

    def _take_head(self) -> bool:
        """Take the head of the next part, if it is all there."""
        # A body's own line end; and all others, of which a stream may have any number.
        del self._kept[: len(self._kept) - len(self._kept.lstrip(b"\r\n"))]
        end = _BLANK_LINE.search(self._kept, 0, HEAD_SIZE_MAX)
        if end is None:
            if len(self._kept) >= HEAD_SIZE_MAX:
                raise UnreadableDocument(
                    f"{self._place}: a part's head has over {HEAD_SIZE_MAX} bytes"
                )
            return False
        head = bytes(self._kept[: end.start()])
        length = _LENGTH.search(head)
        if not head.startswith(b"--") or length is None:
            raise UnreadableDocument(f"{self._place}: a part tells no Content-length")
        self._length = int(length[1])
        if self._length > self._document_size_max:
            raise UnreadableDocument(
                f"{self._place}: a document of {self._length} bytes; document_size_max allows"
                f" {self._document_size_max}"
            )
        del self._kept[: end.end()]
        return True
