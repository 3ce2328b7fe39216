"""A witness's server: the specification's answers, and nothing that holds it up."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest

from lotmark.cosignature import verify_cosignature
from lotmark.signed_note import format_note, parse_note
from lotmark.tlog_witness import (
    ADD_CHECKPOINT_PATH,
    REQUEST_SIZE_MAX,
    AddCheckpoint,
    checkpoint_path,
    format_add_checkpoint,
    parse_cosignatures,
)
from lotmark_node.witness import server as witness_server
from lotmark_node.witness.bounded_reader import BoundedReader
from lotmark_node.witness.errors import CheckpointRefused
from lotmark_node.witness.server import (
    CONNECTIONS_PER_ADDRESS_MAX,
    STATUS_OF_REFUSAL,
    WitnessServer,
)
from tests.node.witness.growing_log import (
    FORKED,
    LOG,
    NOW_S,
    ORIGIN,
    WITNESS_VKEY,
    GrowingLog,
    private_key,
)
from tests.node.witness.served_witness import HOST, TIMEOUT_S, add, ask, served_witness

PLAIN = "text/plain; charset=utf-8"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WitnessServer]:
    with served_witness(tmp_path / "data") as served:
        yield served


def exchange(port: int, raw: bytes) -> bytes:
    """Send bytes, and return all that comes back until the server closes the connection."""
    with socket.create_connection((HOST, port), TIMEOUT_S) as connection:
        connection.sendall(raw)
        with suppress(OSError):  # the server may have hung up already, having seen enough
            connection.shutdown(socket.SHUT_WR)
        parts = iter(lambda: connection.recv(65_536), b"")
        return b"".join(parts)


def test_a_checkpoint_is_answered_with_its_cosignature(server: WitnessServer) -> None:
    status, content_type, body = add(server.port, LOG.request(0, 8))

    assert (status, content_type) == (200, PLAIN)
    (signature,) = parse_cosignatures(body, LOG.note(8).text)
    assert verify_cosignature(LOG.note(8).text, signature, WITNESS_VKEY) == NOW_S


def test_a_stale_request_is_told_the_size(server: WitnessServer) -> None:
    add(server.port, LOG.request(0, 8))

    assert add(server.port, LOG.request(0, 13)) == (409, "text/x.tlog.size", b"8\n")


def test_each_refusal_has_the_status_of_the_specification(server: WitnessServer) -> None:
    add(server.port, LOG.request(0, 7))
    grown = LOG.request(7, 13)
    statuses = {
        "a proof that does not hold": add(server.port, replace(grown, proof=grown.proof[::-1]))[0],
        "another tree of the same size": add(server.port, FORKED.request(7, 7))[0],
        "a log nobody watches": add(server.port, GrowingLog("log.example/9").request(0, 5))[0],
        "a key that is not the log's": add(
            server.port, AddCheckpoint(7, grown.proof, LOG.note(13, by=private_key("thief")))
        )[0],
        "an old size above the new one": ask(
            server.port,
            "POST",
            ADD_CHECKPOINT_PATH,
            format_add_checkpoint(grown).replace(b"old 7\n", b"old 14\n"),
        )[0],
        "garbage": ask(server.port, "POST", ADD_CHECKPOINT_PATH, b"\0\xff garbage")[0],
        "nothing": ask(server.port, "POST", ADD_CHECKPOINT_PATH, b"")[0],
    }

    assert statuses == {
        "a proof that does not hold": 422,
        "another tree of the same size": 422,
        "a log nobody watches": 404,
        "a key that is not the log's": 403,
        "an old size above the new one": 400,
        "garbage": 400,
        "nothing": 400,
    }
    assert add(server.port, grown)[0] == 200


def test_every_refusal_has_a_status() -> None:
    assert set(STATUS_OF_REFUSAL) == set(CheckpointRefused.__subclasses__())


def test_monitors_are_shown_what_was_cosigned_last(server: WitnessServer) -> None:
    path = checkpoint_path(ORIGIN)
    before = ask(server.port, "GET", path)
    answer = add(server.port, LOG.request(0, 8))[2]
    status, content_type, body = ask(server.port, "GET", path)

    assert before[0] == 404
    assert (status, content_type) == (200, PLAIN)
    assert body == format_note(LOG.note(8)) + answer
    assert parse_note(body).text == LOG.note(8).text
    assert ask(server.port, "GET", checkpoint_path("log.example/9"))[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", ADD_CHECKPOINT_PATH, 404),
        ("POST", "/", 404),
        ("POST", f"{ADD_CHECKPOINT_PATH}/", 404),
        ("POST", "/sign-subtree", 404),
        ("PUT", ADD_CHECKPOINT_PATH, 501),
        ("DELETE", ADD_CHECKPOINT_PATH, 501),
    ],
)
def test_nothing_else_is_served(server: WitnessServer, method: str, path: str, status: int) -> None:
    told, content_type, _ = ask(server.port, method, path, b"")

    assert (told, content_type) == (status, PLAIN)


def test_an_oversize_body_is_refused_before_it_is_read(server: WitnessServer) -> None:
    head = f"POST {ADD_CHECKPOINT_PATH} HTTP/1.1\r\nContent-Length: {REQUEST_SIZE_MAX + 1}\r\n\r\n"

    with socket.create_connection((HOST, server.port), TIMEOUT_S) as connection:
        connection.sendall(head.encode())  # and no body
        answer = connection.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_of_the_largest_size_is_read(server: WitnessServer) -> None:
    assert ask(server.port, "POST", ADD_CHECKPOINT_PATH, b"a" * REQUEST_SIZE_MAX)[0] == 400


@pytest.mark.parametrize(
    ("raw", "start"),
    [
        (b"POST /add-checkpoint HTTP/1.1\r\n\r\n", b"HTTP/1.1 411 "),
        (
            b"POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 411 ",
        ),
        (
            b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            b"HTTP/1.1 411 ",
        ),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 400 "),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n", b"HTTP/1.1 400 "),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 90\r\n\r\ncut off", b""),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b""),
        (b"\r\n\r\n", b""),
        (b"", b""),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"HTTP/1.1 431 "),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a" * 300_000, b""),
        (b"GET /" + b"a" * 300_000, b""),
    ],
)
def test_bytes_that_are_no_request_are_refused_and_hurt_nobody(
    server: WitnessServer, raw: bytes, start: bytes
) -> None:
    try:
        answer = exchange(server.port, raw)
    except ConnectionError:  # closed while we were still sending
        answer = b""

    assert answer.startswith(start) if start else b" 200 " not in answer
    assert add(server.port, LOG.request(0, 8))[0] == 200


def test_a_body_that_nobody_asked_for_is_no_second_request(server: WitnessServer) -> None:
    inner = b"GET / HTTP/1.1\r\n\r\n"
    head = f"GET / HTTP/1.1\r\nContent-Length: {len(inner)}\r\n\r\n".encode()

    assert exchange(server.port, head + inner).count(b"HTTP/1.1 ") == 1


def test_a_connection_is_kept_for_further_requests(server: WitnessServer) -> None:
    connection = HTTPConnection(HOST, server.port, timeout=TIMEOUT_S)
    connection.connect()
    first = connection.sock
    for old_size, size, status in ((0, 5, 200), (0, 8, 409), (5, 8, 200)):
        connection.request(
            "POST", ADD_CHECKPOINT_PATH, format_add_checkpoint(LOG.request(old_size, size))
        )
        with connection.getresponse() as response:
            response.read()
            assert response.status == status
    assert connection.sock is first
    connection.close()


def test_two_submissions_at_once_give_one_cosignature_and_one_size(server: WitnessServer) -> None:
    start = threading.Barrier(2)

    def submit(history: GrowingLog) -> int:
        start.wait(TIMEOUT_S)
        return add(server.port, history.request(0, 8))[0]

    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(submit, (LOG, FORKED)))

    assert statuses == [200, 409]


def test_one_address_cannot_take_all_connections(server: WitnessServer) -> None:
    held = [
        socket.create_connection((HOST, server.port), TIMEOUT_S)
        for _ in range(CONNECTIONS_PER_ADDRESS_MAX)
    ]
    with socket.create_connection((HOST, server.port), TIMEOUT_S) as refused:
        assert refused.recv(1) == b""  # closed at once
    for connection in held:
        connection.close()
    assert answered_in_the_end(server.port)


def test_connections_that_come_too_fast_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness_server, "CONNECTIONS_PER_S_MAX", 1)
    with served_witness(tmp_path / "data") as server:
        assert add(server.port, LOG.request(0, 8))[0] == 200
        with socket.create_connection((HOST, server.port), TIMEOUT_S) as refused:
            assert refused.recv(1) == b""
        assert answered_in_the_end(server.port)


def answered_in_the_end(port: int) -> bool:
    """Ask until there is an answer: what was refused is closed on the server's side a bit later."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        try:
            return ask(port, "GET", "/")[0] == 404
        except ConnectionError:
            continue
    return False


def test_the_server_stops_though_somebody_holds_a_connection(tmp_path: Path) -> None:
    with served_witness(tmp_path / "data") as server:
        idle = socket.create_connection((HOST, server.port), TIMEOUT_S)
        half = socket.create_connection((HOST, server.port), TIMEOUT_S)
        half.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 90\r\n\r\nhalf")
        assert ask(server.port, "GET", "/")[0] == 404
        began_s = time.monotonic()
    stopped_s = time.monotonic() - began_s
    idle.close()
    half.close()

    assert stopped_s < witness_server.REQUEST_S / 3


def bounded(size: int, time_s: float) -> tuple[socket.socket, BoundedReader]:
    ours, theirs = socket.socketpair()
    reader = BoundedReader(ours, ours.makefile("rb"))
    ours.close()  # the stream keeps it open
    reader.allow(size=size, time_s=time_s)
    return theirs, reader


def test_a_reader_takes_no_more_bytes_than_allowed() -> None:
    theirs, reader = bounded(5, TIMEOUT_S)
    with theirs, reader:
        theirs.sendall(b"123456")
        assert reader.read(4) == b"1234"
        assert reader.read(4) == b"5"
        with pytest.raises(ConnectionAbortedError, match="too much"):
            reader.read(1)
        reader.allow(size=1, time_s=TIMEOUT_S)
        assert reader.read(4) == b"6"


def test_a_reader_gives_up_however_often_something_small_comes() -> None:
    theirs, reader = bounded(1_000_000, 0.1)
    with theirs, reader:
        theirs.sendall(b"a" * 100)
        while True:
            try:
                reader.read(1)
            except TimeoutError:
                break
            theirs.sendall(b"a")
