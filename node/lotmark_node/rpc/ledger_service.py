"""LedgerService over the engine. Queries read the store; submissions go through admission."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager

import grpc
import grpc.aio

from lotmark.ed25519 import PUBLIC_KEY_SIZE
from lotmark.entry import EntryKind
from lotmark.errors import MalformedError, ProtocolError
from lotmark.merkle import HASH_SIZE
from lotmark.outcome import Outcome
from lotmark.snapshot import GovernanceEntry
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc
from lotmark_node.engine.admission import Submission
from lotmark_node.engine.errors import EngineError
from lotmark_node.engine.ledger_engine import LedgerEngine
from lotmark_node.engine.log_reader import kind_of
from lotmark_node.rpc.access import Caller
from lotmark_node.rpc.answers import AnswerQueue, OwedAdmission, OwedAnswer, oversize
from lotmark_node.rpc.call_admission import CallAdmission, Context, fail
from lotmark_node.rpc.entry_filter import EntryFilter, entry_message
from lotmark_node.rpc.identity import Identities
from lotmark_node.rpc.node_status import node_status
from lotmark_node.rpc.seal_search import find_seals
from lotmark_node.rpc.snapshot_exports import SnapshotExports
from lotmark_node.rpc.status import status_of_error, status_of_outcome
from lotmark_node.state_machine.batch_rules import lane_row

BATCHES_PER_MESSAGE_MAX = 256
MESSAGE_SIZE_MAX = 4 << 20
RECEIPTS_MAX = 1_000
ENTRIES_PER_MESSAGE = 256


class LedgerService(ledger_pb2_grpc.LedgerServiceServicer):
    """Serves one ledger."""

    def __init__(
        self,
        engine: LedgerEngine,
        identities: Identities,
        acceptances: bytes,
        *,
        certificate_not_after_ms: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._certificate_not_after_ms = certificate_not_after_ms
        self._calls = CallAdmission(engine, identities)
        self._acceptances = acceptances
        self._exports = SnapshotExports(engine, acceptances)

    async def SubmitStream(  # noqa: N802 - the name is fixed by the proto
        self, request_iterator: AsyncIterator[ledger_pb2.SubmitRequest], context: Context
    ) -> AsyncIterator[ledger_pb2.SubmitResponse]:
        """Take batches and answer each."""
        caller = await self._calls.caller(context, "SubmitStream")
        with self._calls.while_member(context, caller), self._answers() as answers:
            reading = asyncio.create_task(self._read(request_iterator, answers))
            try:
                while ready := await answers.take():
                    yield ledger_pb2.SubmitResponse(answers=await self._signed(ready))
                await self._refuse_if_failed(context)
                if problem := await reading:
                    await context.abort(*problem)
            finally:
                reading.cancel()

    @contextmanager
    def _answers(self) -> Iterator[AnswerQueue]:
        """Give what a call is owed; it is broken off where the ledger fails."""
        answers = AnswerQueue()
        failing = asyncio.create_task(self._engine.failed.wait())
        failing.add_done_callback(lambda _: answers.break_off())
        try:
            yield answers
        finally:
            failing.cancel()

    async def _refuse_if_failed(self, context: Context) -> None:
        if self._engine.failed.is_set():
            await context.abort(
                grpc.StatusCode.UNAVAILABLE,
                f"the ledger of {self._engine.name} stopped taking events; send what was not"
                " acknowledged again once its operator has restarted it",
            )

    async def _read(
        self, requests: AsyncIterator[ledger_pb2.SubmitRequest], answers: AnswerQueue
    ) -> tuple[grpc.StatusCode, str] | None:
        """Submit what comes in, no faster than it is worked off; return why it ended early."""
        try:
            async for request in requests:
                if problem := oversize(request, BATCHES_PER_MESSAGE_MAX, MESSAGE_SIZE_MAX):
                    return grpc.StatusCode.INVALID_ARGUMENT, problem
                await self._submit(request.batches, answers)
            return None
        except EngineError as error:
            answers.break_off()
            return status_of_error(error), str(error)
        except BaseException:
            answers.break_off()  # or whoever waits for the rest would wait for ever
            raise
        finally:
            answers.finish()

    async def _submit(self, raws: Sequence[bytes], answers: AnswerQueue) -> None:
        """Submit the batches of one message."""
        admission = self._engine.admission
        with self._engine.clock.stage("parse"):
            for _ in raws:
                answers.expect()
            parsed = [admission.parse(raw, answers.admitted) for raw in raws]
        batches = [batch for batch in parsed if batch is not None]
        holding = await self._engine.signatures.verify_many(
            [(each.header.signer, each.signed_message, each.signature) for each in batches]
        )
        for batch, holds in zip(batches, holding, strict=True):
            await answers.room()
            await admission.room()
            with self._engine.clock.stage("admit"):
                admission.submit(Submission(batch, holds, answers.admitted, answers.acknowledged))

    async def _signed(self, answers: Sequence[OwedAnswer]) -> list[ledger_pb2.SubmitAnswer]:
        """Return answers on the wire, the admissions signed."""
        chain_id = self._engine.chain_id
        admissions = [each for each in answers if isinstance(each, OwedAdmission)]
        signatures = await self._engine.signatures.sign_many(
            [each.answer.signed_message(chain_id) for each in admissions]
        )
        for each, signature in zip(admissions, signatures, strict=True):
            each.signature = signature
        return [each.message() for each in answers]

    async def Submit(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.SubmitRequest, context: Context
    ) -> ledger_pb2.SubmitResponse:
        """Take a few batches and wait for all their answers."""
        await self._calls.caller(context, "Submit")
        if problem := oversize(request, BATCHES_PER_MESSAGE_MAX, MESSAGE_SIZE_MAX):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
        response = ledger_pb2.SubmitResponse()
        with self._answers() as answers:
            try:
                await self._submit(request.batches, answers)
            except EngineError as error:
                await fail(context, error)
            answers.finish()
            while ready := await answers.take():
                response.answers.extend(await self._signed(ready))
        await self._refuse_if_failed(context)
        admissions = [each.admission for each in response.answers if each.HasField("admission")]
        if admissions and not any(each.accepted for each in admissions):
            first = admissions[0]
            status = status_of_outcome(Outcome(first.reason))
            signed = (("lotmark-admission-bin", first.SerializeToString()),)
            await context.abort(status, first.detail, signed)
        return response

    async def GetLaneState(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.GetLaneStateRequest, context: Context
    ) -> ledger_pb2.GetLaneStateResponse:
        """Tell where a lane stands."""
        await self._calls.caller(context, "GetLaneState")
        if len(request.key) != PUBLIC_KEY_SIZE:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"a key has {PUBLIC_KEY_SIZE} bytes, this one {len(request.key)}",
            )
        try:
            row = lane_row(self._engine.store, request.key, request.lane)
        except EngineError as error:
            await fail(context, error)
        return ledger_pb2.GetLaneStateResponse(
            sequence=row.sequence,
            batch_id=row.batch_id if row.sequence else b"",
            batch_index=row.batch_index,
            closed=row.closed,
        )

    async def GetEntry(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.GetEntryRequest, context: Context
    ) -> ledger_pb2.Entry:
        """Return one entry."""
        caller = await self._calls.caller(context, "GetEntry")
        reader = self._engine.reader
        try:
            if request.WhichOneof("name") == "event_id":
                if len(request.event_id) != HASH_SIZE:
                    raise MalformedError(f"an event id has {HASH_SIZE} bytes")
                entry = reader.find_event(request.event_id)
            else:
                entry = reader.entry(request.index)
        except (EngineError, ProtocolError) as error:
            await fail(context, error)
        return entry_message(entry, caller)

    async def GetInclusionProof(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.GetInclusionProofRequest, context: Context
    ) -> ledger_pb2.GetInclusionProofResponse:
        """Prove an entry."""
        await self._calls.caller(context, "GetInclusionProof")
        try:
            size = self._proven_size(request.size)
            tree = self._engine.store.tree
            path = tree.inclusion_path(request.index, size)
            return ledger_pb2.GetInclusionProofResponse(size=size, root=tree.root(size), path=path)
        except (EngineError, ProtocolError) as error:
            await fail(context, error)

    async def GetConsistencyProof(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.GetConsistencyProofRequest, context: Context
    ) -> ledger_pb2.GetConsistencyProofResponse:
        """Prove that a tree only grew."""
        await self._calls.caller(context, "GetConsistencyProof")
        try:
            size = self._proven_size(request.second_size)
            tree = self._engine.store.tree
            path = tree.consistency_path(request.first_size, size)
            return ledger_pb2.GetConsistencyProofResponse(
                second_size=size,
                first_root=tree.root(request.first_size),
                second_root=tree.root(size),
                path=path,
            )
        except (EngineError, ProtocolError) as error:
            await fail(context, error)

    def _proven_size(self, asked: int) -> int:
        """Return the tree size to prove under: only what a signed checkpoint covers."""
        newest = self._engine.checkpoint().head.size
        if asked > newest:
            raise EngineError(f"size {asked} is not signed yet; the newest checkpoint has {newest}")
        return asked or newest

    async def GetReceipts(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.GetReceiptsRequest, context: Context
    ) -> AsyncIterator[ledger_pb2.Receipt]:
        """Return a receipt for each event in a range of entries."""
        caller = await self._calls.caller(context, "GetReceipts")
        if not 1 <= request.entry_count <= RECEIPTS_MAX:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"entry_count {request.entry_count} is not 1 to {RECEIPTS_MAX}",
            )
        try:
            newest = self._engine.checkpoint()
            end = min(request.first_index + request.entry_count, newest.head.size)
            for entry in self._engine.reader.entries(request.first_index, end):
                shown = not entry_message(entry, caller).withheld
                if kind_of(entry) == EntryKind.EVENT and shown:
                    checkpoint = self._engine.checkpoints.covering(entry.index)
                    proof = self._engine.receipts.make(entry, checkpoint)
                    yield ledger_pb2.Receipt(index=entry.index, proof=proof)
        except (EngineError, ProtocolError) as error:
            await fail(context, error)

    async def GetCheckpoint(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.GetCheckpointRequest, context: Context
    ) -> ledger_pb2.GetCheckpointResponse:
        """Return the newest checkpoint."""
        await self._calls.caller(context, "GetCheckpoint")
        try:
            checkpoint = self._engine.checkpoint(final=request.final)
        except EngineError as error:
            await fail(context, error)
        governance, size = self._engine.governance, checkpoint.head.size
        close = governance.last_close(size)
        return ledger_pb2.GetCheckpointResponse(
            note=checkpoint.note,
            final=checkpoint.final,
            last_close=ledger_pb2.GoverningEntry(leaf_data=close.leaf, path=close.path),
            governance=[_governing_message(each) for each in governance.of_signer(None, size)],
        )

    async def GetGovernance(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.GetGovernanceRequest, context: Context
    ) -> AsyncIterator[ledger_pb2.GoverningEntry]:
        """Return what governs under a checkpoint, each entry with its proof."""
        caller = await self._calls.caller(context, "GetGovernance")
        governance = self._engine.governance
        with self._calls.while_member(context, caller):
            try:
                size = self._proven_size(request.size)
                found = (
                    governance.all_before(size)
                    if request.everything
                    else governance.of_signer(request.batch_key or None, size, with_open=True)
                )
                for each in found:
                    yield _governing_message(each)
            except (EngineError, ProtocolError) as error:
                await fail(context, error)

    async def Subscribe(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.SubscribeRequest, context: Context
    ) -> AsyncIterator[ledger_pb2.SubscribeResponse]:
        """Follow the log; a slow reader is waited for."""
        caller = await self._calls.caller(context, "Subscribe")
        entry_filter = EntryFilter(request, caller)
        index = request.from_index
        with self._calls.while_member(context, caller):
            while True:
                advance = self._engine.next_advance  # taken before the size: no block is missed
                size = self._engine.state.size
                try:
                    while index < size:
                        end = min(index + ENTRIES_PER_MESSAGE, size)
                        passed = self._filtered(index, end, entry_filter, caller)
                        index = end
                        yield ledger_pb2.SubscribeResponse(entries=passed, next_index=index)
                except (EngineError, ProtocolError) as error:
                    await fail(context, error)
                await advance.wait()

    def _filtered(
        self, first: int, end: int, entry_filter: EntryFilter, caller: Caller
    ) -> Iterator[ledger_pb2.Entry]:
        for entry in self._engine.reader.entries(first, end):
            if entry_filter.passes(entry):
                yield entry_message(entry, caller)

    async def FindSeals(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.FindSealsRequest, context: Context
    ) -> ledger_pb2.FindSealsResponse:
        """Find seals by item or report."""
        caller = await self._calls.caller(context, "FindSeals")
        try:
            return find_seals(request, self._engine.store, self._engine.reader, caller)
        except (EngineError, ProtocolError) as error:
            await fail(context, error)

    async def ExportSnapshot(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.ExportSnapshotRequest, context: Context
    ) -> AsyncIterator[ledger_pb2.ExportSnapshotResponse]:
        """Return a snapshot file in pieces."""
        caller = await self._calls.caller(context, "ExportSnapshot")
        with self._calls.while_member(context, caller):
            try:
                async for piece in self._exports.stream(request):
                    yield piece
            except (EngineError, ProtocolError) as error:
                await fail(context, error)

    async def GetLedger(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.GetLedgerRequest, context: Context
    ) -> ledger_pb2.GetLedgerResponse:
        """Tell what ledger this is."""
        await self._calls.caller(context, "GetLedger")
        engine = self._engine
        head = engine.state.bases[-1]
        return ledger_pb2.GetLedgerResponse(
            chain_id=engine.chain_id,
            node=engine.name,
            height=head.height,
            size=head.size,
            time_ms=engine.state.time_ms,
            genesis=engine.genesis.to_json(),
            acceptances=self._acceptances,
        )

    async def GetNodeStatus(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.GetNodeStatusRequest, context: Context
    ) -> ledger_pb2.GetNodeStatusResponse:
        """Tell how this node fares."""
        await self._calls.caller(context, "GetNodeStatus")
        return node_status(self._engine, certificate_not_after_ms=self._certificate_not_after_ms())


def _governing_message(entry: GovernanceEntry) -> ledger_pb2.GoverningEntry:
    return ledger_pb2.GoverningEntry(event=entry.event, leaf_data=entry.leaf, path=entry.path)
