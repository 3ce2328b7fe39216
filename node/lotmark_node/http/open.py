"""Makes the HTTP endpoint of a node from its settings."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from lotmark.client import Client, LedgerSession
from lotmark.client.connection import read_pinned_genesis
from lotmark.client.provenance_records import FoundEvent
from lotmark.client.settings import ClientSettings
from lotmark_node.http.api_keys import ApiKeyFile, now_ms, parse_rights
from lotmark_node.http.app import make_app
from lotmark_node.http.client_certificates import ClientCertificates
from lotmark_node.http.doorkeeper import Doorkeeper
from lotmark_node.http.epcis.capture_desk import CaptureDesk
from lotmark_node.http.epcis.capture_jobs import CaptureJobs
from lotmark_node.http.epcis.capture_reading import twins
from lotmark_node.http.epcis.event_desk import EventDesk
from lotmark_node.http.epcis.interface import EpcisDesks
from lotmark_node.http.epcis.shown_events import epcis_events
from lotmark_node.http.node_sessions import NodeSessions
from lotmark_node.http.rate_limit import TokenBuckets
from lotmark_node.http.sealing_desk import SealingDesk
from lotmark_node.http.server import HttpServer, TlsFiles
from lotmark_node.http.service import api_keys_file, read_service
from lotmark_node.node_settings import NodeSettings, parse_origins

CAPTURE_JOBS_NAME = "capture-jobs.db"  # in the node's data folder
QUERY_SESSIONS_MAX = 4  # queries that are worked on at once; one more is kept for capturing


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """A running endpoint."""

    server: HttpServer
    desks: ExitStack

    def close(self) -> None:
        """End it."""
        self.server.stop()
        self.desks.close()


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
    with ExitStack() as desks:
        sealing, epcis = open_desks(own, settings.data / CAPTURE_JOBS_NAME, desks)
        certificates = _certificates(settings, own)
        doorkeeper = Doorkeeper(
            ApiKeyFile(api_keys_file(settings)), service, TokenBuckets(), certificates
        )
        app = make_app(
            sealing,
            doorkeeper,
            epcis=epcis,
            origins=parse_origins(settings.http_origins) if settings.http_origins else (),
        )
        tls = None
        if endpoint.is_tls:
            clients_ca = certificates.ca_pem if certificates else None
            tls = TlsFiles(settings.tls_certificate, settings.tls_key, clients_ca)
        return HttpEndpoint(HttpServer(app, endpoint.address, tls), desks.pop_all())


def _certificates(
    settings: NodeSettings, client_settings: ClientSettings
) -> ClientCertificates | None:
    """Return who may come in by certificate; None: nobody."""
    if not settings.http_certificates:
        return None
    own = read_pinned_genesis(client_settings).party(settings.party)
    assert own is not None, "the node is a voter of the genesis"
    rights = {holder: parse_rights(text) for holder, text in settings.http_certificates.items()}
    return ClientCertificates(settings.party, own.ca_pem, client_settings.chain_id, rights, now_ms)


def open_desks(
    client_settings: ClientSettings, jobs_file: Path, opened: ExitStack
) -> tuple[SealingDesk, EpcisDesks]:
    """Open what does the work.

    Args:
        client_settings: In whose name, and with which node.
        jobs_file: Where capture jobs are kept.
        opened: Closes it, the client last.

    Raises:
        ProtocolError, OSError: A file cannot be used.
    """

    def open_session() -> LedgerSession:
        return LedgerSession(client_settings)

    client = Client(client_settings)
    sealing = SealingDesk(client, open_session)
    opened.callback(sealing.close)
    sessions, capturing = (NodeSessions(open_session, each) for each in (QUERY_SESSIONS_MAX, 1))
    opened.callback(sessions.close)
    opened.callback(capturing.close)
    events = EventDesk(sessions)
    jobs = CaptureJobs(jobs_file, chain_id=client_settings.chain_id)
    opened.callback(jobs.close)
    capture = CaptureDesk(jobs, client, EventDesk(capturing).source, _twins_of)
    opened.callback(capture.close)
    return sealing, EpcisDesks(capture, events)


def _twins_of(found: FoundEvent) -> list[bytes]:
    return twins(epcis_events(found.event.epcis_document.document))
