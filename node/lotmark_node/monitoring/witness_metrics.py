"""A witness's metrics, read when somebody asks for them."""

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from lotmark.checkpoint import parse_checkpoint
from lotmark_node.monitoring.families import counter, counters, gauges
from lotmark_node.witness.server import WitnessServer


def witness_registry(
    server: WitnessServer, certificates: Callable[[], Mapping[str, int]], now_ms: Callable[[], int]
) -> CollectorRegistry:
    """Return all metrics of a witness and of its process.

    Args:
        server: The witness's.
        certificates: Returns when its own certificate ends, Unix time in ms; none without TLS.
        now_ms: Unix time.
    """
    registry = CollectorRegistry()
    registry.register(WitnessMetrics(server, certificates, now_ms))
    ProcessCollector(registry=registry)
    return registry


class WitnessMetrics(Collector):
    """Reads a running witness, from any thread."""

    def __init__(
        self,
        server: WitnessServer,
        certificates: Callable[[], Mapping[str, int]],
        now_ms: Callable[[], int],
    ) -> None:
        self._server = server
        self._certificates = certificates
        self._now_ms = now_ms

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it is now; logs are named, as many as the settings list."""
        yield gauges("build_info", "Always 1.", "version", {version("lotmark"): 1})
        witness = self._server.witness
        sizes = {}
        for origin in witness.logs:
            newest = witness.newest(origin)
            sizes[origin] = 0.0 if newest is None else float(parse_checkpoint(newest.text).size)
        yield gauges("witness_cosigned_size", "Largest tree cosigned of a log.", "origin", sizes)
        yield counters(
            "witness_answers",
            "Requests answered, by HTTP status.",
            ("status",),
            [((str(int(status)),), count) for status, count in dict(self._server.answered).items()],
        )
        yield counter(
            "witness_connections_refused",
            "Connections that were not taken, by the server's bounds.",
            self._server.refused_count,
        )
        now_ms = self._now_ms()
        yield gauges(
            "certificate_expiry_seconds",
            "Until a certificate of this process ends.",
            "certificate",
            {name: (end_ms - now_ms) / 1_000 for name, end_ms in self._certificates().items()},
        )
