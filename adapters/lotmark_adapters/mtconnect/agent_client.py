"""Calls to an agent over HTTP, each with a deadline and a bound on what it may answer."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx

from lotmark_adapters.errors import SourceRefused, SourceUnavailable, UnreadableDocument
from lotmark_adapters.mtconnect.documents import NO_UNITS, Streams, read_streams
from lotmark_adapters.mtconnect.multipart import MultipartReader
from lotmark_adapters.mtconnect.settings import MtconnectSettings

CONNECT_S = 5.0
ANSWER_S = 10.0  # a whole document must be here by then
HEARTBEATS_MISSED_MAX = 2
STREAM_CONTENT_TYPE = "multipart/x-mixed-replace"
PARSED_AT_ONCE_SIZE_MAX = 64 << 10  # takes some ms; a larger document is parsed beside the loop

_Parsed = TypeVar("_Parsed")


class AgentClient:
    """One agent's requests; an async context manager.

    Attributes:
        place: The agent's address, for messages.
        units: UCUM codes by data item id, for the observations that are read from now on.
    """

    def __init__(self, settings: MtconnectSettings) -> None:
        """Prepare; nothing is opened yet.

        Raises:
            SourceRefused: The file of certificates cannot be used.
        """
        self.place = settings.address
        self.units: Mapping[str, str] = NO_UNITS
        self._settings = settings
        self._parser = ThreadPoolExecutor(1, thread_name_prefix="mtconnect-parser")
        self._http = httpx.AsyncClient(
            verify=_trust(settings),
            trust_env=False,  # neither proxies nor passwords of whoever starts the process
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=CONNECT_S, pool=CONNECT_S),  # asyncio.timeout rules
            # A compressed answer could grow without bound before its size is seen.
            headers={"Accept": "text/xml, application/xml", "Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._parser.shutdown(wait=False, cancel_futures=True)
        await self._http.aclose()

    async def parsed(self, parse: Callable[[bytes], _Parsed], raw: bytes) -> _Parsed:
        """Return what `parse` makes of a document, and let other sources go on meanwhile."""
        if len(raw) <= PARSED_AT_ONCE_SIZE_MAX:
            return parse(raw)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._parser, parse, raw)

    async def probe(self) -> bytes:
        """Return the document that describes the devices, of any content yet."""
        return await self._document(f"{self.place}/probe")

    async def current(self) -> Streams:
        """Return the newest observation of each data item.

        Raises:
            SourceUnavailable: The agent does not answer in time, or not with such a document.
        """
        return await self._streams(f"{self.place}/current")

    async def sample(self, since: int | None, *, count: int) -> Streams:
        """Return at most `count` observations from a number on; None: from the oldest on.

        Raises:
            RequestRefused: The agent has no observations of that number.
            SourceUnavailable: The agent does not answer in time, or not with such a document.
        """
        start = "" if since is None else f"from={since}&"
        return await self._streams(f"{self.place}/sample?{start}count={count}")

    async def assets(self, ids: Sequence[str]) -> bytes:
        """Return the document of the assets with these ids, or of all for none."""
        if not ids:
            return await self._document(f"{self._settings.agent}/assets")
        named = ";".join(quote(each, safe="") for each in ids)
        return await self._document(f"{self._settings.agent}/assets/{named}")

    async def stream(self, since: int, *, count: int) -> AsyncGenerator[Streams, None]:
        """Yield documents from a number on as the agent sends them, until it ends that.

        Raises:
            RequestRefused: The agent has no observations of that number any more.
            SourceUnavailable: It does not stream, or two heartbeats have passed without a document.
        """
        settings = self._settings
        silence_max_s = HEARTBEATS_MISSED_MAX * settings.heartbeat_ms / 1_000
        url = (
            f"{self.place}/sample?from={since}&count={count}"
            f"&interval={settings.interval_ms}&heartbeat={settings.heartbeat_ms}"
        )
        async with self._answer(url, ANSWER_S) as response:
            if not response.headers.get("content-type", "").startswith(STREAM_CONTENT_TYPE):
                # An error document, or the agent does not stream.
                async with _deadline(url, ANSWER_S):
                    raw = await self._body(response, url)
                await self._read(raw, url)
                raise SourceUnavailable(f"{url}: the agent answers at once, it does not stream")
            reader = MultipartReader(settings.document_size_max, url)
            async with aclosing(_chunks(response)) as chunks:
                while True:
                    async with _deadline(url, silence_max_s):
                        documents = await _next_documents(chunks, reader)
                    if not documents:
                        return
                    for raw in documents:
                        yield await self._read(raw, url)

    async def _streams(self, url: str) -> Streams:
        return await self._read(await self._document(url), url)

    async def _read(self, raw: bytes, url: str) -> Streams:
        return await self.parsed(partial(read_streams, place=url, units=self.units), raw)

    async def _document(self, url: str) -> bytes:
        async with _deadline(url, ANSWER_S), self._answer(url, ANSWER_S) as response:
            return await self._body(response, url)

    @asynccontextmanager
    async def _answer(self, url: str, deadline_s: float) -> AsyncIterator[httpx.Response]:
        """Give the head of an answer; what goes wrong until its end becomes our error."""
        request = self._http.build_request("GET", url)
        response = None
        try:
            async with _deadline(url, deadline_s):
                response = await self._http.send(request, stream=True)
            if response.is_redirect or "content-encoding" in response.headers:
                raise UnreadableDocument(
                    f"{url}: HTTP status {response.status_code} with a redirection or compression"
                    " that was not asked for; name the agent itself"
                )
            yield response
        except httpx.RemoteProtocolError as error:
            raise UnreadableDocument(f"{url}: the answer ends too early: {error}") from error
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise SourceRefused(
                    f"{url}: {error}; name the certificates of whoever issued the agent's in the"
                    " option ca"
                ) from error
            raise SourceUnavailable(f"{url}: {type(error).__name__}: {error}") from error
        finally:
            if response is not None:
                await response.aclose()

    async def _body(self, response: httpx.Response, url: str) -> bytes:
        """Return a document, whatever the status: MTConnect tells errors in documents."""
        size_max = self._settings.document_size_max
        raw = bytearray()
        async with aclosing(_chunks(response)) as chunks:
            async for chunk in chunks:
                raw += chunk
                if len(raw) > size_max:
                    raise UnreadableDocument(
                        f"{url}: a document of over {size_max} bytes; raise document_size_max, or"
                        " lower count"
                    )
        return bytes(raw)


async def _chunks(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    async for chunk in response.aiter_raw():
        yield chunk


async def _next_documents(chunks: AsyncIterator[bytes], reader: MultipartReader) -> list[bytes]:
    """Return the documents that come next, none at the stream's end."""
    async for chunk in chunks:
        if documents := list(reader.feed(chunk)):
            return documents
    return []


@asynccontextmanager
async def _deadline(url: str, deadline_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(deadline_s):
            yield
    except TimeoutError as error:
        raise SourceUnavailable(f"{url}: no whole document within {deadline_s:g} s") from error


def _trust(settings: MtconnectSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca)
    except (OSError, ssl.SSLError) as error:
        raise SourceRefused(f"ca {settings.ca}: {error}; name certificates in PEM") from error
