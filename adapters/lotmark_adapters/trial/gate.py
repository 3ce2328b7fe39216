"""A TCP gate before a server: shuts, stalls and cuts connections on command.

The gate keeps its port while the server behind it is started anew, so that nobody else gets it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

CHUNK_SIZE = 65_536


class Gate:
    """Passes connections on to a port of this machine."""

    def __init__(self, server_port: Callable[[], int]) -> None:
        """Make it; nothing is listened to yet.

        Args:
            server_port: Where the server listens now.
        """
        self._server_port = server_port
        self._passes = asyncio.Event()
        self._passes.set()
        self._is_open = True
        self._writers = set[asyncio.StreamWriter]()
        self._tasks = set[asyncio.Task[None]]()

    async def __aenter__(self) -> "Gate":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        self._passes.set()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def stall(self) -> None:
        """Pass nothing on, in any direction, until `go_on`; connections stay."""
        self._passes.clear()

    def go_on(self) -> None:
        """Pass on what has waited, and what comes."""
        self._passes.set()

    def shut(self) -> None:
        """End all connections, and each new one, until `open`."""
        self._is_open = False
        self.cut()

    def open(self) -> None:
        """Let connections in again."""
        self._is_open = True

    def cut(self) -> None:
        """End all connections without a word."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._pass_all(reader, writer)
        finally:
            self._tasks.discard(task)

    async def _pass_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_open:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server_port())
        except OSError:  # it is being started
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        try:
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        finally:
            self._writers -= pair

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_SIZE):
                await self._passes.wait()
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()
