"""The wire of production: one gRPC stream over mTLS in each direction between two voters.

A node dials each peer and sends its frames on that stream only; what the peer says comes on the
stream that the peer dialled. Both streams begin with both sides showing where they stand. Who is
at the other end is what mTLS proved: the dialler expects the peer's certificate, and the service
that hands over incoming streams names the caller by its certificate.
"""

import asyncio
import logging
import random
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
import grpc.aio

from lotmark.v1 import peer_pb2, peer_pb2_grpc
from lotmark_consensus.errors import ConsensusError, PeerRegressed
from lotmark_consensus.raft.codec import FRAME_SIZE_MAX
from lotmark_consensus.raft.peer_memory import Standing
from lotmark_consensus.raft.wire import QUEUED_SIZE_HIGH, QUEUED_SIZE_LOW, WireListener

logger = logging.getLogger(__name__)

REDIAL_MIN_S = 0.1
REDIAL_MAX_S = 1.0
GREETING_MAX_S = 5.0  # for both sides to show where they stand

MESSAGE_SIZE_MAX = FRAME_SIZE_MAX + (1 << 10)
# What a channel given to the wire, and the server that takes its streams, must be made with. A
# peer that vanished is noticed within 3 s although nothing is sent to it; a peer that comes back is
# found within a second; and no other channel shares the connection.
CHANNEL_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_send_message_length", MESSAGE_SIZE_MAX),
    ("grpc.max_receive_message_length", MESSAGE_SIZE_MAX),
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),  # in fact the longest that a handshake may take
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
)
SERVER_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MESSAGE_SIZE_MAX),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
)

Context = grpc.aio.ServicerContext[Any, Any]
_ENDED = (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError, OSError)


class _Link:
    """What waits for one peer. The wire's lock guards all but the event and the task."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.frames: deque[bytes] = deque()
        self.queued_size = 0
        self.is_open = False  # the peer was admitted, and its stream is there
        self.is_held = False  # too much waits
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class GrpcWire:
    """A `Wire` on the node's event loop.

    Args:
        loop: Where its tasks run.
        chain_id: Whose streams it takes.
        dial: Returns a channel to a peer, made with `CHANNEL_OPTIONS`, that accepts nothing but
            this peer's certificate. It is called on the loop; the wire closes the channel.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        chain_id: bytes,
        dial: Callable[[str], grpc.aio.Channel],
    ) -> None:
        self._loop = loop
        self._chain_id = chain_id
        self._dial = dial
        self._listener: WireListener | None = None
        self._jitter = random.Random()  # noqa: S311 - its own: others may count on theirs
        self._incoming: dict[str, asyncio.Task[None]] = {}  # on the loop only
        self._ending: set[asyncio.Task[None]] = set()  # on the loop only
        self._dialled_count = 0  # on the loop only: how often all peers were to be dialled anew
        # Guards all that follows. It is held while the listener hears `up` or `down`, so that it
        # hears them in the order in which they became true.
        self._lock = threading.Lock()
        self._links: dict[str, _Link] = {}
        self._woken = False
        self._stopped = False

    def start(self, listener: WireListener) -> None:
        """As `Wire` promises."""
        self._listener = listener

    def connect(self, peer: str) -> None:
        """As `Wire` promises."""
        with self._lock:
            if self._stopped or peer in self._links:
                return
            link = self._links[peer] = _Link(peer)
        self._loop.call_soon_threadsafe(self._begin, link)

    def disconnect(self, peer: str) -> None:
        """As `Wire` promises."""
        with self._lock:
            link = self._links.pop(peer, None)
        if link is not None:
            self._loop.call_soon_threadsafe(self._end, link)

    def send(self, peer: str, frame: bytes) -> None:
        """As `Wire` promises."""
        assert len(frame) <= FRAME_SIZE_MAX, len(frame)
        with self._lock:
            link = self._links.get(peer)
            if link is None or not link.is_open or link.is_held:
                return
            link.frames.append(frame)
            link.queued_size += len(frame)
            link.is_held = link.queued_size > QUEUED_SIZE_HIGH
            if link.is_held:
                self._told().down(peer)
            must_wake, self._woken = not self._woken, True
        if must_wake:
            # Once for all frames of a burst: this wakes the loop through a socket.
            self._loop.call_soon_threadsafe(self._wake)

    def dial_anew(self) -> None:
        """Ask for a new channel to each peer once its stream ends; on the loop."""
        self._dialled_count += 1

    def queued_size(self, peer: str) -> int:
        """As `Wire` promises."""
        with self._lock:
            link = self._links.get(peer)
            return 0 if link is None else link.queued_size

    def stop(self) -> None:
        """As `Wire` promises; `wait_stopped` waits for it."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            links = list(self._links.values())
            self._links.clear()
        self._loop.call_soon_threadsafe(self._end, *links)

    async def wait_stopped(self) -> None:
        """Return once all streams and channels are closed, after `stop`."""
        await asyncio.sleep(0)  # what `stop` asked of the loop comes first
        while tasks := {*self._incoming.values(), *self._ending}:
            await asyncio.wait(tasks)

    async def serve_exchange(
        self,
        peer: str,
        request_iterator: AsyncIterator[peer_pb2.ExchangeRequest],
        context: Context,
    ) -> AsyncIterator[peer_pb2.ExchangeResponse]:
        """Serve a stream that a peer dialled.

        Args:
            peer: The voter whose certificate the caller has shown.
            request_iterator: What it sends.
            context: Of the call.
        """
        with self._lock:
            stopped = self._stopped or self._listener is None
        if stopped:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this voter takes no frames now")
        yield await self._greeted(peer, request_iterator, context)
        reading = asyncio.create_task(self._read(peer, request_iterator, context))
        older = self._incoming.get(peer)
        self._incoming[peer] = reading
        if older is not None:
            older.cancel()
        try:
            await asyncio.wait({reading})
        finally:
            reading.cancel()
            if self._incoming.get(peer) is reading:
                del self._incoming[peer]
        if reading.cancelled():
            await context.abort(grpc.StatusCode.ABORTED, "a newer stream came, or the voter stops")
        reading.result()

    async def _greeted(
        self,
        peer: str,
        request_iterator: AsyncIterator[peer_pb2.ExchangeRequest],
        context: Context,
    ) -> peer_pb2.ExchangeResponse:
        """Judge what the caller shows and return what this node shows."""
        try:
            async with asyncio.timeout(GREETING_MAX_S):
                first = await anext(request_iterator)
                await self._admit(peer, first.standing if first.HasField("standing") else None)
                return peer_pb2.ExchangeResponse(standing=await self._own_standing())
        except (ConsensusError, StopAsyncIteration) as error:
            problem = str(error) or "the stream ended before it said where the caller stands"
        except TimeoutError:
            problem = f"nothing was said within {GREETING_MAX_S} s about where the caller stands"
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, problem)
        raise AssertionError(problem)

    async def _read(
        self,
        peer: str,
        request_iterator: AsyncIterator[peer_pb2.ExchangeRequest],
        context: Context,
    ) -> None:
        listener = self._told()
        async for request in request_iterator:
            frame = request.frame
            if not request.HasField("frame") or len(frame) > FRAME_SIZE_MAX:
                await context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"after the standing come frames, at most {FRAME_SIZE_MAX} bytes each",
                )
            busy = listener.frame(peer, frame)
            if busy is not None:
                await asyncio.wrap_future(busy)

    async def _admit(self, peer: str, standing: peer_pb2.Standing | None) -> None:
        if standing is None or standing.chain_id != self._chain_id:
            shown = "nothing" if standing is None else f"chain {standing.chain_id.hex()}"
            raise PeerRegressed(f"{peer} showed {shown}; this is chain {self._chain_id.hex()}")
        shows = Standing(
            term=standing.term, last_index=standing.last_index, signed_size=standing.signed_size
        )
        await asyncio.wrap_future(self._told().admit(peer, shows))

    async def _own_standing(self) -> peer_pb2.Standing:
        shows = await asyncio.wrap_future(self._told().standing())
        return peer_pb2.Standing(
            chain_id=self._chain_id,
            term=shows.term,
            last_index=shows.last_index,
            signed_size=shows.signed_size,
        )

    def _told(self) -> WireListener:
        assert self._listener is not None, "start the wire first"
        return self._listener

    def _begin(self, link: _Link) -> None:
        link.task = asyncio.create_task(self._keep(link), name=f"wire to {link.peer}")
        link.task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._told().failed(error)

    def _end(self, *links: _Link) -> None:
        ended = [link.task for link in links if link.task is not None]
        with self._lock:
            if self._stopped:
                ended += self._incoming.values()
        for task in ended:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            task.cancel()

    def _wake(self) -> None:
        with self._lock:
            self._woken = False
            waiting = [link for link in self._links.values() if link.frames]
        for link in waiting:
            link.changed.set()

    async def _keep(self, link: _Link) -> None:
        """Keep a stream to a peer: whenever it ends, dial again after a pause."""
        channel, dialled_count = self._dial(link.peer), self._dialled_count
        pause_s, reason = REDIAL_MIN_S, ""
        try:
            while True:
                try:
                    await self._exchange(link, channel)
                except (*_ENDED, ConsensusError) as error:
                    found = _reason(error)
                except asyncio.CancelledError:
                    if _is_cancelled():
                        raise
                    found = "the call was cancelled"  # by the library, on an error of its own
                else:
                    found = "the stream ended"
                if _is_cancelled():
                    return  # the library took that for an end of the call, and raised another error
                if self._close(link):
                    pause_s = REDIAL_MIN_S
                if found != reason:
                    logger.warning(
                        "no stream to a peer", extra={"peer": link.peer, "reason": found}
                    )
                reason = found
                await asyncio.sleep(pause_s * self._jitter.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, REDIAL_MAX_S)
                if dialled_count != self._dialled_count:
                    await channel.close()
                    channel, dialled_count = self._dial(link.peer), self._dialled_count
        finally:
            self._close(link)
            await channel.close()

    async def _exchange(self, link: _Link, channel: grpc.aio.Channel) -> None:
        call = peer_pb2_grpc.PeerServiceStub(channel).Exchange()
        reading: asyncio.Future[object] | None = None
        try:
            async with asyncio.timeout(GREETING_MAX_S):
                await call.write(peer_pb2.ExchangeRequest(standing=await self._own_standing()))
                answer = await call.read()
                if not isinstance(answer, peer_pb2.ExchangeResponse):
                    return
                await self._admit(
                    link.peer, answer.standing if answer.HasField("standing") else None
                )
            self._open(link)
            reading = asyncio.ensure_future(call.read())
            reading.add_done_callback(lambda _: link.changed.set())
            while not reading.done():
                await self._write(link, call)
            reading.result()
        finally:
            call.cancel()
            if reading is not None:
                await asyncio.gather(reading, return_exceptions=True)

    async def _write(
        self,
        link: _Link,
        call: "grpc.aio.StreamStreamCall[peer_pb2.ExchangeRequest, peer_pb2.ExchangeResponse]",
    ) -> None:
        """Send what waits, or wait; one frame after the other, as the stream needs it."""
        await link.changed.wait()
        link.changed.clear()
        while True:
            with self._lock:
                frame = link.frames.popleft() if link.frames else None
            if frame is None:
                return
            await call.write(peer_pb2.ExchangeRequest(frame=frame))
            with self._lock:
                link.queued_size -= len(frame)
                if link.is_held and link.queued_size <= QUEUED_SIZE_LOW:
                    link.is_held = False
                    self._told().up(link.peer)

    def _open(self, link: _Link) -> None:
        logger.info("stream to a peer", extra={"peer": link.peer})
        with self._lock:
            link.is_open = True
            self._told().up(link.peer)

    def _close(self, link: _Link) -> bool:
        """Drop what waits; return whether the stream was open."""
        with self._lock:
            was_open, link.is_open = link.is_open, False
            link.is_held = False
            link.frames.clear()
            link.queued_size = 0
            if was_open:
                self._told().down(link.peer)
        return was_open


def _is_cancelled() -> bool:
    """Return whether somebody wants the running task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _reason(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or repr(error)
