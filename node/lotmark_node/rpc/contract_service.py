"""ContractService over the state and the log. Questions are answered on threads, a page each."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from typing import TypeVar

from lotmark.errors import ProtocolError
from lotmark.v1 import contract_queries_pb2, contract_queries_pb2_grpc
from lotmark_node.engine.errors import EngineError
from lotmark_node.engine.ledger_engine import LedgerEngine
from lotmark_node.rpc.call_admission import CallAdmission, Context, fail
from lotmark_node.rpc.claim_answers import get_balances, get_claim, list_claims
from lotmark_node.rpc.identity import Identities
from lotmark_node.rpc.package_answers import get_package, list_packages
from lotmark_node.rpc.paged_answers import PagedAnswers
from lotmark_node.rpc.placed_receipts import PlacedReceipts
from lotmark_node.rpc.statement_answers import get_statement, next_receipts

Answer = TypeVar("Answer")


class ContractService(contract_queries_pb2_grpc.ContractServiceServicer):
    """Answers from the state and the log of one ledger."""

    def __init__(self, engine: LedgerEngine, identities: Identities, answers: PagedAnswers) -> None:
        """Prepare to answer.

        Args:
            engine: The ledger's.
            identities: Who callers are.
            answers: Works the answers out; shared with other services, and closed by its owner.
        """
        self._engine = engine
        self._calls = CallAdmission(engine, identities)
        self._answers = answers
        self._receipts = PlacedReceipts(engine.store)

    async def ListPackages(  # noqa: N802 - the name is fixed by the proto
        self, request: contract_queries_pb2.ListPackagesRequest, context: Context
    ) -> contract_queries_pb2.ListPackagesResponse:
        """Tell which packages there are."""
        engine = self._engine
        return await self._answer(
            context, "ListPackages", lambda: list_packages(request, engine.store, engine.state)
        )

    async def GetPackage(  # noqa: N802 - the name is fixed by the proto
        self, request: contract_queries_pb2.GetPackageRequest, context: Context
    ) -> contract_queries_pb2.GetPackageResponse:
        """Return the files of a package."""
        engine = self._engine
        return await self._answer(
            context, "GetPackage", lambda: get_package(request, engine.store, engine.state)
        )

    async def ListClaims(  # noqa: N802 - the name is fixed by the proto
        self, request: contract_queries_pb2.ListClaimsRequest, context: Context
    ) -> contract_queries_pb2.ListClaimsResponse:
        """Return the claims of a package."""
        engine = self._engine
        return await self._answer(
            context, "ListClaims", lambda: list_claims(request, engine.store, engine.state)
        )

    async def GetClaim(  # noqa: N802 - the name is fixed by the proto
        self, request: contract_queries_pb2.GetClaimRequest, context: Context
    ) -> contract_queries_pb2.GetClaimResponse:
        """Return the rule receipts of a claim."""
        engine = self._engine
        return await self._answer(
            context,
            "GetClaim",
            lambda: get_claim(request, engine.store, self._receipts, engine.state),
        )

    async def GetBalances(  # noqa: N802 - the name is fixed by the proto
        self, request: contract_queries_pb2.GetBalancesRequest, context: Context
    ) -> contract_queries_pb2.GetBalancesResponse:
        """Return the accounts of a package."""
        engine = self._engine
        return await self._answer(
            context, "GetBalances", lambda: get_balances(request, engine.store, engine.state)
        )

    async def GetStatement(  # noqa: N802 - the name is fixed by the proto
        self, request: contract_queries_pb2.GetStatementRequest, context: Context
    ) -> contract_queries_pb2.GetStatementResponse:
        """Return postings of a range of blocks."""
        engine = self._engine
        return await self._answer(
            context,
            "GetStatement",
            lambda: get_statement(request, engine.store, engine.reader, engine.state),
        )

    async def StreamRuleReceipts(  # noqa: N802 - the name is fixed by the proto
        self, request: contract_queries_pb2.StreamRuleReceiptsRequest, context: Context
    ) -> AsyncIterator[contract_queries_pb2.StreamRuleReceiptsResponse]:
        """Follow the rule receipts; a slow reader is waited for."""
        caller = await self._calls.caller(context, "StreamRuleReceipts")
        engine, index = self._engine, request.from_index
        with self._calls.while_member(context, caller):
            while True:
                advance = engine.next_advance  # taken before the head: no block is missed
                newest = engine.state.bases[-1]
                try:
                    while index < newest.size:
                        page = await asyncio.to_thread(
                            next_receipts, engine.store, request.package, index, newest.height
                        )
                        index = page.next_index
                        yield page
                except (EngineError, ProtocolError) as error:
                    await fail(context, error)
                await advance.wait()

    async def _answer(self, context: Context, rpc: str, make: Callable[[], Answer]) -> Answer:
        """Let a call in and return its answer, or end it with what is wrong."""
        await self._calls.caller(context, rpc)

        def pages() -> Generator[Answer, None, None]:
            yield make()

        try:
            (answer,) = [page async for page in self._answers.stream(context, pages)]
        except (EngineError, ProtocolError) as error:
            await fail(context, error)
        return answer
