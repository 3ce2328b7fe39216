"""Makes the HTTP endpoint of a node from its settings."""

from dataclasses import dataclass, replace

from lotmark.client import Client, LedgerSession
from lotmark_node.http.api_keys import ApiKeyFile
from lotmark_node.http.app import make_app
from lotmark_node.http.doorkeeper import Doorkeeper
from lotmark_node.http.rate_limit import TokenBuckets
from lotmark_node.http.sealing_desk import SealingDesk
from lotmark_node.http.server import HttpServer, TlsFiles
from lotmark_node.http.service import api_keys_file, read_service
from lotmark_node.node_settings import NodeSettings


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """A running endpoint."""

    server: HttpServer
    desk: SealingDesk

    def close(self) -> None:
        """End it."""
        self.server.stop()
        self.desk.close()


def open_endpoint(settings: NodeSettings, grpc_address: str) -> HttpEndpoint:
    """Serve HTTP as a node's settings say.

    Args:
        settings: Of the node; `http` in them says where and as whom.
        grpc_address: host:port at which the node itself takes calls.

    Raises:
        SettingsError: The client is of another party.
        ProtocolError, OSError: A file cannot be used, or the address.
    """
    endpoint = settings.http
    assert endpoint is not None, "who calls this has looked"
    service, client_settings = read_service(settings)
    # Whatever its file says: this endpoint is one of this very node.
    own = replace(
        client_settings,
        node_party=settings.party,
        node_name=settings.node,
        node_address=grpc_address,
        other_nodes=(),
    )
    client = Client(own)
    desk = SealingDesk(client, lambda: LedgerSession(own))
    try:
        doorkeeper = Doorkeeper(ApiKeyFile(api_keys_file(settings)), service, TokenBuckets())
        tls = TlsFiles(settings.tls_certificate, settings.tls_key) if endpoint.is_tls else None
        return HttpEndpoint(HttpServer(make_app(desk, doorkeeper), endpoint.address, tls), desk)
    except BaseException:
        desk.close()
        raise
