"""A server that nobody knows cannot make the client hold what it sends, whatever it announces."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import uatcp_to_binary

from lotmark_adapters.errors import SourceUnavailable
from lotmark_adapters.opcua.bounded_client import (
    CHUNK_SIZE_MAX,
    UNKNOWN_SERVER_MESSAGE_SIZE_MAX,
)
from lotmark_adapters.opcua.server_certificate import fetch_certificate

SENT_MAX = 256 * 2**20
IN_TRANSIT_MAX = 16 * 2**20  # what sockets and buffers between the two may hold
BLOCK = bytes(CHUNK_SIZE_MAX)


class Flood:
    """A server that sends without end what it was made for."""

    def __init__(self, answers: Callable[[], list[bytes]], chunk: Callable[[int], bytes]) -> None:
        self.sent = 0
        self.chunks = 0
        self.hello = b""
        self.ended = asyncio.Event()
        self._answers, self._chunk = answers, chunk

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hello = await reader.read(1_024)
        try:
            for each in self._answers():
                writer.write(each)
            while self.sent < SENT_MAX:
                self.chunks += 1
                block = self._chunk(self.chunks)
                writer.write(block)
                await writer.drain()
                self.sent += len(block)
        except OSError:
            pass
        finally:
            writer.transport.abort()
            self.ended.set()


@asynccontextmanager
async def flooding(flood: Flood) -> AsyncIterator[str]:
    server = await asyncio.start_server(flood.connected, "127.0.0.1", 0)
    async with server:
        yield f"opc.tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def encoded(told: ua.Acknowledge) -> bytes:
    return uatcp_to_binary(ua.MessageType.Acknowledge, told)  # type: ignore[arg-type]  # bytes


def acknowledgement() -> bytes:
    most = ua.UInt32(2**31 - 1)
    return encoded(
        ua.Acknowledge(
            ReceiveBufferSize=most, SendBufferSize=most, MaxMessageSize=most, MaxChunkCount=most
        )
    )


def endless_chunk(number: int) -> bytes:
    """Return the next part of a message that has no last one, before any channel is open."""
    body = bytes(CHUNK_SIZE_MAX - 24)
    # Type, size, channel, token; then number and request.
    return struct.pack("<4sIIIII", b"MSGC", CHUNK_SIZE_MAX, 0, 0, number, 1) + body


async def told_by(flood: Flood) -> str:
    """Return why the client ends, once the server has noticed that it did."""
    async with flooding(flood) as address:
        with pytest.raises(SourceUnavailable) as refused:
            await fetch_certificate(address)
        await flood.ended.wait()
    return str(refused.value)


@pytest.mark.parametrize("kind", [b"ACKF", b"OPNF", b"MSGF", b"ERRF", b"????"])
def test_a_message_of_two_gigabytes_is_not_waited_for(kind: bytes) -> None:
    async def scenario() -> tuple[str, Flood]:
        flood = Flood(lambda: [struct.pack("<4sI", kind, 2**31 - 1)], lambda _: BLOCK)
        return await told_by(flood), flood

    why, flood = asyncio.run(scenario())

    assert "BadTcpMessageTooLarge" in why
    assert flood.sent < IN_TRANSIT_MAX


def test_a_message_of_endless_chunks_is_not_waited_for() -> None:
    async def scenario() -> tuple[str, Flood]:
        flood = Flood(lambda: [acknowledgement()], endless_chunk)
        return await told_by(flood), flood

    why, flood = asyncio.run(scenario())

    assert "BadRequestTooLarge" in why
    assert flood.sent < IN_TRANSIT_MAX


def test_endless_chunks_of_nothing_are_not_counted_on_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def empty(number: int) -> bytes:
        return struct.pack("<4sIIIII", b"MSGC", 24, 0, 0, number, 1)

    asyncio.run(told_by(Flood(lambda: [acknowledgement()], empty)))

    assert "Number of message chunks: 129 is > configured max chunk count: 128" in caplog.messages


def test_the_client_says_what_it_takes() -> None:
    async def scenario() -> bytes:
        flood = Flood(lambda: [struct.pack("<4sI", b"ACKF", 2**31 - 1)], lambda _: BLOCK)
        await told_by(flood)
        return flood.hello

    hello = asyncio.run(scenario())

    version, receives, sends, message, chunks = struct.unpack_from("<5I", hello, 8)
    assert (version, receives, sends) == (0, CHUNK_SIZE_MAX, CHUNK_SIZE_MAX)
    assert message == UNKNOWN_SERVER_MESSAGE_SIZE_MAX
    assert chunks == 128


def test_a_server_that_takes_next_to_nothing_is_not_sent_a_byte_at_a_time() -> None:
    async def scenario() -> str:
        least = ua.Acknowledge(ReceiveBufferSize=ua.UInt32(25), SendBufferSize=ua.UInt32(25))
        flood = Flood(lambda: [encoded(least)], lambda _: BLOCK)
        return await told_by(flood)

    assert "ConnectionError" in asyncio.run(scenario())
