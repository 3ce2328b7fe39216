"""A relay between a client and a node that loses answers when it is told to, as a network does."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

PIECE_SIZE = 65_536
WAIT_S = 20


class CuttingRelay:
    """Hands on what both sides send; after `lose_answers`, only what the client sends."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._losing: Callable[[], None] | None = None
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    @property
    def address(self) -> str:
        """Where clients connect, host:port."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def lose_answers(self, until: Callable[[], None]) -> None:
        """Swallow the next answer, call `until`, and cut the connection when that returns."""
        self._losing = until

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cut every connection and take no more; a second time does nothing."""
        _hang_up(self._listener)
        for each in self._open:
            _hang_up(each)
        for thread in self._threads:
            thread.join(WAIT_S)

    def _run(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                node = socket.create_connection(self.target, WAIT_S)
            except OSError:  # the node is down
                _hang_up(client)
                continue
            self._open += [client, node]
            self._run(self._hand_on_questions, client, node)
            self._run(self._hand_on_answers, node, client)

    def _hand_on_questions(self, client: socket.socket, node: socket.socket) -> None:
        _hand_on(client, node, lambda: False)

    def _hand_on_answers(self, node: socket.socket, client: socket.socket) -> None:
        _hand_on(node, client, self._lost)

    def _lost(self) -> bool:
        until, self._losing = self._losing, None
        if until is None:
            return False
        until()
        return True


def _hand_on(source: socket.socket, sink: socket.socket, lost: Callable[[], bool]) -> None:
    with suppress(OSError):  # the other side has hung up
        while (piece := source.recv(PIECE_SIZE)) and not lost():
            sink.sendall(piece)
    _hang_up(source)
    _hang_up(sink)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # it is down already
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
