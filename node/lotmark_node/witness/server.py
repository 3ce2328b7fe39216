"""A witness's HTTP server: C2SP tlog-witness for whoever connects, within written bounds.

The signature on a checkpoint is the only proof that is asked for, so anybody may connect. Each
connection has a thread; their number, their rate, and the bytes and the time of each request are
bounded, so that nobody can keep others from being served for long.
"""

import io
import logging
import re
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TypeAlias

from lotmark.errors import MalformedError
from lotmark.signed_note import format_note
from lotmark.tlog_witness import (
    ADD_CHECKPOINT_PATH,
    REQUEST_SIZE_MAX,
    SIZE_CONTENT_TYPE,
    checkpoint_path,
    format_cosignatures,
    format_size,
    parse_add_checkpoint,
)
from lotmark_node.engine.refusal_log import RefusalLog
from lotmark_node.witness.bounded_reader import BoundedReader
from lotmark_node.witness.errors import (
    CheckpointRefused,
    MemoryRefused,
    NotConsistent,
    NotSignedByLog,
    OldSizeDiffers,
    UnknownLog,
)
from lotmark_node.witness.witness import Witness

CONNECTIONS_MAX = 64
CONNECTIONS_PER_ADDRESS_MAX = 16
CONNECTIONS_PER_S_MAX = 50  # a TLS handshake costs milliseconds of the processor
HANDSHAKE_S = 10.0
REQUEST_S = 30.0  # from the end of the last answer to the end of the next request
ANSWER_S = 10.0
HEADER_SIZE_MAX = 16 << 10

STATUS_OF_REFUSAL: dict[type[CheckpointRefused], HTTPStatus] = {
    UnknownLog: HTTPStatus.NOT_FOUND,
    NotSignedByLog: HTTPStatus.FORBIDDEN,
    OldSizeDiffers: HTTPStatus.CONFLICT,
    NotConsistent: HTTPStatus.UNPROCESSABLE_ENTITY,
}

_PLAIN = "text/plain; charset=utf-8"
_LENGTH = re.compile(r"[0-9]{1,10}")
_Request: TypeAlias = socket.socket | tuple[bytes, socket.socket]  # as socketserver is typed

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Connection:
    """An open connection: its address, and what to read from, which TLS replaces once."""

    address: str
    socket: socket.socket


class WitnessServer(socketserver.ThreadingTCPServer):
    """Serves one witness: `serve_forever` in one thread, `stop` in another."""

    allow_reuse_address = True
    request_queue_size = CONNECTIONS_MAX
    answered: Counter[HTTPStatus]  # since the start
    refused_count: int  # connections that were not taken

    def __init__(
        self, host: str, port: int, witness: Witness, tls: ssl.SSLContext | None = None
    ) -> None:
        """Listen at an address; port 0 takes a free one.

        Raises:
            OSError: The address cannot be used.
        """
        self.witness = witness
        self.origin_by_path = {checkpoint_path(origin): origin for origin in witness.logs}
        self.is_stopping = False
        self._tls = tls
        self._lock = threading.Lock()
        self.answered, self.refused_count = Counter(), 0
        self._open: dict[object, _Connection] = {}  # by the socket that was accepted
        self._refusals = RefusalLog(logger, "connection refused")
        self._allowed_count, self._allowed_at_s = float(CONNECTIONS_PER_S_MAX), time.monotonic()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self.socket.getsockname()[1]
        return port

    def show(self, tls: ssl.SSLContext) -> None:
        """Show another certificate to whoever connects from now on."""
        self._tls = tls

    def stop(self) -> None:
        """Take nothing more, answer what has come in whole, and return when all is done."""
        self.shutdown()
        with self._lock:
            self.is_stopping = True
            for connection in self._open.values():
                with suppress(OSError):  # it may have ended meanwhile
                    # Not the method of a TLS socket, which would let go of what its thread uses.
                    socket.socket.shutdown(connection.socket, socket.SHUT_RD)
        self.server_close()  # waits for the threads

    def verify_request(self, request: _Request, client_address: tuple[str, int]) -> bool:
        """Return whether the connection is taken; socketserver closes it otherwise."""
        assert isinstance(request, socket.socket), "a TCP server accepts sockets"
        address = client_address[0]
        now_s = time.monotonic()
        earned = (now_s - self._allowed_at_s) * CONNECTIONS_PER_S_MAX
        self._allowed_count = min(self._allowed_count + earned, CONNECTIONS_PER_S_MAX)
        self._allowed_at_s = now_s
        with self._lock:
            of_address = sum(item.address == address for item in self._open.values())
            is_taken = (
                self._allowed_count >= 1
                and len(self._open) < CONNECTIONS_MAX
                and of_address < CONNECTIONS_PER_ADDRESS_MAX
            )
            if is_taken:
                self._open[request] = _Connection(address, request)
        if is_taken:
            self._allowed_count -= 1
        else:
            self.refused_count += 1
            self._refusals.add(address=address)
        return is_taken

    def count(self, status: HTTPStatus) -> None:
        """Take note of an answer."""
        with self._lock:
            self.answered[status] += 1

    def finish_request(self, request: _Request, client_address: tuple[str, int]) -> None:
        """Serve a connection in its thread, after the handshake where there is TLS."""
        assert isinstance(request, socket.socket), "a TCP server accepts sockets"
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(HANDSHAKE_S)
        with self._tls.wrap_socket(request, server_side=True) as connection:
            with self._lock:
                if self.is_stopping:
                    return
                self._open[request].socket = connection
            super().finish_request(connection, client_address)

    def shutdown_request(self, request: _Request) -> None:
        """Close a connection."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: _Request, client_address: tuple[str, int]) -> None:
        """Log what ended a connection: the other side's doing, unless it is no OSError."""
        error = sys.exception()
        told = {"address": client_address[0], "reason": str(error)}
        if isinstance(error, OSError):
            logger.debug("connection ended", extra=told)
        else:
            logger.error("connection ended by a fault of ours", exc_info=error, extra=told)


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection, one after the other."""

    server: WitnessServer
    protocol_version = "HTTP/1.1"
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = _PLAIN
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Read within bounds from here on."""
        super().setup()
        self._reader = BoundedReader(self.connection, self.rfile)
        self.rfile = io.BufferedReader(self._reader)

    def version_string(self) -> str:
        """Return what is said about this program."""
        return "lotmark-witness"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Log what the library says of a request."""
        logger.debug("request", extra={"address": self.client_address[0], "said": format % args})

    def handle_one_request(self) -> None:
        """Read a request and answer it, or close the connection."""
        self._reader.allow(size=HEADER_SIZE_MAX + REQUEST_SIZE_MAX, time_s=REQUEST_S)
        super().handle_one_request()
        if self.server.is_stopping:
            self.close_connection = True

    def do_POST(self) -> None:
        """Answer `add-checkpoint`."""
        body = self._read_body()
        if body is None:
            return
        if self.path != ADD_CHECKPOINT_PATH:
            self._refuse(HTTPStatus.NOT_FOUND, f"POST to {ADD_CHECKPOINT_PATH} only")
            return
        try:
            request = parse_add_checkpoint(body)
            cosignature = self.server.witness.add(request)
        except MalformedError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except OldSizeDiffers as error:
            self._answer(HTTPStatus.CONFLICT, format_size(error.size), SIZE_CONTENT_TYPE)
        except CheckpointRefused as error:
            self._refuse(STATUS_OF_REFUSAL[type(error)], str(error))
        except (MemoryRefused, OSError) as error:
            logger.error("memory cannot be written", extra={"reason": str(error)})
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "the witness cannot write its memory")
        else:
            self._answer(HTTPStatus.OK, format_cosignatures([cosignature], request.note.text))

    def _read_body(self) -> bytes | None:
        """Return the request's body, or None after an answer that says why it is not read."""
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1:
            self._refuse_unread(HTTPStatus.LENGTH_REQUIRED, "give one Content-Length")
        elif not _LENGTH.fullmatch(lengths[0]):
            self._refuse_unread(HTTPStatus.BAD_REQUEST, "Content-Length is no number of bytes")
        elif int(lengths[0]) > REQUEST_SIZE_MAX:
            self._refuse_unread(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {REQUEST_SIZE_MAX} bytes"
            )
        else:
            body = self.rfile.read(int(lengths[0]))
            if len(body) == int(lengths[0]):
                return body
            self.close_connection = True  # cut off: nobody waits for an answer
        return None

    def do_GET(self) -> None:
        """Answer monitors, which ask what was cosigned last."""
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # the body that nobody asked for is not read
        origin = self.server.origin_by_path.get(self.path)
        newest = self.server.witness.newest(origin) if origin is not None else None
        if newest is None:
            self._refuse(HTTPStatus.NOT_FOUND, "nothing was cosigned under this path")
        else:
            self._answer(HTTPStatus.OK, format_note(newest))

    def _refuse_unread(self, status: HTTPStatus, reason: str) -> None:
        """Refuse a request whose body stays where it is, so that nothing can follow it."""
        self.close_connection = True
        self._refuse(status, reason)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._answer(status, f"{reason}\n".encode())

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str = _PLAIN) -> None:
        self.server.count(status)
        self.connection.settimeout(ANSWER_S)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
