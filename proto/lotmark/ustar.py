"""The one way snapshots use tar: plain files in a fixed order, each with the one possible header.

Tar leaves much open: owners, times, modes, links, extensions, padding. Here a name and a size make
exactly one header, and a reader accepts nothing else, so equal content has equal bytes and every
tar program can still take the file apart.

Source: POSIX.1-1988 ustar interchange format.
"""

import re
from collections.abc import Iterable
from typing import BinaryIO

from lotmark.errors import MalformedError

RECORD_SIZE = 512
MEMBER_SIZE_MAX = 8**11 - 1  # the size field has eleven octal digits

_NAME_SIZE = 100
_SIZE_FIELD = slice(124, 135)
_CHECKSUM_FIELD = slice(148, 156)
_END_SIZE = 2 * RECORD_SIZE
_SHOWN_MAX = 40  # characters of a field in a message

# Every byte of a header, in the order in which a difference is looked for: the checksum last, as
# it differs whenever anything else does.
_FIELDS = {
    "name": slice(0, 100),
    "mode": slice(100, 108),
    "user": slice(108, 116),
    "group": slice(116, 124),
    "size": slice(124, 136),
    "time": slice(136, 148),
    "type": slice(156, 157),
    "link target": slice(157, 257),
    "magic and version": slice(257, 265),
    "user name": slice(265, 297),
    "group name": slice(297, 329),
    "device numbers": slice(329, 345),
    "prefix": slice(345, 512),
    "checksum": _CHECKSUM_FIELD,
}


class CutOffError(MalformedError):
    """The bytes end before their format does: nothing wrong was seen, but not all was."""


def header(name: str, size: int) -> bytes:
    """Return the header of a plain file: mode 0644, no owner, no time.

    Args:
        name: ASCII, at most 100 characters.
        size: 0 to MEMBER_SIZE_MAX.
    """
    encoded = name.encode("ascii")
    assert len(encoded) <= _NAME_SIZE, f"{name} is longer than {_NAME_SIZE} bytes"
    assert 0 <= size <= MEMBER_SIZE_MAX, f"{size} bytes do not fit a tar header"
    made = bytearray(
        b"".join(
            [
                encoded.ljust(_NAME_SIZE, b"\0"),
                b"0000644\0",  # mode
                b"0000000\0" * 2,  # user and group
                b"%011o\0" % size,
                b"%011o\0" % 0,  # time
                b" " * 8,  # checksum, as it counts itself
                b"0",  # plain file
                bytes(100),  # link target
                b"ustar\x0000",
                bytes(64),  # names of user and group
                b"0000000\0" * 2,  # device
            ]
        ).ljust(RECORD_SIZE, b"\0")
    )
    made[_CHECKSUM_FIELD] = b"%06o\0 " % sum(made)
    return bytes(made)


def file_size(member_sizes: Iterable[int]) -> int:
    """Return the size of a file with members of these sizes."""
    return sum(RECORD_SIZE + size + -size % RECORD_SIZE for size in member_sizes) + _END_SIZE


def _header_difference(found: bytes, expected: bytes) -> str:
    """Say in which field a header is another than the expected one."""
    name, field = next(each for each in _FIELDS.items() if found[each[1]] != expected[each[1]])
    if name == "size":  # what it must be depends on the content: any that is well formed will do
        return f"its size is {_shown(found[field])}, not eleven octal digits"
    return f"its {name} is {_shown(found[field])}, not {_shown(expected[field])}"


def _shown(field: bytes) -> str:
    """Return a header field for a message: without its padding, a run of zero bytes as one."""
    text = re.sub(rb"\0+", b"\0", field.rstrip(b"\0")).decode("latin-1")
    return ascii(text[:_SHOWN_MAX])


class TarWriter:
    """Writes members in the order they are given, without going back."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, name: str, size: int, parts: Iterable[bytes]) -> None:
        """Write one member.

        Args:
            name: Its name.
            size: Its size.
            parts: Its content; together exactly `size` bytes.
        """
        self._out.write(header(name, size))
        written = 0
        for part in parts:
            self._out.write(part)
            written += len(part)
        assert written == size, f"{name} was announced with {size} bytes and has {written}"
        self._out.write(bytes(-size % RECORD_SIZE))

    def finish(self) -> None:
        """Write the end of the archive."""
        self._out.write(bytes(_END_SIZE))


class TarReader:
    """Reads members in the order the caller expects them, without going back."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._at = 0
        self._name = ""
        self._padding_size = 0
        self.remaining = 0  # bytes of the member in hand that are not read yet

    def enter(self, name: str, *, size_max: int = MEMBER_SIZE_MAX) -> None:
        """Begin the next member.

        Raises:
            MalformedError: It is not `name`, has another header than it must, or is too large.
            CutOffError: The file ends here.
        """
        assert not self.remaining, f"{self._name} has {self.remaining} bytes left"
        self._name = name
        found = self._read(RECORD_SIZE)
        digits = found[_SIZE_FIELD]
        size = int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else 0
        if found != header(name, size):
            raise MalformedError(
                f"at byte {self._at - RECORD_SIZE} the header of {name} must stand, as docs/"
                f"protocol.md, section 9 gives it; {_header_difference(found, header(name, size))}"
            )
        if size > size_max:
            raise MalformedError(f"{name} has {size} bytes; at most {size_max} are allowed")
        self.remaining = size
        self._padding_size = -size % RECORD_SIZE

    def read(self, size: int) -> bytes:
        """Return the next bytes of the member in hand.

        Raises:
            MalformedError: The member has fewer left.
            CutOffError: The file ends before.
        """
        if size > self.remaining:
            raise MalformedError(
                f"{self._name} has {self.remaining} bytes left at byte {self._at} of the file,"
                f" where {size} are announced"
            )
        self.remaining -= size
        return self._read(size)

    def leave(self) -> None:
        """End the member in hand.

        Raises:
            MalformedError: It has bytes left, or what pads it is not zero.
            CutOffError: The file ends before.
        """
        if self.remaining:
            raise MalformedError(f"{self._name} has {self.remaining} bytes more than its content")
        if self._read(self._padding_size).strip(b"\0"):
            raise MalformedError(f"the padding after {self._name} is not zero")

    def finish(self) -> None:
        """Check that the archive ends here and nothing follows.

        Raises:
            MalformedError: Something else than the end follows.
            CutOffError: The file ends before.
        """
        if self._read(_END_SIZE).strip(b"\0") or self._source.read(1):
            raise MalformedError(f"after {self._name} the file must end with {_END_SIZE} zeros")

    def _read(self, size: int) -> bytes:
        raw = self._source.read(size)
        while len(raw) < size:
            more = self._source.read(size - len(raw))
            if not more:
                raise CutOffError(
                    f"the file is cut off at byte {self._at + len(raw)}, in {self._name};"
                    " fetch it again"
                )
            raw += more
        self._at += size
        return raw
