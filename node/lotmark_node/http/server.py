"""The HTTP server, on a thread and an event loop of its own.

Not on the node's loop, where a body that is parsed or a schema that is checked would hold up the
next block; and the sealing desk waits for the node by plain calls, which no event loop may do.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lotmark.network_address import split_address

if TYPE_CHECKING:
    from fastapi import FastAPI

REQUESTS_MAX = 64  # at once; further ones are told 503
KEEP_ALIVE_S = 5
START_S = 20.0
STOP_S = 15.0
BACKLOG = 128
CERTIFICATE = "certificate"  # in a request's state: what its connection showed, DER; or None


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The node's certificate and its key, PEM."""

    certificate: Path
    key: Path
    clients_ca: str | None = None  # PEM; callers may show a certificate that it issued


class _Connection(H11Protocol):
    """A connection whose requests tell which certificate was shown in its handshake."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        shown = tls.getpeercert(binary_form=True) if tls is not None else None
        self.app_state = {**self.app_state, CERTIFICATE: shown}


class HttpServer:
    """A running HTTP server.

    Attributes:
        address: host:port that it listens at.
    """

    def __init__(self, app: "FastAPI", address: str, tls: TlsFiles | None) -> None:
        """Begin to serve.

        Args:
            app: The application.
            address: host:port; port 0 takes a free one.
            tls: None: in clear.

        Raises:
            OSError: The address cannot be used.
        """
        host, port = split_address(address)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise OSError(
                f"cannot listen at {address}: {error.strerror}; change http_listen in node.toml"
            ) from error
        self.address = f"{address.rpartition(':')[0]}:{self._socket.getsockname()[1]}"
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        config = uvicorn.Config(
            app,
            http=_Connection,
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=REQUESTS_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(STOP_S / 2),
            ssl_certfile=str(tls.certificate) if tls else None,
            ssl_keyfile=str(tls.key) if tls else None,
            ssl_context_factory=_asking(tls.clients_ca) if tls and tls.clients_ca else None,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()
        if not self._started.wait(START_S):
            raise OSError(f"the HTTP server at {self.address} did not start within {START_S:g} s")

    def renew_certificate(self) -> None:
        """Show callers who connect from now on what the certificate's files hold now."""
        tls, context = self._tls, self._server.config.ssl
        if tls is not None and context is not None:
            # On the server's own thread: a handshake sees the old pair or the new one.
            self._loop.call_soon_threadsafe(context.load_cert_chain, tls.certificate, tls.key)

    def stop(self) -> None:
        """End, once the requests that are worked on are answered, or after a while."""
        self._server.should_exit = True
        self._thread.join(STOP_S)
        self._socket.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        asyncio.get_running_loop().call_soon(self._started.set)
        await self._server.serve(sockets=[self._socket])


def _asking(
    ca_pem: str,
) -> Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext]:
    """Return what makes a TLS context that asks callers for a certificate, and needs none."""

    def make(_config: uvicorn.Config, make_default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        context = make_default()
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=ca_pem)
        return context

    return make
