"""Relays between voters that hold up what one says to another, as a broken network does.

A partition in one direction needs no privileges this way: bytes of that direction wait in the
relay, those of the other go on, and neither side's connection is closed. Connections that are made
meanwhile get as far. Held bytes arrive once the relay lets them, as TCP would send them again.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

PIECE_SIZE = 65_536
WAIT_S = 20.0

T = TypeVar("T")


class Relays:
    """All relays of one network, on an event loop of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays", daemon=True)
        self._thread.start()
        # By who says something and who hears it; set: it is let through.
        self._gates: defaultdict[tuple[str, str], asyncio.Event] = defaultdict(_open_gate)
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, caller: str, called: str, address: str) -> str:
        """Return the address under which one voter calls another one, through a new relay."""
        host, port = address.rsplit(":", 1)

        async def begin() -> str:
            async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    others_reader, others_writer = await asyncio.open_connection(host, int(port))
                except OSError:
                    writer.close()  # nobody listens there now
                    return
                self._begin(_pump(reader, others_writer, self._gates[caller, called]))
                self._begin(_pump(others_reader, writer, self._gates[called, caller]))

            server = await asyncio.start_server(relay, "127.0.0.1", 0)
            self._servers.append(server)
            return "{}:{}".format(*server.sockets[0].getsockname())

        return self._run(begin())

    def stall(self, *directions: tuple[str, str]) -> None:
        """Hold up what the first of each pair says to the second."""

        async def close() -> None:
            for direction in directions:
                self._gates[direction].clear()

        self._run(close())

    def heal(self) -> None:
        """Let everything through."""

        async def open_all() -> None:
            for gate in self._gates.values():
                gate.set()

        self._run(open_all())

    def close(self) -> None:
        """Cut every connection and take no more."""

        async def end() -> None:
            for server in self._servers:
                server.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

        self._run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event
) -> None:
    """Hand on what comes, its end too, whenever the gate is open."""
    try:
        with suppress(OSError):  # one side has hung up
            while piece := await reader.read(PIECE_SIZE):
                await gate.wait()
                writer.write(piece)
                await writer.drain()
        await gate.wait()
    finally:
        writer.close()


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate
