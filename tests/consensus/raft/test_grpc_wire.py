"""The wire of production: who is heard, what is refused, and peers that go and come."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import pytest

from lotmark.v1 import peer_pb2
from lotmark_consensus.errors import PeerRegressed
from lotmark_consensus.raft import grpc_wire
from lotmark_consensus.raft.codec import FRAME_SIZE_MAX
from lotmark_consensus.raft.grpc_wire import GrpcWire
from lotmark_consensus.raft.journal import RaftJournal
from lotmark_consensus.raft.memory_log import MemoryLogStore
from lotmark_consensus.raft.peer_memory import PeerMemory, Standing
from lotmark_consensus.raft.wire import QUEUED_SIZE_HIGH
from tests.consensus.raft.peer_network import METHOD, VOTERS, PeerNetwork, Watch

LAB, OEM, TIER = VOTERS
AT_START = Standing(term=3, last_index=40, signed_size=900)


class Listener(Watch):
    """Keeps what a wire tells it, and judges standings as a voter does."""

    def __init__(self, standing: Standing = AT_START) -> None:
        super().__init__()
        self.shown = standing
        self.memory = PeerMemory(RaftJournal(MemoryLogStore()), enforced=True)
        self.frames: dict[str, list[bytes]] = defaultdict(list)
        self.links: dict[str, list[str]] = defaultdict(list)
        self.refusals: list[str] = []
        self.failures: list[BaseException] = []
        self.busy: Future[None] | None = None

    def frame(self, peer: str, frame: bytes) -> Future[None] | None:
        self.frames[peer].append(frame)
        self.changed()
        return self.busy

    def up(self, peer: str) -> None:
        self.links[peer].append("up")
        self.changed()

    def down(self, peer: str) -> None:
        self.links[peer].append("down")
        self.changed()

    def standing(self) -> Future[Standing]:
        future: Future[Standing] = Future()
        future.set_result(self.shown)
        return future

    def admit(self, peer: str, standing: Standing) -> Future[None]:
        future: Future[None] = Future()
        try:
            self.memory.admit(peer, standing)
        except PeerRegressed as error:
            self.refusals.append(str(error))
            future.set_exception(error)
        else:
            future.set_result(None)
        self.changed()
        return future

    def failed(self, error: BaseException) -> None:
        self.failures.append(error)
        self.changed()

    def wait_frames(self, peer: str, count: int) -> list[bytes]:
        self.wait_for(lambda: len(self.frames[peer]) >= count)
        return self.frames[peer]

    def wait_links(self, peer: str, *links: str) -> None:
        self.wait_for(lambda: self.links[peer] == list(links))


@pytest.fixture
def network() -> Iterator[PeerNetwork]:
    built = PeerNetwork()
    yield built
    built.close()


def join(
    network: PeerNetwork,
    name: str,
    listener: Listener,
    *,
    peers: Sequence[str] = (),
    chain_id: bytes | None = None,
) -> GrpcWire:
    """Start a voter's wire and let it dial some peers."""
    wire = network.wire(name, chain_id=chain_id)
    wire.start(listener)
    network.serve(name, wire)
    for peer in peers:
        wire.connect(peer)
    return wire


def linked(network: PeerNetwork) -> tuple[GrpcWire, GrpcWire, Listener, Listener]:
    """Return the wires of OEM and LAB, each with an open stream to the other."""
    oem_hears, lab_hears = Listener(), Listener()
    oem = join(network, OEM, oem_hears)
    lab = join(network, LAB, lab_hears, peers=[OEM])
    oem.connect(LAB)
    oem_hears.wait_links(LAB, "up")
    lab_hears.wait_links(OEM, "up")
    return oem, lab, oem_hears, lab_hears


class Caller:
    """A caller that sends whatever bytes it likes with the certificate of a voter."""

    def __init__(self, network: PeerNetwork, name: str, to: str) -> None:
        self._network = network
        self._channel = network.thread.run(self._dial(name, to))
        self._call = network.thread.run(self._begin())

    async def _dial(self, name: str, to: str) -> grpc.aio.Channel:
        return self._network.channel(name, to)

    async def _begin(self) -> "grpc.aio.StreamStreamCall[bytes, bytes]":
        return self._channel.stream_stream(METHOD)()

    def send(self, raw: bytes) -> None:
        async def write() -> None:
            with suppress(grpc.aio.AioRpcError):  # refused meanwhile; `end` tells how
                await self._call.write(raw)

        self._network.thread.run(write())

    def show(self, *, chain_id: bytes | None = None, standing: Standing = AT_START) -> None:
        shown = peer_pb2.Standing(
            chain_id=chain_id or self._network.chain_id,
            term=standing.term,
            last_index=standing.last_index,
            signed_size=standing.signed_size,
        )
        self.send(peer_pb2.ExchangeRequest(standing=shown).SerializeToString())

    def send_frame(self, frame: bytes) -> None:
        self.send(peer_pb2.ExchangeRequest(frame=frame).SerializeToString())

    def answer(self) -> peer_pb2.Standing:
        async def read() -> object:
            return await self._call.read()

        raw = self._network.thread.run(read())
        assert isinstance(raw, bytes), raw
        return peer_pb2.ExchangeResponse.FromString(raw).standing

    def end(self) -> tuple[grpc.StatusCode, str]:
        """Return how the stream ended."""

        async def wait() -> tuple[grpc.StatusCode, str]:
            return await self._call.code(), await self._call.details() or ""

        return self._network.thread.run(wait())

    def close(self) -> None:
        async def close() -> None:
            self._call.cancel()
            await self._channel.close()

        self._network.thread.run(close())


def test_frames_go_both_ways_in_the_order_they_were_sent(network: PeerNetwork) -> None:
    oem, lab, oem_hears, lab_hears = linked(network)
    sizes = [0, 1, 100_000, 2, FRAME_SIZE_MAX, 3]
    there = [bytes([number]) * size for number, size in enumerate(sizes)]
    back = [bytes([number]) for number in range(200)]

    for frame in there:
        oem.send(LAB, frame)
    for frame in back:
        lab.send(OEM, frame)

    assert oem_hears.wait_frames(LAB, len(back)) == back
    assert lab_hears.wait_frames(OEM, len(there)) == there
    assert oem.queued_size(LAB) == lab.queued_size(OEM) == 0


def test_a_frame_is_heard_under_the_name_of_the_certificate(network: PeerNetwork) -> None:
    hears = Listener()
    join(network, OEM, hears)
    caller = Caller(network, TIER, OEM)

    caller.show()
    assert caller.answer().last_index == AT_START.last_index
    caller.send_frame(b"I am LAB-17025/n1")

    assert hears.wait_frames(TIER, 1) == [b"I am LAB-17025/n1"]
    assert set(hears.frames) == {TIER}
    caller.close()


def test_a_caller_of_another_chain_is_refused(network: PeerNetwork) -> None:
    hears = Listener()
    join(network, OEM, hears)
    caller = Caller(network, TIER, OEM)

    caller.show(chain_id=bytes(32))
    code, details = caller.end()

    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert f"showed chain {bytes(32).hex()}; this is chain" in details
    assert not hears.frames
    caller.close()


def test_a_peer_of_another_chain_that_is_dialled_is_refused(
    network: PeerNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    hears = Listener()
    join(network, LAB, Listener(), chain_id=b"\1" * 32)
    asked: list[str] = []
    original = hears.standing

    def standing() -> Future[Standing]:
        asked.append("standing")
        hears.changed()
        return original()

    hears.standing = standing  # type: ignore[method-assign]  # only to count the attempts
    join(network, OEM, hears, peers=[LAB])

    hears.wait_for(lambda: len(asked) >= 2)  # it was refused at least once, and tries again
    assert not hears.links
    assert any("FAILED_PRECONDITION" in str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize(
    "less",
    [
        Standing(term=2, last_index=90, signed_size=900),
        Standing(term=3, last_index=40, signed_size=899),
    ],
)
def test_a_peer_that_shows_less_than_before_is_refused_on_both_sides(
    network: PeerNetwork, less: Standing
) -> None:
    """OEM has heard more of LAB than LAB shows: neither takes OEM's frames for LAB, nor LAB's."""
    oem_hears, lab_hears = Listener(), Listener(standing=less)
    oem_hears.memory.admit(LAB, AT_START)
    oem = join(network, OEM, oem_hears)
    lab = join(network, LAB, lab_hears, peers=[OEM])
    oem.connect(LAB)

    oem_hears.wait_for(lambda: len(oem_hears.refusals) >= 4)  # dialled and dialling, again
    lab.send(OEM, b"never heard")

    assert "its disk is an older copy" in oem_hears.refusals[0]
    assert not oem_hears.links
    assert not lab_hears.links
    assert not oem_hears.frames


def test_a_frame_beyond_the_bound_ends_the_stream_of_its_sender_only(network: PeerNetwork) -> None:
    _, lab, oem_hears, _ = linked(network)
    caller = Caller(network, TIER, OEM)
    caller.show()
    caller.answer()

    caller.send_frame(bytes(FRAME_SIZE_MAX + 1))

    assert caller.end() == (
        grpc.StatusCode.INVALID_ARGUMENT,
        f"after the standing come frames, at most {FRAME_SIZE_MAX} bytes each",
    )
    lab.send(OEM, b"as before")
    assert oem_hears.wait_frames(LAB, 1) == [b"as before"]
    assert not oem_hears.frames[TIER]
    caller.close()


def test_bytes_that_are_no_message_end_the_stream_of_their_sender_only(
    network: PeerNetwork,
) -> None:
    _, lab, oem_hears, _ = linked(network)
    caller = Caller(network, TIER, OEM)
    caller.show()
    caller.answer()

    caller.send(b"\xff\xff\xff")

    code, _details = caller.end()
    assert code is not grpc.StatusCode.OK
    lab.send(OEM, b"as before")
    assert oem_hears.wait_frames(LAB, 1) == [b"as before"]
    assert not oem_hears.frames[TIER]
    caller.close()


@pytest.mark.parametrize("first", ["frame", "nothing"])
def test_who_does_not_say_first_where_it_stands_is_refused(
    network: PeerNetwork, first: str
) -> None:
    hears = Listener()
    join(network, OEM, hears)
    caller = Caller(network, TIER, OEM)

    if first == "frame":
        caller.send_frame(b"too early")
    else:
        caller.send(peer_pb2.ExchangeRequest().SerializeToString())

    code, details = caller.end()
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert f"{TIER} showed nothing" in details
    assert not hears.frames
    caller.close()


def test_a_caller_that_says_nothing_is_let_go(
    network: PeerNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_wire, "GREETING_MAX_S", 0.05)
    join(network, OEM, Listener())
    caller = Caller(network, TIER, OEM)

    code, details = caller.end()

    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "nothing was said within 0.05 s" in details
    caller.close()


def test_a_second_standing_on_a_stream_is_refused(network: PeerNetwork) -> None:
    join(network, OEM, Listener())
    caller = Caller(network, TIER, OEM)
    caller.show()
    caller.answer()

    caller.show(standing=Standing(term=9, last_index=9, signed_size=999))

    assert caller.end()[0] is grpc.StatusCode.INVALID_ARGUMENT
    caller.close()


def test_a_newer_stream_of_a_peer_replaces_the_older_one(network: PeerNetwork) -> None:
    hears = Listener()
    join(network, OEM, hears)
    older, newer, other = (Caller(network, name, OEM) for name in (TIER, TIER, LAB))
    for caller in (older, other):
        caller.show()
        caller.answer()
        caller.send_frame(b"first")
    hears.wait_frames(TIER, 1)

    newer.show()
    newer.answer()

    assert older.end()[0] is grpc.StatusCode.ABORTED
    newer.send_frame(b"second")
    assert hears.wait_frames(TIER, 2) == [b"first", b"second"]
    other.send_frame(b"second")
    assert hears.wait_frames(LAB, 2) == [b"first", b"second"]
    for caller in (older, newer, other):
        caller.close()


@pytest.mark.parametrize("is_renewed", [False, True])
def test_a_new_channel_is_made_when_a_stream_ends_after_a_renewal_and_not_before(
    network: PeerNetwork, is_renewed: bool
) -> None:
    oem, _, oem_hears, _ = linked(network)
    assert network.dialled.count((OEM, LAB)) == 1
    if is_renewed:
        network.thread.loop.call_soon_threadsafe(oem.dial_anew)
    oem.send(LAB, b"the stream goes on")
    assert network.dialled.count((OEM, LAB)) == 1

    network.stop_voter(LAB)
    oem_hears.wait_links(LAB, "up", "down")
    join(network, LAB, Listener(), peers=[OEM])
    oem_hears.wait_links(LAB, "up", "down", "up")

    assert network.dialled.count((OEM, LAB)) == 1 + is_renewed


def test_a_peer_that_restarts_is_dialled_again(network: PeerNetwork) -> None:
    oem, _, oem_hears, _ = linked(network)

    network.stop_voter(LAB)
    oem_hears.wait_links(LAB, "up", "down")
    oem.send(LAB, b"dropped")
    lab_hears = Listener()
    join(network, LAB, lab_hears)

    oem_hears.wait_links(LAB, "up", "down", "up")
    oem.send(LAB, b"kept")
    assert lab_hears.wait_frames(OEM, 1) == [b"kept"]


def test_a_peer_that_starts_later_is_found(network: PeerNetwork) -> None:
    lab_hears, oem_hears = Listener(), Listener()
    join(network, LAB, Listener())
    network.stop_voter(LAB)
    oem = join(network, OEM, oem_hears, peers=[LAB])
    oem.send(LAB, b"dropped")

    join(network, LAB, lab_hears)

    oem_hears.wait_links(LAB, "up")
    oem.send(LAB, b"kept")
    assert lab_hears.wait_frames(OEM, 1) == [b"kept"]


def test_a_peer_that_reads_slowly_counts_as_down_until_little_waits(network: PeerNetwork) -> None:
    oem, _, oem_hears, lab_hears = linked(network)
    lab_hears.busy = Future()
    frame = bytes(1 << 20)

    oem.send(LAB, frame)
    lab_hears.wait_frames(OEM, 1)
    sent_count = 1
    while oem_hears.links[LAB] == ["up"]:
        oem.send(LAB, frame)
        sent_count += 1
        assert sent_count < 200, "nothing bounds what waits"
    queued_size = oem.queued_size(LAB)
    oem.send(LAB, b"dropped")
    assert len(lab_hears.frames[OEM]) == 1, "it read on although the listener was busy"
    assert oem_hears.links[LAB] == ["up", "down"]
    assert queued_size <= QUEUED_SIZE_HIGH + len(frame)

    busy, lab_hears.busy = lab_hears.busy, None
    busy.set_result(None)

    oem_hears.wait_links(LAB, "up", "down", "up")
    assert lab_hears.wait_frames(OEM, sent_count) == [frame] * sent_count
    oem.send(LAB, b"taken again")
    assert lab_hears.wait_frames(OEM, sent_count + 1)[-1] == b"taken again"


def test_frames_to_who_is_not_there_are_dropped(network: PeerNetwork) -> None:
    oem, _, oem_hears, lab_hears = linked(network)

    oem.send(TIER, b"never dialled")
    oem.disconnect(LAB)
    oem.send(LAB, b"let go of")
    assert oem.queued_size(LAB) == oem.queued_size(TIER) == 0
    oem_hears.wait_links(LAB, "up", "down")
    oem.connect(LAB)
    oem_hears.wait_links(LAB, "up", "down", "up")
    oem.send(LAB, b"dialled again")

    assert lab_hears.wait_frames(OEM, 1) == [b"dialled again"]


def test_a_wire_that_stopped_takes_nothing_and_leaves_no_task(network: PeerNetwork) -> None:
    oem, lab, oem_hears, lab_hears = linked(network)

    oem.stop()
    oem.stop()
    network.thread.run(oem.wait_stopped())

    oem.send(LAB, b"after the end")
    oem.connect(TIER)
    oem_hears.wait_links(LAB, "up", "down")
    lab_hears.wait_links(OEM, "up", "down")
    # It refuses before it hears anything. So nothing is said: a write that meets the refusal makes
    # the caller's library tell an error of its own in place of the voter's.
    caller = Caller(network, TIER, OEM)
    assert caller.end() == (grpc.StatusCode.UNAVAILABLE, "this voter takes no frames now")
    caller.close()
    lab.stop()
    network.thread.run(lab.wait_stopped())

    async def tasks() -> set[str]:
        return {task.get_name() for task in asyncio.all_tasks()}

    assert not [name for name in network.thread.run(tasks()) if name.startswith("wire to")]


def test_an_error_of_the_wire_itself_is_told(network: PeerNetwork) -> None:
    hears = Listener()
    channels: dict[str, grpc.aio.Channel] = {}
    wire = GrpcWire(network.thread.loop, network.chain_id, channels.__getitem__)
    wire.start(hears)

    wire.connect(LAB)

    hears.wait_for(lambda: hears.failures)
    assert isinstance(hears.failures[0], KeyError)
    wire.stop()


class _CallThatTakesNoCancel:
    """As gRPC's calls do now and then: they swallow a cancellation and raise an error instead."""

    def __init__(self) -> None:
        self.begun = Watch()
        self.count = 0

    async def write(self, _request: object) -> None:
        self.count += 1
        self.begun.changed()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        raise TimeoutError("the call was ended")

    def cancel(self) -> None:
        pass


class _Channel:
    """A channel on which every call is this one."""

    def __init__(self, call: _CallThatTakesNoCancel) -> None:
        self._call = call

    def stream_stream(self, *_args: object, **_options: object) -> Callable[[], object]:
        return lambda: self._call

    unary_unary = unary_stream = stream_stream

    async def close(self) -> None:
        pass


def test_a_wire_stops_although_a_call_took_no_notice_of_that(network: PeerNetwork) -> None:
    call = _CallThatTakesNoCancel()

    def dial(_peer: str) -> Any:
        return _Channel(call)

    wire = GrpcWire(network.thread.loop, network.chain_id, dial)
    wire.start(Listener())
    wire.connect(LAB)
    call.begun.wait_for(lambda: call.count)

    wire.stop()
    network.thread.run(wire.wait_stopped())

    assert call.count == 1, "nothing is dialled again"
