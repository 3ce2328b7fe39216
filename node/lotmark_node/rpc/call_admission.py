"""How every call begins and fails, whichever service it is of: who calls, may he, how fresh."""

from contextlib import AbstractContextManager
from typing import Any, NoReturn

import grpc
import grpc.aio

from lotmark.errors import ProtocolError
from lotmark_consensus.errors import ConsensusError
from lotmark_node.engine.errors import EngineError
from lotmark_node.engine.ledger_engine import LedgerEngine
from lotmark_node.engine.reads import Consistency, parse_read_wish
from lotmark_node.rpc.access import Caller, refusal
from lotmark_node.rpc.identity import Identities
from lotmark_node.rpc.open_calls import open_while_member
from lotmark_node.rpc.refused_calls import RefusedFor
from lotmark_node.rpc.status import status_of_error

READ_KEY = "lotmark-read"  # in a call's metadata: how fresh its answer must be

Context = grpc.aio.ServicerContext[Any, Any]


class CallAdmission:
    """Lets calls in, by certificate, role and the freshness that they wish for."""

    def __init__(self, engine: LedgerEngine, identities: Identities) -> None:
        self._engine = engine
        self._identities = identities

    async def caller(self, context: Context, rpc: str) -> Caller:
        """Return who calls, or end the call where the caller may not make it."""
        refused = self._identities.refused
        try:
            caller = self._identities.caller(context.auth_context())
        except ProtocolError as error:
            refused.add(RefusedFor.IDENTITY, rpc, peer=context.peer(), text=str(error))
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        if problem := refusal(caller, rpc):
            refused.add(RefusedFor.ACCESS, rpc, peer=context.peer(), text=problem[1])
            await context.abort(*problem)
        await self._reach(context)
        return caller

    async def _reach(self, context: Context) -> None:
        """Wait until an answer is as fresh as the call wishes, and tell how fresh that is."""
        metadata = dict(context.invocation_metadata() or ())
        wished = str(metadata.get(READ_KEY, Consistency.LOCAL.value))
        try:
            await self._engine.reads.reach(parse_read_wish(wished))
        except (EngineError, ProtocolError, ConsensusError) as error:
            await fail(context, error)
        size = str(self._engine.state.size)
        context.set_trailing_metadata(((READ_KEY, wished), ("lotmark-size", size)))

    def while_member(self, context: Context, caller: Caller) -> AbstractContextManager[None]:
        """Let a stream go on inside as long as its caller's party is a member."""
        return open_while_member(self._identities.membership, context, caller)


async def fail(context: Context, error: Exception) -> NoReturn:
    """End a call with the status and the words of an error."""
    await context.abort(status_of_error(error), str(error))
