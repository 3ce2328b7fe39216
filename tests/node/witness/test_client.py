"""A log's client of witnesses: finds where a witness stands, and believes signatures alone."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from lotmark.certificates import make_ca, make_leaf, tls_name
from lotmark.cosignature import cosign, verify_cosignature
from lotmark.signed_note import NoteSignature
from lotmark.tlog_witness import ANSWER_SIZE_MAX, format_cosignatures
from lotmark_node.witness.client import ROUNDS_MAX, WitnessClient
from lotmark_node.witness.errors import WitnessAhead, WitnessRefused, WitnessUnavailable
from lotmark_node.witness.process import tls_context
from lotmark_node.witness.settings import TlsFiles
from tests.node.witness.growing_log import (
    FORKED,
    LOG,
    NOW_S,
    WITNESS_KEY,
    WITNESS_NAME,
    WITNESS_VKEY,
    GrowingLog,
)
from tests.node.witness.served_witness import HOST, TIMEOUT_S, served_witness

CHAIN_ID = bytes(range(32))
ANSWERED_S = 0.5  # for what never answers


class AskedPath:
    """Proofs of a log, and for which sizes they were wanted."""

    def __init__(self, log: GrowingLog) -> None:
        self._log = log
        self.asked: list[tuple[int, int]] = []

    def __call__(self, first_size: int, second_size: int) -> Sequence[bytes]:
        self.asked.append((first_size, second_size))
        return self._log.path(first_size, second_size)


def client_of(port: int, prefix: str = "", *, timeout_s: float = TIMEOUT_S) -> WitnessClient:
    return WitnessClient(f"http://{HOST}:{port}{prefix}", [WITNESS_VKEY], timeout_s=timeout_s)


def check(signatures: Sequence[NoteSignature], size: int) -> None:
    (signature,) = signatures
    assert verify_cosignature(LOG.note(size).text, signature, WITNESS_VKEY) == NOW_S


def test_each_checkpoint_of_a_growing_log_is_cosigned(tmp_path: Path) -> None:
    prove = AskedPath(LOG)
    with served_witness(tmp_path / "data") as server, closing(client_of(server.port)) as client:
        for size in (5, 8, 8, 64):
            check(client.submit(LOG.note(size), prove), size)

    assert prove.asked == [(5, 8), (8, 64)]


def test_a_client_that_knows_nothing_finds_where_the_witness_stands(tmp_path: Path) -> None:
    prove = AskedPath(LOG)
    with served_witness(tmp_path / "data") as server:
        with closing(client_of(server.port)) as first:
            first.submit(LOG.note(7), prove)
        with closing(client_of(server.port)) as second:
            check(second.submit(LOG.note(13), prove), 13)

    assert prove.asked == [(7, 13)]


def test_two_clients_of_one_log_find_each_others_sizes(tmp_path: Path) -> None:
    prove = AskedPath(LOG)
    with (
        served_witness(tmp_path / "data") as server,
        closing(client_of(server.port)) as one,
        closing(client_of(server.port)) as other,
    ):
        for client, size in ((one, 5), (other, 6), (one, 9), (other, 13), (one, 64)):
            check(client.submit(LOG.note(size), prove), size)


def test_a_witness_that_is_ahead_is_told_from_one_that_refuses(tmp_path: Path) -> None:
    with (
        served_witness(tmp_path / "data") as server,
        closing(client_of(server.port)) as client,
        closing(client_of(server.port)) as late,
    ):
        client.submit(LOG.note(13), LOG.path)
        for behind in (late, client):
            with pytest.raises(WitnessAhead, match="size 13, beyond 8"):
                behind.submit(LOG.note(8), LOG.path)
        with pytest.raises(WitnessRefused, match="422"):
            client.submit(FORKED.note(64), FORKED.path)
        check(client.submit(LOG.note(64), LOG.path), 64)


def test_a_log_that_the_witness_does_not_watch_is_refused(tmp_path: Path) -> None:
    other = GrowingLog("log.example/9")
    with (
        served_witness(tmp_path / "data") as server,
        closing(client_of(server.port)) as client,
        pytest.raises(WitnessRefused, match="404"),
    ):
        client.submit(other.note(5), other.path)


def test_a_witness_that_was_restarted_is_called_again(tmp_path: Path) -> None:
    with served_witness(tmp_path / "data") as server:
        port = server.port
        client = client_of(port)
        client.submit(LOG.note(5), LOG.path)
    with pytest.raises(WitnessUnavailable):
        client.submit(LOG.note(7), LOG.path)
    with served_witness(tmp_path / "data", port=port), closing(client):
        check(client.submit(LOG.note(8), LOG.path), 8)


def test_a_connection_that_the_witness_closed_meanwhile_costs_no_answer(tmp_path: Path) -> None:
    with served_witness(tmp_path / "data") as server:
        port = server.port
        client = client_of(port)
        client.submit(LOG.note(5), LOG.path)
    with served_witness(tmp_path / "data", port=port), closing(client):
        check(client.submit(LOG.note(8), LOG.path), 8)


def tls_files(folder: Path, ca: tuple[bytes, bytes]) -> TlsFiles:
    certificate, key = make_leaf(
        *ca,
        chain_id=CHAIN_ID,
        party="LAB-17025",
        node="w1",
        addresses=[],
        days=1,
        now_ms=time.time_ns() // 1_000_000,
    )
    files = TlsFiles(certificate=folder / "cert.pem", key=folder / "key.pem")
    files.certificate.write_bytes(certificate)
    files.key.touch(0o600)
    files.key.write_bytes(key)
    return files


def test_over_tls_only_the_named_witness_of_the_partys_ca_is_believed(tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    ca, stranger = (make_ca("LAB-17025", "stator-line", now_ms=now_ms) for _ in range(2))
    name = tls_name("LAB-17025", "w1", CHAIN_ID)
    other_name = tls_name("LAB-17025", "w2", CHAIN_ID)
    context = tls_context(tls_files(tmp_path, ca))

    def client(issuer: tuple[bytes, bytes], server_name: str) -> WitnessClient:
        return WitnessClient(
            f"https://{HOST}:{server.port}",
            [WITNESS_VKEY],
            ca_pem=issuer[0].decode(),
            server_name=server_name,
            timeout_s=TIMEOUT_S,
        )

    with served_witness(tmp_path / "data", tls=context) as server:
        with closing(client(ca, name)) as trusting:
            check(trusting.submit(LOG.note(8), LOG.path), 8)
            check(trusting.submit(LOG.note(13), LOG.path), 13)
        for wrong in (client(stranger, name), client(ca, other_name), client_of(server.port)):
            with closing(wrong), pytest.raises(WitnessUnavailable):
                wrong.submit(LOG.note(64), LOG.path)
        # A client without a CA trusts those of the system, none of which issued this.
        with (
            closing(WitnessClient(f"https://{HOST}:{server.port}", [WITNESS_VKEY])) as default,
            pytest.raises(WitnessUnavailable, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            default.submit(LOG.note(64), LOG.path)


@contextmanager
def answering(*answers: bytes | None) -> Iterator[tuple[int, list[bytes]]]:
    """Serve requests with these bytes, in turn and each on a connection of its own.

    None stands for an answer without end. Gives the port, and the first
    bytes of each request as they come.
    """
    requests: list[bytes] = []
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(TIMEOUT_S)

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(TIMEOUT_S)
                    requests.append(connection.recv(65_536))
                    try:
                        if answer is None:
                            while True:
                                connection.sendall(b"a")
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65_536):
                            pass
                    except TimeoutError:
                        raise
                    except OSError:
                        pass  # the client has gone, as it may: not every such error has its name

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield listener.getsockname()[1], requests
        finally:
            serving.join(TIMEOUT_S)
            assert not serving.is_alive(), "the client sent fewer requests than expected"


def answer_of(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def cosigned(size: int, of: Callable[[NoteSignature], NoteSignature] = lambda item: item) -> bytes:
    signature = cosign(
        LOG.note(size).text, name=WITNESS_NAME, private_key=WITNESS_KEY, time_s=NOW_S
    )
    return format_cosignatures([of(signature)], LOG.note(size).text)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (answer_of(200, b""), WitnessRefused),
        (answer_of(200, b"garbage\n"), WitnessRefused),
        (answer_of(200, cosigned(9)), WitnessRefused),
        (answer_of(200, cosigned(8) + b"\n"), WitnessRefused),
        (answer_of(200, b"a" * (ANSWER_SIZE_MAX + 1)), WitnessRefused),
        (
            answer_of(200, cosigned(8, lambda item: NoteSignature("a", item.key_id, b"s"))),
            WitnessRefused,
        ),
        (answer_of(403, b"\xff\x1b[31mno"), WitnessRefused),
        (answer_of(500, b"no"), WitnessRefused),
        (answer_of(301, b""), WitnessRefused),
        (answer_of(409, b"no size\n"), WitnessUnavailable),
        (answer_of(409, b"9\n"), WitnessAhead),
        (b"HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\ncut off", WitnessUnavailable),
        (b"HTTP/1.1 200 X\r\n" + b"a: b\r\n" * 100_000, WitnessUnavailable),
        (
            b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            WitnessUnavailable,
        ),
        (b"SSH-2.0-OpenSSH_9\r\n", WitnessUnavailable),
        (b"", WitnessUnavailable),
    ],
)
def test_an_answer_that_is_none_is_not_believed(answer: bytes, error: type[Exception]) -> None:
    with (
        answering(answer) as (port, _),
        closing(client_of(port)) as client,
        pytest.raises(error),
    ):
        client.submit(LOG.note(8), LOG.path)


def test_a_witness_that_names_another_size_each_time_is_given_up() -> None:
    sizes = [answer_of(409, f"{size}\n".encode()) for size in range(1, ROUNDS_MAX + 1)]
    with (
        answering(*sizes) as (port, requests),
        closing(client_of(port)) as client,
        pytest.raises(WitnessUnavailable, match="another size"),
    ):
        client.submit(LOG.note(8), LOG.path)

    assert len(requests) == ROUNDS_MAX


def test_a_lie_about_the_size_is_forgotten_by_the_next_call() -> None:
    with (
        answering(answer_of(409, b"1000000\n"), answer_of(200, cosigned(8))) as (port, _),
        closing(client_of(port)) as client,
    ):
        with pytest.raises(WitnessAhead):
            client.submit(LOG.note(8), LOG.path)
        check(client.submit(LOG.note(8), LOG.path), 8)


def test_a_witness_that_forgot_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    answers = [
        answer_of(200, cosigned(8)),
        answer_of(409, b"0\n"),
        answer_of(200, cosigned(13)),
    ]
    with answering(*answers) as (port, _), closing(client_of(port)) as client:
        client.submit(LOG.note(8), LOG.path)
        check(client.submit(LOG.note(13), LOG.path), 13)

    assert "witness has forgotten what it cosigned" in caplog.messages


def test_an_answer_that_never_ends_is_given_up() -> None:
    with (
        answering(None) as (port, _),
        closing(client_of(port, timeout_s=ANSWERED_S)) as client,
        pytest.raises(WitnessUnavailable),
    ):
        client.submit(LOG.note(8), LOG.path)


def test_a_witness_that_says_nothing_takes_bounded_time() -> None:
    with socket.create_server((HOST, 0)) as silent:
        port = silent.getsockname()[1]
        with (
            closing(client_of(port, timeout_s=ANSWERED_S)) as client,
            pytest.raises(WitnessUnavailable, match="TimeoutError"),
        ):
            client.submit(LOG.note(8), LOG.path)


def test_the_prefix_of_the_url_stands_before_the_call() -> None:
    with (
        answering(answer_of(200, cosigned(8))) as (port, requests),
        closing(client_of(port, "/lab/v1/")) as client,
    ):
        client.submit(LOG.note(8), LOG.path)

    assert requests[0].startswith(b"POST /lab/v1/add-checkpoint HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "w1.example:7404",
        "ftp://w1.example",
        "https://",
        "http://w1:port",
        "http://[::1",
        "https://w1.example/?a=b",
    ],
)
def test_an_address_of_no_witness_is_refused_at_once(url: str) -> None:
    with pytest.raises(WitnessUnavailable, match=r"URL|address of a witness"):
        WitnessClient(url, [WITNESS_VKEY])
