"""Ends streams whose caller is no member any more."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import grpc.aio

from lotmark_node.engine.membership import Membership
from lotmark_node.rpc.access import Caller

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


@contextmanager
def open_while_member(membership: Membership, context: Context, caller: Caller) -> Iterator[None]:
    """Let a stream go on inside as long as its caller's party is a member."""
    serving = asyncio.current_task()
    assert serving is not None, "a call is served by a task"
    watching = asyncio.create_task(_end_when_gone(membership, context, caller, serving))
    try:
        yield
    finally:
        watching.cancel()


async def _end_when_gone(
    membership: Membership, context: Context, caller: Caller, serving: asyncio.Task[Any]
) -> None:
    while True:
        changed = membership.changed  # taken before the look: no change is missed
        if caller.party not in membership.members:
            break
        await changed.wait()
    logger.info("a stream of a removed party ends", extra={"party": caller.party})
    with suppress(grpc.aio.AbortError):
        await context.abort(
            grpc.StatusCode.UNAUTHENTICATED, f"{caller.party} is no member any more"
        )
    serving.cancel()
