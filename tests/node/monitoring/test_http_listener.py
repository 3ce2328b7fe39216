"""The listener answers whoever watches, within bounds, and never anything else."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest
from prometheus_client import CollectorRegistry, Gauge

from lotmark.network_address import split_address
from lotmark_node.monitoring.bounded_http import CONNECTIONS_MAX, BoundedHandler
from lotmark_node.monitoring.http_listener import HttpListener

ANSWER_MAX_S = 10.0


class Watched:
    """A listener, and why what it watches is not ready."""

    def __init__(self) -> None:
        self.reason: str | None = None
        registry = CollectorRegistry()
        Gauge("lots", "Lots.", registry=registry).set(7)
        self.listener = HttpListener("127.0.0.1:0", registry, lambda: self.reason)

    def get(self, path: str) -> tuple[int, str, str]:
        connection = HTTPConnection(self.listener.address, timeout=ANSWER_MAX_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(split_address(self.listener.address), ANSWER_MAX_S)


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    yield made
    made.listener.stop()


def test_metrics_are_in_the_text_format_of_prometheus(watched: Watched) -> None:
    status, kind, text = watched.get("/metrics")

    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "\nlots 7.0\n" in text


def test_life_and_readiness_are_told_apart(watched: Watched) -> None:
    assert watched.get("/readyz")[::2] == (200, "ready\n")
    watched.reason = "the disk is full"

    assert watched.get("/readyz")[::2] == (503, "the disk is full\n")
    assert watched.get("/healthz")[::2] == (200, "alive\n")


def test_another_path_is_told_what_there_is(watched: Watched) -> None:
    assert watched.get("/")[::2] == (404, "ask for /metrics, /healthz or /readyz\n")


def test_other_methods_are_refused(watched: Watched) -> None:
    with watched.connect() as asker:
        asker.sendall(b"DELETE /metrics HTTP/1.0\r\n\r\n")
        assert asker.recv(1_000).startswith(b"HTTP/1.0 501 ")


def test_an_asker_that_says_nothing_is_let_go(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedHandler, "request_s", 0.05)

    with watched.connect() as asker:
        assert asker.recv(1) == b""


def test_a_request_beyond_the_bound_is_cut_off(watched: Watched) -> None:
    with watched.connect() as asker:
        asker.sendall(b"GET /metrics HTTP/1.0\r\n" + b"X: " + b"y" * 20_000)
        heard = b""
        try:
            while piece := asker.recv(1_000):
                heard += piece
        except ConnectionResetError:
            pass

    assert b"lots" not in heard


def test_more_askers_than_the_bound_are_closed_and_room_comes_again(watched: Watched) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            asker = stack.enter_context(watched.connect())
            asker.sendall(b"GET /metrics HTTP/1.0\r\n")  # and no end of it: holds a thread
        one_more = stack.enter_context(watched.connect())
        assert one_more.recv(1) == b""

    for _ in range(1_000):
        try:
            assert watched.get("/healthz")[0] == 200
            return
        except (ConnectionError, OSError):
            continue
    raise AssertionError("no room came again")


def test_an_address_in_use_is_named_with_what_to_do(watched: Watched) -> None:
    with pytest.raises(OSError, match=r"^cannot listen at .*: .* `metrics_listen`$"):
        HttpListener(watched.listener.address, CollectorRegistry(), lambda: None)
