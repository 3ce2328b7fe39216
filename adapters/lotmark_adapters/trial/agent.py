"""An MTConnect agent: a real HTTP server with a ring buffer that fails as agents do, on command."""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from lotmark_adapters.trial.agent_documents import (
    DEVICES,
    DataItem,
    Extent,
    Kept,
    Spoilt,
    assets_document,
    devices_document,
    entries,
    error_document,
    observation_element,
    read_data_items,
    spoil,
    streams_document,
    with_asset_items,
)

COUNT_DEFAULT = 100
HEARTBEAT_DEFAULT_MS = 10_000
BOUNDARY = "trial-part"


class Agent:
    """One agent; an async context manager that listens on a free port of this machine.

    Attributes:
        address: Where it listens.
        requests: Paths that were asked for, with their queries.
    """

    def __init__(
        self,
        *,
        devices: bytes = DEVICES,
        buffer_size: int = 4_096,
        version: str = "2.7",
        error_status: int = 400,
        streams: bool = True,
        count_max: int | None = None,
        oversize: int = 100_000_000,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Describe an agent; nothing is opened yet.

        Args:
            devices: The device model, a document of MTConnectDevices.
            buffer_size: How many observations it keeps.
            version: Of the standard; before 2.6 errors have another form.
            error_status: HTTP status of an error document; agents differ in it.
            streams: Whether it knows multipart streams.
            count_max: The most observations that may be asked for; None: any number.
            oversize: Bytes of a document that is spoilt by its size.
            tls: What it shows; None: it speaks HTTP.
        """
        self.address = ""
        self.requests: list[str] = []
        self._devices = with_asset_items(devices)
        self._items = read_data_items(self._devices)
        self._by_name = {each.name: each for each in self._items} | {
            each.id: each for each in self._items
        }
        self._size, self._version = buffer_size, version
        self._error_status, self._streams = error_status, streams
        self._count_max = count_max
        self._oversize, self._tls = oversize, tls
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._moving, self._news = asyncio.Event(), asyncio.Event()
        self._moving.set()
        self._spoilt: tuple[Spoilt, int] | None = None
        self._poison: dict[tuple[str, int], Spoilt] = {}
        self._starts: list[str] = []
        self._produced: dict[str, int] = {}
        self._assets: dict[str, bytes] = {}
        self._instance = time.time_ns() // 1_000_000
        self._begin()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None, "it was entered"
        self._server.close()
        self.cut()
        self.go_on()
        self._news.set()
        await asyncio.gather(*self._calls)
        await self._server.wait_closed()

    @property
    def instance(self) -> str:
        """The present start: its id, and ``ID/2`` for a second one under the same id."""
        return self._starts[-1]

    @property
    def next_sequence(self) -> int:
        """The number of the observation that comes next."""
        return self._extent.next

    @property
    def assets(self) -> list[str]:
        """The ids of the assets that it has."""
        return list(self._assets)

    def has_item(self, name: str) -> bool:
        """Return whether a data item has this name or id."""
        return name in self._by_name

    def item(self, name: str) -> DataItem:
        """Return a data item by name or id."""
        return self._by_name[name]

    @property
    def first_sequence(self) -> int:
        """The number of the oldest observation that it still has."""
        return self._extent.first

    def produced(self) -> Iterator[tuple[str, int]]:
        """Yield the instance and sequence of each observation that was ever made."""
        for instance in self._starts:
            for sequence in range(1, self._produced[instance] + 1):
                yield instance, sequence

    def observe(self, name: str, value: str, *, timestamp: str = "", **attributes: str) -> int:
        """Make an observation of a data item; return its sequence."""
        return self._add(name, escape(value), timestamp, attributes)

    def observe_entries(
        self, name: str, members: Mapping[str, str | None], *, timestamp: str = ""
    ) -> int:
        """Make an observation of a data set; None: the entry was removed."""
        return self._add(name, entries(members), timestamp, {"count": str(len(members))})

    def put_asset(self, asset: str, kind: str, content: bytes, *, timestamp: str = "") -> int:
        """Keep an asset and tell that it changed; return the sequence of that."""
        self._assets[asset] = content
        name = self._item_of("AssetChanged")
        return self._add(name, escape(asset), timestamp, {"assetType": kind})

    def remove_asset(self, asset: str, *, timestamp: str = "") -> int:
        """Forget an asset and tell so; return the sequence of that."""
        self._assets.pop(asset, None)
        name = self._item_of("AssetRemoved")
        return self._add(name, escape(asset), timestamp, {"assetType": "CuttingTool"})

    def burst(self, count: int, name: str = "z_position") -> None:
        """Make many observations before anybody can read them."""
        for number in range(count):
            self.observe(name, f"{number}.5")

    def restart(self, *, keeps_id: bool = False) -> None:
        """Forget the buffer and number from 1 again, on the same port; calls are cut.

        Args:
            keeps_id: Come back under the same instance id, as an agent with a fixed one does.
        """
        self.cut()
        if not keeps_id:
            self._instance += 1
        self._begin()

    def stall(self) -> None:
        """Answer nothing until `go_on`; connections stay open."""
        self._moving.clear()

    def go_on(self) -> None:
        """Answer again."""
        self._moving.set()

    def cut(self) -> None:
        """End all connections at once, whatever is on its way."""
        for writer in self._writers:
            writer.transport.abort()

    def spoil_next(self, kind: Spoilt, documents: int = 1) -> None:
        """Spoil the documents of streams that come next."""
        self._spoilt = (kind, documents)

    def poison(self, sequence: int, kind: Spoilt = Spoilt.MALFORMED) -> None:
        """Spoil each document that holds an observation of the present start, made or to come."""
        self._poison[self.instance, sequence] = kind

    def answer(self, since: int | None, count: int, device: str = "") -> tuple[bytes, int]:
        """Return the document of a sample and the number to go on with."""
        extent = self._extent
        start = extent.first if since is None else since
        behind = islice(self._buffer, start - extent.first, None)
        kept = list(islice(self._of(device, behind), count))
        next_sequence = kept[-1].sequence + 1 if len(kept) == count else extent.next
        return self._document(kept, next_sequence), next_sequence

    @staticmethod
    def _of(device: str, kept: Iterable[Kept]) -> Iterator[Kept]:
        return (each for each in kept if device in ("", each.item.device))

    def _item_of(self, element: str) -> str:
        return next(each.id for each in self._items if each.element == element)

    def _begin(self) -> None:
        name = str(self._instance)
        runs = sum(each.partition("/")[0] == name for each in self._starts)
        self._starts.append(name if not runs else f"{name}/{runs + 1}")
        self._produced[self.instance] = 0
        self._buffer: deque[Kept] = deque(maxlen=self._size)
        self._newest: dict[str, Kept] = {}
        for item in self._items:  # as agents do: nothing is known yet
            if item.category == "CONDITION":
                self._add(item.id, "", "", {"level": "Unavailable"})
            else:
                self._add(item.id, "UNAVAILABLE", "", {})

    @property
    def _extent(self) -> Extent:
        following = self._produced[self.instance] + 1
        first = self._buffer[0].sequence if self._buffer else following
        return Extent(self._instance, self._version, self._size, first, following)

    def _add(self, name: str, content: str, timestamp: str, attributes: Mapping[str, str]) -> int:
        item = self._by_name[name]
        sequence = self._produced[self.instance] + 1
        timestamp = timestamp or datetime.now(UTC).isoformat().replace("+00:00", "Z")
        element = observation_element(item, sequence, timestamp, content, attributes)
        kept = Kept(sequence, item, element)
        self._buffer.append(kept)
        self._newest[item.id] = kept
        self._produced[self.instance] = sequence
        self._news.set()
        return sequence

    def _document(self, kept: list[Kept], next_sequence: int) -> bytes:
        document = streams_document(self._extent, kept, next_sequence)
        poison = (self._poison.get((self.instance, each.sequence)) for each in kept)
        kind = next((each for each in poison if each is not None), None) if self._poison else None
        if kind is None and self._spoilt is not None:
            kind, left = self._spoilt
            self._spoilt = (kind, left - 1) if left > 1 else None
        return document if kind is None else spoil(document, kind, self._oversize)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.current_task()
        assert call is not None, "a server runs this as a task"
        self._calls.add(call)
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                while (await reader.readline()).strip():
                    pass
                target = line.split()[1].decode()
                self.requests.append(target)
                await self._moving.wait()
                await self._answer(target, writer)
        except ConnectionError:
            pass  # whoever asked is gone, or was cut
        finally:
            self._calls.discard(call)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _answer(self, target: str, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        device, _, path = parts.path.strip("/").rpartition("/")
        extent = self._extent
        if device.partition("/")[0] in ("asset", "assets") or path in ("asset", "assets"):
            status, document = self._answer_assets("" if not device else unquote(path))
        elif device and device not in {each.device for each in self._items}:
            status, document = self._error("NO_DEVICE", f"Could not find the device '{device}'")
        elif path == "probe":
            status, document = 200, devices_document(self._devices, extent, device)
        elif path == "current":
            status, document = (
                200,
                self._document(list(self._of(device, self._newest.values())), extent.next),
            )
        elif path == "sample":
            since = int(query["from"]) if "from" in query else None
            count = int(query.get("count", COUNT_DEFAULT))
            if since is not None and not extent.first <= since <= extent.next:
                status, document = self._error(
                    "OUT_OF_RANGE", f"'from' must be at least {extent.first}", str(since)
                )
            elif self._count_max is not None and count > self._count_max:
                limit = f"'count' must be at most {self._count_max}"
                status, document = self._error("OUT_OF_RANGE", limit, str(count))
            elif "interval" in query and self._streams:
                await self._stream(since or extent.first, count, device, query, writer)
                return
            else:
                status, document = 200, self.answer(since, count, device)[0]
        else:
            status, document = self._error("INVALID_URI", f"no such path {parts.path}")
        writer.write(
            f"HTTP/1.1 {status} Trial\r\nContent-Type: text/xml\r\n"
            f"Content-Length: {len(document)}\r\n\r\n".encode()
        )
        writer.write(document)
        await writer.drain()

    def _answer_assets(self, ids: str) -> tuple[int, bytes]:
        wanted = ids.split(";") if ids else list(self._assets)
        if missing := [each for each in wanted if each not in self._assets]:
            return self._error("ASSET_NOT_FOUND", f"cannot find {missing[0]}")
        return 200, assets_document(self._extent, [self._assets[each] for each in wanted])

    def _error(self, code: str, message: str, given: str = "") -> tuple[int, bytes]:
        return self._error_status, error_document(self._extent, code, message, given)

    async def _stream(
        self,
        since: int,
        count: int,
        device: str,
        query: Mapping[str, str],
        writer: asyncio.StreamWriter,
    ) -> None:
        """Send documents until the reader is gone or has fallen behind the buffer."""
        interval_s = int(query["interval"]) / 1_000
        heartbeat_s = int(query.get("heartbeat", HEARTBEAT_DEFAULT_MS)) / 1_000
        writer.write(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
            f"Content-Type: multipart/x-mixed-replace;boundary={BOUNDARY}\r\n\r\n".encode()
        )
        while not writer.transport.is_closing():
            await self._moving.wait()
            extent = self._extent
            if not extent.first <= since <= extent.next:
                fallen = "Client fell too far behind, disconnecting"
                document = error_document(extent, "OUT_OF_RANGE", fallen, str(since))
                writer.write(_chunk(part(document)) + b"0\r\n\r\n")
                await writer.drain()
                return
            document, since = self.answer(since, count, device)
            writer.write(_chunk(part(document)))
            await writer.drain()
            await asyncio.sleep(interval_s)
            if since == self._extent.next:
                self._news.clear()
                with suppress(TimeoutError):  # then an empty document shows that it lives
                    await asyncio.wait_for(self._news.wait(), heartbeat_s)


def part(document: bytes) -> bytes:
    """Return a document as a part of a multipart stream."""
    return (
        f"--{BOUNDARY}\r\nContent-type: text/xml\r\nContent-length: {len(document)}\r\n\r\n"
    ).encode() + document + b"\r\n"  # fmt: skip


def _chunk(raw: bytes) -> bytes:
    return f"{len(raw):x}\r\n".encode() + raw + b"\r\n"
