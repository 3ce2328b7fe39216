"""The HTTP listener for whoever watches a process: `/metrics`, `/healthz` and `/readyz`.

It has threads of its own, so nothing that watches can hold up the work; their number, and the bytes
and the time of each request, are bounded. It asks nobody who he is and says nothing secret; it
belongs on loopback or on a network of the operator's own.
"""

from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from lotmark_node.monitoring.bounded_http import BoundedHandler, BoundedHttpServer


class HttpListener(BoundedHttpServer):
    """Answers from its making to its stop."""

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
        self.registry, self.not_ready = registry, not_ready
        super().__init__(address, _Handler, setting="metrics_listen")


class _Handler(BoundedHandler):
    server: HttpListener

    def do_GET(self) -> None:  # noqa: N802  # the library's name
        """Answer."""
        match self.path.partition("?")[0]:
            case "/metrics":
                metrics = generate_latest(self.server.registry)
                self.answer(HTTPStatus.OK, metrics, CONTENT_TYPE_PLAIN_0_0_4)
            case "/healthz":
                self.answer(HTTPStatus.OK, b"alive\n")
            case "/readyz":
                if (reason := self.server.not_ready()) is None:
                    self.answer(HTTPStatus.OK, b"ready\n")
                else:
                    self.answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{reason}\n".encode())
            case _:
                self.answer(HTTPStatus.NOT_FOUND, b"ask for /metrics, /healthz or /readyz\n")
