"""Reads from a connection so much and so long, and no more, however slowly the other side sends."""

import io
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class BoundedReader(io.RawIOBase):
    """A raw stream with an allowance of bytes and time; not for several threads.

    A socket's own timeout bounds each read, not the sum of many short ones.
    """

    def __init__(self, connection: socket.socket, stream: io.BufferedIOBase) -> None:
        """Take over `stream`, which `connection.makefile` made and nobody has read from."""
        self._connection = connection
        self._raw = stream.detach()
        self._left_size, self._deadline_s = 0, 0.0

    def allow(self, *, size: int, time_s: float) -> None:
        """Allow so many bytes from now on, within so many seconds; what was left before is void."""
        self._left_size, self._deadline_s = size, time.monotonic() + time_s

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        """Read what is there, up to the allowance.

        Raises:
            TimeoutError: The time is over.
            ConnectionAbortedError: The bytes are used up.
        """
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the other side sent too slowly")
        if not self._left_size:
            raise ConnectionAbortedError("the other side sent too much")
        self._connection.settimeout(left_s)
        count = self._raw.readinto(memoryview(buffer)[: self._left_size])
        self._left_size -= count or 0
        return count

    def close(self) -> None:
        """Let go of the connection."""
        self._raw.close()
        super().close()
