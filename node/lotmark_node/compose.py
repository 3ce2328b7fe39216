"""Builds a node from its settings and runs it: the one place where the parts meet."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lotmark import genesis as protocol_genesis
from lotmark.certificates import certificate_not_after_ms
from lotmark.ed25519 import PrivateKey
from lotmark.errors import SignatureError
from lotmark.genesis import Genesis
from lotmark.key_file import read_key_file
from lotmark.key_grant import KeyPurpose
from lotmark.key_rules import REPLACEABLE
from lotmark_node import collector
from lotmark_node.engine.errors import EngineError
from lotmark_node.engine.ledger_engine import LedgerEngine, MakeCosigners, NodeKeys
from lotmark_node.monitoring.http_listener import HttpListener
from lotmark_node.monitoring.node_metrics import node_registry, not_ready
from lotmark_node.node_settings import NodeSettings, check_peers
from lotmark_node.rpc.checkpoint_peers import checkpoint_peers
from lotmark_node.rpc.contract_service import ContractService
from lotmark_node.rpc.grpc_peers import GrpcPeers
from lotmark_node.rpc.identity import Identities
from lotmark_node.rpc.ledger_service import LedgerService
from lotmark_node.rpc.peer_service import PeerService
from lotmark_node.rpc.provenance_service import ProvenanceService
from lotmark_node.rpc.server import STOP_GRACE_S, Serving, start_server
from lotmark_node.tls_pair import RenewedPair

if TYPE_CHECKING:
    from lotmark_node.http.open import HttpEndpoint

RENEWAL_CHECK_S = 10.0
SWITCH_INTERVAL_S = 0.001  # so that no thread keeps the others waiting for Python's usual 5 ms


def now_ms() -> int:
    """Return the clock of this machine, Unix time in ms."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class RunningNode:
    """What a node tells when it is ready."""

    name: str
    chain_id: bytes
    host: str
    port: int
    height: int
    size: int
    metrics: str | None  # host:port of the listener for monitoring
    http: str | None  # host:port of the HTTP endpoint


def read_consortium(settings: NodeSettings) -> tuple[Genesis, bytes]:
    """Return the genesis and the acceptances' bytes, both checked.

    Raises:
        ProtocolError: They do not hold.
        OSError: A file cannot be read.
    """
    genesis = protocol_genesis.parse_genesis(settings.genesis.read_bytes())
    acceptances = settings.acceptances.read_bytes()
    chain_id = protocol_genesis.chain_id(genesis.to_json())
    protocol_genesis.check_acceptances(
        genesis, chain_id, protocol_genesis.parse_acceptances(acceptances)
    )
    return genesis, acceptances


def read_node_keys(settings: NodeSettings, genesis: Genesis) -> NodeKeys:
    """Return the node's keys, none of which the genesis gives to somebody or something else.

    A proposal or cosign key that it does not know may have been registered later; the engine asks
    its ledger.

    Raises:
        ProtocolError: A key file cannot be used, or holds another key.
        OSError: A file cannot be read.
    """

    def read(path: Path, purpose: KeyPurpose) -> PrivateKey:
        key = read_key_file(path)
        granted = {first.grant.key: first.grant for first in genesis.keys}
        grant = granted.get(key.public)
        own = settings.party, settings.node, purpose
        if grant is None and purpose in REPLACEABLE:
            return key
        if grant is not None and (grant.party, grant.holder, grant.purpose) == own:
            return key
        raise SignatureError(
            f"{path}: the genesis gives {settings.party}/{settings.node} another key for"
            f" {purpose.name.lower()}; name the right file"
        )

    return NodeKeys(
        proposal=read(settings.proposal_key, KeyPurpose.PROPOSAL),
        log=read(settings.log_key, KeyPurpose.LOG),
        cosign=read(settings.cosign_key, KeyPurpose.COSIGN),
        admit=read(settings.admit_key, KeyPurpose.ADMIT),
    )


async def run_node(settings: NodeSettings, ready: Callable[[RunningNode], None]) -> None:
    """Run a node until it gets SIGTERM or SIGINT; with a failed ledger it still answers queries.

    Raises:
        ProtocolError, EngineError, ConsensusError, OSError: It cannot start, or has failed.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    genesis, acceptances = read_consortium(settings)
    check_peers(settings, genesis)
    tls = RenewedPair(settings.tls_owner, genesis, now_ms)
    peers = _open_peers(settings, genesis, tls)
    keys = read_node_keys(settings, genesis)
    engine = LedgerEngine(
        settings.data,
        genesis,
        party=settings.party,
        node=settings.node,
        keys=keys,
        now_ms=now_ms,
        peers=peers,
        cosigners=_cosigners(settings, protocol_genesis.chain_id(genesis.to_json()), peers),
        certificate_not_after_ms=lambda: tls.current.not_after_ms,
    )
    stop = _stop_event()
    identities = Identities(engine.membership, engine.chain_id, settings.party, now_ms)
    provenance = ProvenanceService(engine, identities)
    monitor: HttpListener | None = None
    try:
        engine.check_keys(keys)
        engine.start()
        collector.settle()
        serving = await start_server(
            LedgerService(
                engine,
                identities,
                acceptances,
                certificate_not_after_ms=lambda: tls.current.not_after_ms,
            ),
            provenance,
            ContractService(engine, identities, provenance.answers),
            PeerService(engine, identities, peers.wire) if peers else None,
            engine.membership,
            address=settings.listen,
            tls=lambda: tls.current,
        )
        monitor = _open_monitor(settings, engine, identities, tls)
        http = await _open_http(settings, serving.port)
        try:
            ready(_running(settings, engine, serving, monitor, http))
            telling = asyncio.create_task(_tell_health(engine, serving))
            renewing = asyncio.create_task(_renew(tls, peers, http))
            await stop.wait()
            telling.cancel()
            renewing.cancel()
        finally:
            if http is not None:
                await asyncio.to_thread(http.close)  # while the node still answers it
        ending = asyncio.create_task(serving.server.stop(STOP_GRACE_S))
        if peers is None:
            await ending  # calls under way find the whole engine
        else:
            await engine.stop()  # hands over and ends the voters' streams, which no grace would
            await ending
    finally:
        provenance.answers.close()
        await engine.stop()
        if peers is not None:
            await peers.close()
        if monitor is not None:
            monitor.stop()
    if engine.failure is not None:
        raise EngineError(f"the ledger had failed: {engine.failure}") from engine.failure


def _running(
    settings: NodeSettings,
    engine: LedgerEngine,
    serving: Serving,
    monitor: HttpListener | None,
    http: "HttpEndpoint | None",
) -> RunningNode:
    head = engine.state.bases[-1]
    return RunningNode(
        name=engine.name,
        chain_id=engine.chain_id,
        host=settings.listen.rpartition(":")[0],
        port=serving.port,
        height=head.height,
        size=head.size,
        metrics=monitor.address if monitor else None,
        http=http.server.address if http else None,
    )


def _open_monitor(
    settings: NodeSettings, engine: LedgerEngine, identities: Identities, tls: RenewedPair
) -> HttpListener | None:
    """Answer whoever watches this node, where its settings say so.

    Raises:
        OSError: The address cannot be used.
    """
    if settings.metrics_listen is None:
        return None
    own = engine.genesis.party(settings.party)
    assert own is not None, "the node is a voter of the genesis"
    ca_end_ms = certificate_not_after_ms(own.ca_pem.encode())
    return HttpListener(
        settings.metrics_listen,
        node_registry(
            engine, identities, lambda: {"node": tls.current.not_after_ms, "ca": ca_end_ms}
        ),
        lambda: not_ready(engine),
    )


async def _open_http(settings: NodeSettings, port: int) -> "HttpEndpoint | None":
    """Serve HTTP where the settings say so.

    Raises:
        ProtocolError, OSError: It cannot be served.
    """
    if settings.http is None:
        return None
    from lotmark_node.http.open import open_endpoint  # half a second, for those who want it

    host = settings.listen.rpartition(":")[0]
    own = "127.0.0.1" if host in ("0.0.0.0", "[::]") else host  # noqa: S104  # compared, not bound
    return await asyncio.to_thread(open_endpoint, settings, f"{own}:{port}")


def _open_peers(settings: NodeSettings, genesis: Genesis, tls: RenewedPair) -> GrpcPeers | None:
    """Return the other voters; None where this node is the only one."""
    if not settings.peers:
        return None
    return GrpcPeers(
        genesis,
        protocol_genesis.chain_id(genesis.to_json()),
        addresses=settings.peers,
        tls=lambda: tls.current,
    )


def _cosigners(
    settings: NodeSettings, chain_id: bytes, peers: GrpcPeers | None
) -> MakeCosigners | None:
    """Return what makes this node's cosigners known to its engine; None: there are none."""
    if peers is None and not settings.witnesses:
        return None
    loop = asyncio.get_running_loop()
    return lambda tree, policy, ca_certificates: checkpoint_peers(
        ca_certificates,
        chain_id,
        policy,
        peers=peers,
        witnesses=settings.witnesses,
        tree=tree,
        loop=loop,
    )


async def _renew(tls: RenewedPair, peers: GrpcPeers | None, http: "HttpEndpoint | None") -> None:
    """Take a renewed certificate while the node runs: callers see it, and peers are shown it."""
    while True:
        await asyncio.sleep(RENEWAL_CHECK_S)
        if not tls.renew():
            continue
        if http is not None:
            http.server.renew_certificate()
        if peers is not None:
            await peers.renew()


async def _tell_health(engine: LedgerEngine, serving: Serving) -> None:
    """Tell health checks whether events are taken, whenever that changes."""
    changed = asyncio.Event()
    changed.set()
    engine.on_closed = lambda _outcome: changed.set()
    while await changed.wait():
        changed.clear()
        await serving.tell_health(engine.admission.closed is None)


def _stop_event() -> asyncio.Event:
    """Return the event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
