"""PeerService: what the other voters may ask of this node."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn

import grpc
import grpc.aio

from lotmark.admission import AdmissionAnswer
from lotmark.batch import Batch
from lotmark.errors import ProtocolError
from lotmark.v1 import peer_pb2, peer_pb2_grpc
from lotmark_consensus.errors import ConsensusError
from lotmark_consensus.raft.grpc_wire import GrpcWire
from lotmark_node.engine.admission import Answer, Submission
from lotmark_node.engine.errors import EngineError
from lotmark_node.engine.ledger_engine import LedgerEngine
from lotmark_node.engine.stored_block import PlacedBatch
from lotmark_node.rpc.identity import Identities
from lotmark_node.rpc.refused_calls import RefusedFor
from lotmark_node.rpc.status import status_of_error

BLOCKS_PER_CALL_MAX = 10_000
REFUSALS_WAITING_MAX = 1_000  # of batches that a voter forwards; beside those of one message

Context = grpc.aio.ServicerContext[Any, Any]


class PeerService(peer_pb2_grpc.PeerServiceServicer):
    """Serves the consortium's other voters; everybody else is refused."""

    def __init__(self, engine: LedgerEngine, identities: Identities, wire: GrpcWire) -> None:
        self._engine = engine
        self._identities = identities
        self._wire = wire
        self._voters = {f"{voter.party}/{voter.node}" for voter in engine.genesis.voters}
        self._voters.discard(engine.name)

    async def Exchange(  # noqa: N802 - the name is fixed by the proto
        self, request_iterator: AsyncIterator[peer_pb2.ExchangeRequest], context: Context
    ) -> AsyncIterator[peer_pb2.ExchangeResponse]:
        """Take a voter's part of the order's messages."""
        peer = await self._peer(context, "Exchange")
        async for response in self._wire.serve_exchange(peer, request_iterator, context):
            yield response

    async def Forward(  # noqa: N802 - the name is fixed by the proto
        self, request_iterator: AsyncIterator[peer_pb2.ForwardRequest], context: Context
    ) -> AsyncIterator[peer_pb2.ForwardResponse]:
        """Take batches that another voter has admitted, while this node leads."""
        await self._peer(context, "Forward")
        refusals: asyncio.Queue[peer_pb2.ForwardResponse | None] = asyncio.Queue()
        reading = asyncio.create_task(self._take_forwarded(request_iterator, refusals))
        try:
            while (refusal := await refusals.get()) is not None:
                yield refusal
                refusals.task_done()
            if problem := await reading:
                await context.abort(*problem)
        finally:
            reading.cancel()

    async def _take_forwarded(
        self,
        requests: AsyncIterator[peer_pb2.ForwardRequest],
        refusals: asyncio.Queue[peer_pb2.ForwardResponse | None],
    ) -> tuple[grpc.StatusCode, str] | None:
        """Submit what comes in; return why the stream ended early."""

        def answer(admission: AdmissionAnswer, detail: str) -> None:
            if not admission.accepted:
                refusals.put_nowait(
                    peer_pb2.ForwardResponse(
                        batch_id=admission.batch_id, reason=admission.reason, detail=detail
                    )
                )

        try:
            async for request in requests:
                if not self._engine.leadership.leads:
                    return (
                        grpc.StatusCode.FAILED_PRECONDITION,
                        f"{self._engine.name} does not lead; send to whoever does",
                    )
                await self._submit(request.batches, answer)
                if refusals.qsize() > REFUSALS_WAITING_MAX:
                    await refusals.join()  # who does not read refusals is not read either
            return None
        finally:
            refusals.put_nowait(None)

    async def _submit(self, raws: Sequence[bytes], answer: Answer) -> None:
        engine, admission = self._engine, self._engine.admission
        with engine.clock.stage("parse"):
            parsed = [admission.parse(raw, answer) for raw in raws]
        batches: list[Batch] = [batch for batch in parsed if batch is not None]
        holding = await engine.signatures.verify_many(
            [(each.header.signer, each.signed_message, each.signature) for each in batches]
        )
        for batch, holds in zip(batches, holding, strict=True):
            await admission.room()
            with engine.clock.stage("admit"):
                admission.submit(Submission(batch, holds, answer, _acknowledge_nobody))

    async def FetchBlocks(  # noqa: N802 - the name is fixed by the proto
        self, request: peer_pb2.FetchBlocksRequest, context: Context
    ) -> AsyncIterator[peer_pb2.FetchedBlock]:
        """Give committed blocks; a slow reader is waited for."""
        await self._peer(context, "FetchBlocks")
        if not (request.from_height and 1 <= request.count <= BLOCKS_PER_CALL_MAX):
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"{request.count} blocks from height {request.from_height}; ask for 1 to"
                f" {BLOCKS_PER_CALL_MAX} from height 1 or more",
            )
        end = min(request.from_height + request.count, self._engine.state.height + 1)
        try:
            for height in range(request.from_height, end):
                ordered = self._engine.store.ordered(height)
                yield peer_pb2.FetchedBlock(
                    height=height, index=ordered.index, term=ordered.term, block=ordered.block
                )
        except EngineError as error:
            await _fail(context, error)

    async def ShareCheckpoint(  # noqa: N802 - the name is fixed by the proto
        self, request: peer_pb2.ShareCheckpointRequest, context: Context
    ) -> peer_pb2.ShareCheckpointResponse:
        """Cosign a checkpoint that this node's ledger agrees with."""
        peer = await self._peer(context, "ShareCheckpoint")
        loop = asyncio.get_running_loop()
        cosign = self._engine.checkpoints.cosign_shared
        try:
            note = await loop.run_in_executor(None, cosign, peer, request.note)
        except (EngineError, ProtocolError) as error:
            await _fail(context, error)
        return peer_pb2.ShareCheckpointResponse(note=note or b"")

    async def ReadIndex(  # noqa: N802 - the name is fixed by the proto
        self, request: peer_pb2.ReadIndexRequest, context: Context
    ) -> peer_pb2.ReadIndexResponse:
        """Return an index that covers all that was acknowledged before, while this node leads."""
        await self._peer(context, "ReadIndex")
        if not self._engine.leadership.leads:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"{self._engine.name} does not lead"
            )
        try:
            return peer_pb2.ReadIndexResponse(index=await self._engine.read_index())
        except (EngineError, ConsensusError) as error:
            await _fail(context, error)

    async def _peer(self, context: Context, rpc: str) -> str:
        """Return which voter calls, or end the call."""
        refused = self._identities.refused
        try:
            caller = self._identities.caller(context.auth_context())
        except ProtocolError as error:
            refused.add(RefusedFor.IDENTITY, rpc, peer=context.peer(), text=str(error))
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        name = f"{caller.party}/{caller.node}"
        if name not in self._voters:
            problem = f"{name} is no other voter of this consortium; clients call LedgerService"
            refused.add(RefusedFor.ACCESS, rpc, peer=context.peer(), text=problem)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, problem)
        return name


def _acknowledge_nobody(_placed: PlacedBatch) -> None:
    """Whoever admitted the batch applies it too, and tells its author."""


async def _fail(context: Context, error: Exception) -> NoReturn:
    await context.abort(status_of_error(error), str(error))
