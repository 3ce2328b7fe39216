"""A witness that serves on loopback, in threads of this process."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from lotmark.tlog_witness import ADD_CHECKPOINT_PATH, AddCheckpoint, format_add_checkpoint
from lotmark_node.witness.server import WitnessServer
from lotmark_node.witness.witness import WatchedLog
from tests.node.witness.growing_log import open_witness

HOST = "127.0.0.1"
TIMEOUT_S = 20


@contextmanager
def served_witness(
    data: Path, *logs: WatchedLog, tls: ssl.SSLContext | None = None, port: int = 0
) -> Iterator[WitnessServer]:
    witness = open_witness(data, *logs)
    server = WitnessServer(HOST, port, witness, tls)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    try:
        yield server
    finally:
        server.stop()
        serving.join(TIMEOUT_S)
        witness.close()


def ask(
    port: int, method: str, path: str, body: bytes | None = None
) -> tuple[int, str | None, bytes]:
    """Return status, content type and body of an answer, over a connection of its own."""
    connection = HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body)
        with connection.getresponse() as response:
            return response.status, response.getheader("Content-Type"), response.read()
    finally:
        connection.close()


def add(port: int, request: AddCheckpoint) -> tuple[int, str | None, bytes]:
    return ask(port, "POST", ADD_CHECKPOINT_PATH, format_add_checkpoint(request))
