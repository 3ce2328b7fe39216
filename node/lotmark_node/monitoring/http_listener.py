"""The HTTP listener for whoever watches a process: `/metrics`, `/healthz` and `/readyz`.

It has threads of its own, so nothing that watches can hold up the work; their number, and the bytes
and the time of each request, are bounded. It asks nobody who he is and says nothing secret; it
belongs on loopback or on a network of the operator's own.
"""

import io
import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from lotmark.network_address import split_address
from lotmark_node.witness.bounded_reader import BoundedReader

CONNECTIONS_MAX = 8  # at once; further ones are closed
REQUEST_SIZE_MAX = 16 << 10
REQUEST_S = 5.0
ANSWER_S = 5.0

_PLAIN = "text/plain; charset=utf-8"
_Request: TypeAlias = socket.socket | tuple[bytes, socket.socket]  # as socketserver is typed

logger = logging.getLogger(__name__)


class HttpListener(socketserver.ThreadingTCPServer):
    """Answers from its making to its stop."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = CONNECTIONS_MAX

    def __init__(
        self, address: str, registry: CollectorRegistry, not_ready: Callable[[], str | None]
    ) -> None:
        """Listen at an address and begin to answer; port 0 takes a free one.

        Args:
            address: host:port.
            registry: What `/metrics` shows; collected in a thread of the listener's.
            not_ready: Returns why the process does not do its work now, None while it does; called
                in a thread of the listener's.

        Raises:
            OSError: The address cannot be used.
        """
        host, port = split_address(address)
        self.registry, self.not_ready = registry, not_ready
        self._free = threading.Semaphore(CONNECTIONS_MAX)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise OSError(
                f"cannot listen at {address} for metrics: {error.strerror}; is another process"
                " there? Stop it, or change `metrics_listen`"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        self.address = f"{shown}:{self.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more; what is being answered ends by its own bounds."""
        self.shutdown()
        self._thread.join()
        self.server_close()  # waits for no thread, as all are daemons

    def verify_request(self, request: _Request, client_address: tuple[str, int]) -> bool:
        """Return whether there is room for a connection; it is closed otherwise."""
        return self._free.acquire(blocking=False)

    def process_request(self, request: _Request, client_address: tuple[str, int]) -> None:
        """Answer in a thread, and make room again where none can be started."""
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: _Request, client_address: tuple[str, int]) -> None:
        """Answer, and make room again."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: _Request, client_address: tuple[str, int]) -> None:
        """Log what ended a connection before its answer."""
        logger.debug("connection of a watcher ended", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request of one connection."""

    server: HttpListener

    def setup(self) -> None:
        """Read within bounds from here on."""
        super().setup()
        reader = BoundedReader(self.connection, self.rfile)
        reader.allow(size=REQUEST_SIZE_MAX, time_s=REQUEST_S)
        self.rfile = io.BufferedReader(reader)

    def version_string(self) -> str:
        """Return what is said about this program."""
        return "lotmark"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Say nothing of each request."""

    def do_GET(self) -> None:
        """Answer."""
        match self.path.partition("?")[0]:
            case "/metrics":
                metrics = generate_latest(self.server.registry)
                self._answer(HTTPStatus.OK, metrics, CONTENT_TYPE_PLAIN_0_0_4)
            case "/healthz":
                self._answer(HTTPStatus.OK, b"alive\n")
            case "/readyz":
                if (reason := self.server.not_ready()) is None:
                    self._answer(HTTPStatus.OK, b"ready\n")
                else:
                    self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{reason}\n".encode())
            case _:
                self._answer(HTTPStatus.NOT_FOUND, b"ask for /metrics, /healthz or /readyz\n")

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str = _PLAIN) -> None:
        self.connection.settimeout(ANSWER_S)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
