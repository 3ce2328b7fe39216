"""A real engine behind a real gRPC server with mTLS, on one event loop with its clients."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from lotmark.admission import AdmissionAnswer
from lotmark.batch import Batch, sign_batch
from lotmark.certificates import tls_name
from lotmark.ed25519 import PrivateKey
from lotmark.genesis import Genesis, Parameters
from lotmark.key_file import read_key_file
from lotmark.key_grant import KeyPurpose
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc
from lotmark_consensus.raft.grpc_wire import GrpcWire
from lotmark_node.compose import now_ms, read_node_keys
from lotmark_node.consortium.found import PARAMETERS, found_consortium
from lotmark_node.consortium.plan import make_plan
from lotmark_node.engine.ledger_engine import LedgerEngine
from lotmark_node.node_settings import read_node_settings
from lotmark_node.rpc.contract_service import ContractService
from lotmark_node.rpc.identity import Identities
from lotmark_node.rpc.ledger_service import LedgerService
from lotmark_node.rpc.peer_service import PeerService
from lotmark_node.rpc.provenance_service import ProvenanceService
from lotmark_node.rpc.server import start_server
from lotmark_node.tls_pair import TlsPair

PARTIES = (
    "OEM-A:oem", "T1-STATOR:supplier", "LAB-17025:laboratory", "SITE-1:site", "NOTARY:notary",
    "REG-EU:regulator",
)  # fmt: skip
CALL_S = 20.0
ASKS_MAX = 20  # of one call whose own client cuts it off
# What gRPC's client says by itself where it was still sending when the node had refused the call;
# the node's answer is lost then, and the call has to be made again.
CUT_OFF = "Internal error from Core"


class FoundedConsortium:
    """A consortium of one party of each role, each with a client `erp`; OEM-A runs the node."""

    def __init__(self, folder: Path, parameters: Parameters = PARAMETERS) -> None:
        self.folder = folder
        plan = make_plan("stator-line", PARTIES, ["OEM-A/n1@127.0.0.1:0"], [])
        founded = found_consortium(
            folder, plan, now_ms=time.time_ns() // 1_000_000, parameters=parameters
        )
        self.genesis, self.chain_id = founded.genesis, founded.chain_id
        self.settings = read_node_settings(folder / "OEM-A/nodes/n1/node.toml")

    def tls(self, party: str, holder: str = "erp") -> tuple[bytes, bytes]:
        """Return certificate and key of a client, PEM."""
        folder = self.folder / party / "clients" / holder
        return (folder / "cert.pem").read_bytes(), (folder / "key.pem").read_bytes()

    def ca(self, party: str) -> tuple[bytes, bytes]:
        """Return certificate and key of a party's CA, PEM."""
        folder = self.folder / party / "ca"
        return (folder / "ca.pem").read_bytes(), (folder / "ca.key").read_bytes()

    def batch_key(self, party: str, holder: str = "erp") -> PrivateKey:
        return read_key_file(self.folder / party / "clients" / holder / "batch.key")

    @cached_property
    def admit_key(self) -> bytes:
        """The public key with which the node signs its answers."""
        (key,) = [
            first.grant.key
            for first in self.genesis.keys
            if first.grant.purpose is KeyPurpose.ADMIT
        ]
        return key


@dataclass
class Author:
    """Signs batches of one lane, one after the other."""

    consortium: FoundedConsortium
    party: str
    lane: int = 0
    sequence: int = 0
    previous: bytes = field(default=bytes(32))

    def batch(self, events: Iterable[bytes], **header: Any) -> Batch:
        """Sign the next batch; a batch with other header fields leaves the lane where it is."""
        fields: dict[str, Any] = {
            "chain_id": self.consortium.chain_id,
            "party": self.party,
            "lane": self.lane,
            "sequence": self.sequence + 1,
            "previous": self.previous,
            "created_at_ms": now_ms(),
        }
        key = header.pop("key", None) or self.consortium.batch_key(self.party)
        made = sign_batch(key, events, **{**fields, **header})
        if not header:
            self.sequence, self.previous = made.header.sequence, made.batch_id
        return made


class ServedLedger:
    """An engine and its server, and channels to it."""

    def __init__(
        self,
        consortium: FoundedConsortium,
        engine: LedgerEngine,
        identities: Identities,
        provenance: ProvenanceService,
        port: int,
        stack: AsyncExitStack,
    ) -> None:
        self.consortium, self.engine, self.port = consortium, engine, port
        self.provenance = provenance
        self.identities = identities
        self.genesis: Genesis = consortium.genesis
        self._stack = stack
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def channel(
        self, *, certificate: bytes | None, key: bytes | None, roots: bytes | None = None
    ) -> grpc.aio.Channel:
        """Return a channel with any certificate, or none."""
        credentials = grpc.ssl_channel_credentials(
            root_certificates=roots or self.consortium.ca("OEM-A")[0],
            private_key=key,
            certificate_chain=certificate,
        )
        name = tls_name("OEM-A", "n1", self.consortium.chain_id)
        options: list[tuple[str, Any]] = [
            ("grpc.ssl_target_name_override", name),
            ("grpc.max_receive_message_length", 32 << 20),
            ("grpc.max_send_message_length", 32 << 20),
        ]
        made = grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options)
        return await self._stack.enter_async_context(made)

    async def channel_of(self, party: str) -> grpc.aio.Channel:
        """Return the channel of a party's client."""
        if party not in self._channels:
            certificate, key = self.consortium.tls(party)
            self._channels[party] = await self.channel(certificate=certificate, key=key)
        return self._channels[party]

    def use_channel(self, party: str, channel: grpc.aio.Channel) -> None:
        """Let a party's calls go over this channel from now on."""
        self._channels[party] = channel

    async def stub(self, party: str) -> "ledger_pb2_grpc.LedgerServiceAsyncStub":
        """Return the ledger's service as a party's client calls it."""
        return ledger_pb2_grpc.LedgerServiceStub(await self.channel_of(party))

    def author(self, party: str = "T1-STATOR", lane: int = 0) -> Author:
        return Author(self.consortium, party, lane)

    async def put(self, *batches: Batch, party: str = "T1-STATOR") -> list[Any]:
        """Submit batches, and return their acknowledgements once all are on the log."""
        stub = await self.stub(party)
        request = ledger_pb2.SubmitRequest(batches=[batch.raw for batch in batches])
        response = await stub.Submit(request, timeout=CALL_S)
        found = {
            answer.acknowledgement.batch_id: answer.acknowledgement
            for answer in response.answers
            if answer.HasField("acknowledgement")
        }
        return [found[batch.batch_id] for batch in batches]

    def check_signature(self, admission: ledger_pb2.Admission) -> None:
        """Check that the node signed an admission answer as it stands on the wire."""
        AdmissionAnswer(
            batch_id=admission.batch_id,
            accepted=admission.accepted,
            reason=admission.reason,
            admitted_at_ms=admission.admitted_at_ms,
            due_ms=admission.due_ms,
            checkpoint_size=admission.checkpoint_size,
            checkpoint_root=admission.checkpoint_root,
            node=admission.node,
            signature=admission.signature,
        ).verify(self.consortium.admit_key, self.consortium.chain_id)


@asynccontextmanager
async def served(
    consortium: FoundedConsortium, data: Path, *, free_size_min: int = 0
) -> AsyncIterator[ServedLedger]:
    """Serve a ledger of the consortium in a folder of its own."""
    settings = consortium.settings
    engine = LedgerEngine(
        data,
        consortium.genesis,
        party="OEM-A",
        node="n1",
        keys=read_node_keys(settings, consortium.genesis),
        now_ms=now_ms,
        free_size_min=free_size_min,
    )
    engine.start()
    identities = Identities(engine.membership, engine.chain_id, "OEM-A", now_ms)
    acceptances = settings.acceptances.read_bytes()
    provenance = ProvenanceService(engine, identities)
    wire = GrpcWire(asyncio.get_running_loop(), engine.chain_id, dial_nobody)
    pair = TlsPair(settings.tls_certificate.read_bytes(), settings.tls_key.read_bytes())
    serving = await start_server(
        LedgerService(engine, identities, acceptances, certificate_not_after_ms=lambda: 0),
        provenance,
        ContractService(engine, identities, provenance.answers),
        PeerService(engine, identities, wire),
        engine.membership,
        address="127.0.0.1:0",
        tls=lambda: pair,
    )
    try:
        async with AsyncExitStack() as stack:
            yield ServedLedger(consortium, engine, identities, provenance, serving.port, stack)
    finally:
        await serving.server.stop(0)
        provenance.answers.close()
        await engine.stop()


def dial_nobody(peer: str) -> grpc.aio.Channel:
    raise AssertionError(f"this node is the only voter, so it dials no {peer}")


async def answers_of(
    served_ledger: ServedLedger,
    messages: Sequence[Sequence[bytes]],
    *,
    party: str = "T1-STATOR",
    answer_count: int,
) -> list[ledger_pb2.SubmitAnswer]:
    """Send messages over one stream, and return its first answers."""
    stub = await served_ledger.stub(party)
    call = stub.SubmitStream(timeout=CALL_S)
    for batches in messages:
        await call.write(ledger_pb2.SubmitRequest(batches=batches))
    answers: list[ledger_pb2.SubmitAnswer] = []
    while len(answers) < answer_count:
        response = await call.read()
        assert isinstance(response, ledger_pb2.SubmitResponse), f"ended after {len(answers)}"
        answers.extend(response.answers)
    call.cancel()
    return answers
