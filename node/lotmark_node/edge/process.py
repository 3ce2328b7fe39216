"""Builds an edge site from its settings and runs it until it is told to stop."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lotmark.client.client import Client
from lotmark.client.settings import read_client_settings
from lotmark_node.edge.edge_metrics import edge_registry
from lotmark_node.edge.edge_site import EdgeSite, check_sources, open_site
from lotmark_node.edge.site_certificates import ends_ms
from lotmark_node.edge.site_settings import SiteSettings
from lotmark_node.monitoring.http_listener import HttpListener

FLUSH_S = 10.0  # for the outbox to be emptied

logger = logging.getLogger(__name__)


def run_site(
    settings: SiteSettings,
    ready: Callable[[EdgeSite, str | None], None],
    *,
    is_insecure: bool = False,
) -> int:
    """Run a site until the process gets SIGTERM or SIGINT; to be called in the main thread.

    Args:
        settings: The site's.
        ready: Called once the session has begun, with the address of the listener for monitoring.
        is_insecure: Whether an OPC UA server may be watched that nobody knows.

    Returns:
        How many events wait in the outbox for the next run.

    Raises:
        ProtocolError, EdgeError, AdapterError, OSError: It cannot start.
    """
    check_sources(settings, is_insecure=is_insecure)
    client = Client(read_client_settings(settings.client))
    try:
        asyncio.run(_run(settings, client, ready, is_insecure=is_insecure))
    except BaseException:
        client.close(timeout_s=0.0)
        raise
    return client.close(timeout_s=FLUSH_S)


async def _run(
    settings: SiteSettings,
    client: Client,
    ready: Callable[[EdgeSite, str | None], None],
    *,
    is_insecure: bool,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_site(settings, client, is_insecure=is_insecure) as site:
        with _monitored(site) as metrics:
            ready(site, metrics)
            await site.run(stop)


@contextmanager
def _monitored(site: EdgeSite) -> Iterator[str | None]:
    """Answer whoever watches the process, and give the address; None: the settings name none.

    Raises:
        OSError: The address cannot be used.
    """
    settings = site.settings
    if settings.metrics_listen is None:
        yield None
        return
    registry = edge_registry(site, lambda: ends_ms(settings))
    listener = HttpListener(settings.metrics_listen, registry, site.not_ready)
    try:
        yield listener.address
    finally:
        listener.stop()
