"""The gRPC server: mTLS, health, reflection, and the services of a node."""

from collections.abc import Callable
from dataclasses import dataclass

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lotmark.v1 import (
    contract_queries_pb2,
    contract_queries_pb2_grpc,
    ledger_pb2,
    ledger_pb2_grpc,
    peer_pb2_grpc,
    provenance_pb2,
    provenance_pb2_grpc,
)
from lotmark_consensus.raft.grpc_wire import SERVER_OPTIONS
from lotmark_node.engine.membership import Membership
from lotmark_node.rpc.contract_service import ContractService
from lotmark_node.rpc.ledger_service import LedgerService
from lotmark_node.rpc.peer_service import PeerService
from lotmark_node.rpc.provenance_service import ProvenanceService
from lotmark_node.tls_pair import TlsPair

SERVICE = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name
PROVENANCE = provenance_pb2.DESCRIPTOR.services_by_name["ProvenanceService"].full_name
CONTRACTS = contract_queries_pb2.DESCRIPTOR.services_by_name["ContractService"].full_name
STOP_GRACE_S = 5.0
CALLS_MAX = 512  # at once, streams included; further ones are told RESOURCE_EXHAUSTED


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that takes calls."""

    server: grpc.aio.Server
    healths: health.aio.HealthServicer
    port: int

    async def tell_health(self, takes_events: bool) -> None:
        """Answer health checks of the service; queries go on either way."""
        status = health_pb2.HealthCheckResponse
        await self.healths.set(SERVICE, status.SERVING if takes_events else status.NOT_SERVING)


async def start_server(
    service: LedgerService,
    provenance: ProvenanceService,
    contracts: ContractService,
    peers: PeerService | None,
    membership: Membership,
    *,
    address: str,
    tls: Callable[[], TlsPair],
) -> Serving:
    """Serve at an address; port 0 takes a free one.

    Args:
        service: The ledger's service.
        provenance: Answers where things come from.
        contracts: Answers what rules have made of events.
        peers: What other voters may ask; None where there are none.
        membership: Names the parties whose clients may connect, at each moment.
        address: host:port to listen at.
        tls: Returns the node's certificate and key as they are now; asked for each connection, in
            a thread of gRPC's.

    Raises:
        OSError: The address cannot be used.
    """
    server = grpc.aio.server(
        maximum_concurrent_rpcs=CALLS_MAX,
        options=[*SERVER_OPTIONS, ("grpc.so_reuseport", 0)],
    )
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(service, server)
    provenance_pb2_grpc.add_ProvenanceServiceServicer_to_server(provenance, server)
    contract_queries_pb2_grpc.add_ContractServiceServicer_to_server(contracts, server)
    if peers is not None:
        peer_pb2_grpc.add_PeerServiceServicer_to_server(peers, server)
    healths = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healths, server)
    for name in (SERVICE, PROVENANCE, CONTRACTS, ""):
        await healths.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection(
        (SERVICE, PROVENANCE, CONTRACTS, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )

    def authorities() -> bytes:
        return "".join(membership.ca_certificates().values()).encode("ascii")

    credentials = _credentials(tls, authorities)
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise OSError(
            f"cannot listen at {address}: is another node running there? Stop it, or change"
            " `listen` in node.toml"
        ) from error
    await server.start()
    return Serving(server, healths, port)


def _credentials(
    tls: Callable[[], TlsPair], authorities: Callable[[], bytes]
) -> grpc.ServerCredentials:
    """Return credentials that meet each new connection with what holds at its time.

    Args:
        tls: Returns the certificate to show.
        authorities: Returns the CA certificates that are trusted, PEM.
    """
    shown = tls(), authorities()

    def configuration(pair: TlsPair, trusted: bytes) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(pair.key, pair.certificate)], root_certificates=trusted
        )

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        now = tls(), authorities()
        if now == shown:
            return None
        shown = now
        return configuration(*now)

    return grpc.dynamic_ssl_server_credentials(
        configuration(*shown),
        changed,  # type: ignore[arg-type]  # its stubs do not know that None means: no change
        require_client_authentication=True,
    )
