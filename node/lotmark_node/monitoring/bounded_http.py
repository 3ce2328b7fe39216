"""A small HTTP server with threads of its own: connections, bytes and seconds are bounded."""

import io
import logging
import socket
import socketserver
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import ClassVar, TypeAlias

from lotmark.network_address import split_address
from lotmark_node.witness.bounded_reader import BoundedReader

CONNECTIONS_MAX = 8  # at once; further ones are closed
ANSWER_S = 5.0
PLAIN = "text/plain; charset=utf-8"

_Request: TypeAlias = socket.socket | tuple[bytes, socket.socket]  # as socketserver is typed

logger = logging.getLogger(__name__)


class BoundedHttpServer(socketserver.ThreadingTCPServer):
    """Answers from its making to its stop."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, address: str, handler: "type[BoundedHandler]", *, setting: str) -> None:
        """Listen at an address and begin to answer; port 0 takes a free one.

        Args:
            address: host:port.
            handler: Answers one request of one connection.
            setting: The key in the settings that names the address, for messages.

        Raises:
            OSError: The address cannot be used.
        """
        host, port = split_address(address)
        self._free = threading.Semaphore(CONNECTIONS_MAX)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), handler)
        except OSError as error:
            raise OSError(
                f"cannot listen at {address}: {error.strerror}; is another process there? Stop it,"
                f" or change `{setting}`"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        self.address = f"{shown}:{self.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self.serve_forever, name=setting, daemon=True)
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
        logger.debug("connection ended", exc_info=True)


class BoundedHandler(BaseHTTPRequestHandler):
    """Answers one request of one connection.

    Attributes:
        request_size_max: Bytes that are read of a connection.
        request_s: Within which they have to come.
    """

    request_size_max: ClassVar[int] = 16 << 10
    request_s: ClassVar[float] = 5.0

    def setup(self) -> None:
        """Read within bounds from here on."""
        super().setup()
        reader = BoundedReader(self.connection, self.rfile)
        reader.allow(size=self.request_size_max, time_s=self.request_s)
        self.rfile = io.BufferedReader(reader)

    def version_string(self) -> str:
        """Return what is said about this program."""
        return "lotmark"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Say nothing of each request."""

    def answer(self, status: HTTPStatus, body: bytes, content_type: str = PLAIN) -> None:
        """Answer the request."""
        self.connection.settimeout(ANSWER_S)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
