"""What strangers, clients and dishonest voters send to a voter is refused, and nothing moves."""

import random
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace

import grpc
import pytest

from lotmark.client.connection import open_channel
from lotmark.client.settings import ClientSettings
from lotmark.v1 import peer_pb2, peer_pb2_grpc, raft_pb2
from lotmark_consensus.raft.codec import FRAME_SIZE_MAX, encode_frame, new_frame
from lotmark_node.node_settings import read_node_settings
from tests.network.network import VOTERS, Network, running_network, until

CALL_S = 10.0
OTHER_CHAIN = bytes(32)
GARBAGE_SEED = 7


@pytest.fixture(scope="module")
def standing_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with running_network(tmp_path_factory.mktemp("frames") / "consortium") as network:
        yield network


@pytest.fixture
def network(standing_network: Network) -> Iterator[Network]:
    """Give a network, and check that all goes on in it as before, under the same leader."""
    standing_network.mend()
    standing_network.submit(1)
    leader = standing_network.leader()
    term = standing_network.status(leader).term
    yield standing_network
    standing_network.submit(1)
    standing_network.check_history()
    standing_network.check_final()
    assert (standing_network.leader(), standing_network.status(leader).term) == (leader, term)


def address_of(network: Network, name: str) -> tuple[str, int]:
    host, _, port = network.settings_of(name).node_address.rpartition(":")
    return host, int(port)


def hung_up(connection: socket.socket) -> bool:
    """Return whether the other side ends the connection, whatever it says before that."""
    connection.settimeout(CALL_S)
    try:
        while connection.recv(65_536):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("opening", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x3f\xff"])
def test_bytes_that_are_no_handshake_end_the_connection(network: Network, opening: bytes) -> None:
    garbage = random.Random(GARBAGE_SEED).randbytes(1 << 16)  # noqa: S311 - the same each time
    for name in VOTERS:
        with socket.create_connection(address_of(network, name), CALL_S) as connection:
            try:
                connection.sendall(opening + garbage)
            except ConnectionError:
                continue
            assert hung_up(connection)


def say_hello_without_certificate(address: tuple[str, int]) -> bytes:
    """Return the first byte of the answer to a connection's opening; TLS may refuse it before."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(address, CALL_S) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        return connection.recv(1)


def test_a_stranger_without_a_certificate_gets_no_answer(network: Network) -> None:
    try:
        answer = say_hello_without_certificate(address_of(network, network.leader()))
    except (ssl.SSLError, ConnectionError):
        return
    assert not answer


def peer_calls(
    stub: peer_pb2_grpc.PeerServiceStub,
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Give each call of the service between voters."""
    nothing: list[peer_pb2.ExchangeRequest] = []
    yield "Exchange", lambda: list(stub.Exchange(iter(nothing), timeout=CALL_S))
    yield "Forward", lambda: list(stub.Forward(iter([]), timeout=CALL_S))
    fetch = peer_pb2.FetchBlocksRequest(from_height=1, count=1)
    yield "FetchBlocks", lambda: list(stub.FetchBlocks(fetch, timeout=CALL_S))
    share = peer_pb2.ShareCheckpointRequest(note=b"x")
    yield "ShareCheckpoint", lambda: stub.ShareCheckpoint(share, timeout=CALL_S)
    yield "ReadIndex", lambda: stub.ReadIndex(peer_pb2.ReadIndexRequest(), timeout=CALL_S)


def test_a_client_with_a_valid_certificate_is_no_voter(network: Network) -> None:
    refused = []
    with open_channel(network.settings_of(network.leader())) as channel:
        for name, call in peer_calls(peer_pb2_grpc.PeerServiceStub(channel)):
            with pytest.raises(grpc.RpcError) as error:
                call()
            refused.append((name, code_of(error.value)))
    methods = peer_pb2.DESCRIPTOR.services_by_name["PeerService"].methods
    assert refused == [(method.name, grpc.StatusCode.PERMISSION_DENIED) for method in methods]


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    assert isinstance(error, grpc.Call)
    return error.code()


def as_voter(network: Network, name: str, called: str) -> ClientSettings:
    """Return settings with which a test calls a voter by another one's certificate."""
    own = read_node_settings(network.trial.node_settings(name))
    return replace(
        network.settings_of(called), certificate=own.tls_certificate, certificate_key=own.tls_key
    )


def standing(network: Network, name: str, chain_id: bytes) -> peer_pb2.ExchangeRequest:
    """Return what a voter would show now."""
    status = network.status(name)
    shown = peer_pb2.Standing(
        chain_id=chain_id,
        term=status.term,
        last_index=status.last_index,
        signed_size=status.signed_size,
    )
    return peer_pb2.ExchangeRequest(standing=shown)


def exchange(
    network: Network, name: str, called: str, requests: list[peer_pb2.ExchangeRequest]
) -> grpc.StatusCode:
    """Send requests to a voter by another one's certificate, and return how the stream ended."""
    with open_channel(as_voter(network, name, called)) as channel:
        stub = peer_pb2_grpc.PeerServiceStub(channel)
        call = stub.Exchange(iter(requests), timeout=CALL_S)
        try:
            for _ in call:
                pass
        except grpc.RpcError as error:
            return code_of(error)
    return grpc.StatusCode.OK


def exchange_admitted(
    network: Network, name: str, called: str, frames: list[bytes]
) -> tuple[grpc.StatusCode, int]:
    """Send frames behind what the voter itself shows at that moment.

    The voter may just move on, so that this is outdated, or dial anew, which ends this stream.

    Returns:
        How the stream ended, and how many frames the called one has refused meanwhile.
    """
    requests = [peer_pb2.ExchangeRequest(frame=frame) for frame in frames]
    ended, before = grpc.StatusCode.ABORTED, 0

    def was_admitted() -> bool:
        nonlocal ended, before
        before = refused_count(network, called)
        first = standing(network, name, network.client.chain_id)
        ended = exchange(network, name, called, [first, *requests])
        return ended not in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED)

    until(was_admitted)
    return ended, refused_count(network, called) - before


@pytest.mark.parametrize("shown", ["another chain", "nothing", "an empty disk"])
def test_a_voter_that_shows_what_it_must_not_is_sent_away(network: Network, shown: str) -> None:
    dishonest, called = network.followers()
    chain_id = network.client.chain_id
    first = {
        "another chain": standing(network, dishonest, OTHER_CHAIN),
        "nothing": peer_pb2.ExchangeRequest(frame=b"x"),
        "an empty disk": peer_pb2.ExchangeRequest(
            standing=peer_pb2.Standing(chain_id=chain_id, term=0, last_index=0, signed_size=0)
        ),
    }[shown]

    assert exchange(network, dishonest, called, [first]) is grpc.StatusCode.FAILED_PRECONDITION


def false_frames(chain_id: bytes, term: int, last: int) -> dict[str, bytes]:
    """Return frames that a voter must not act upon, by what is wrong with each."""
    other_chain = new_frame(OTHER_CHAIN, term)
    other_chain.term_notice.SetInParent()
    leap = new_frame(chain_id, 2**61)
    leap.term_notice.SetInParent()
    other_leader = new_frame(chain_id, term)  # by a follower, as if it were the leader
    other_leader.append_request.CopyFrom(
        raft_pb2.AppendRequest(previous_index=last, previous_term=term, commit_index=last)
    )
    bodiless = new_frame(chain_id, term)
    good = new_frame(chain_id, term)
    good.term_notice.SetInParent()
    return {
        "garbage": b"\xff" * 1_000,
        "empty": b"",
        "another chain": encode_frame(other_chain),
        "a term that leaps": encode_frame(leap),
        "another node": encode_frame(other_leader),
        "without a body": encode_frame(bodiless),
        "unknown field": encode_frame(good) + b"\xf8\x07\x01",
    }


def refused_count(network: Network, name: str) -> int:
    return sum(
        each.count for each in network.status(name).refusals if each.reason == "frame refused"
    )


def test_a_voters_false_frames_are_counted_and_have_no_other_effect(network: Network) -> None:
    dishonest, called = network.followers()
    status = network.status(called)
    frames = false_frames(network.client.chain_id, status.term, status.last_index)

    ended, refused = exchange_admitted(network, dishonest, called, list(frames.values()))

    assert ended is grpc.StatusCode.OK
    assert refused == len(frames)
    assert network.status(called).leader == status.leader


@pytest.mark.parametrize("size", [FRAME_SIZE_MAX + 1, FRAME_SIZE_MAX + (1 << 20)])
def test_an_oversize_frame_ends_the_stream(network: Network, size: int) -> None:
    dishonest, called = network.followers()
    ended, _ = exchange_admitted(network, dishonest, called, [bytes(size)])
    assert ended in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
