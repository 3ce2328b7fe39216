"""Bounds on a request's body: how large, and how long it may take to arrive."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from starlette.requests import ClientDisconnect

from lotmark_node.http.errors import BodyTooLarge, BodyTooSlow
from lotmark_node.http.problems import problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_SIZE_MAX = 1 << 20
BODY_S = 10.0

SizeMax: TypeAlias = "Callable[[Scope], int]"


class BodyLimit:
    """Ends requests whose body is too large or too slow, before anybody has read all of it."""

    def __init__(self, app: "ASGIApp", size_max: SizeMax = lambda _scope: BODY_SIZE_MAX) -> None:
        """Wrap an application.

        Args:
            app: It.
            size_max: Says how many bytes the body of a request may have.
        """
        self._app = app
        self._size_max = size_max

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await _read_in_time(receive, self._size_max(scope))
        except (BodyTooLarge, BodyTooSlow) as error:
            await problem_response(error, scope["path"])(scope, receive, send)
            return
        except ClientDisconnect:
            return  # nobody waits for an answer any more
        given = False

        async def given_body() -> "Message":
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, given_body, send)


async def _read_in_time(receive: "Receive", size_max: int) -> bytes:
    try:
        return await asyncio.wait_for(_read(receive, size_max), BODY_S)
    except TimeoutError as error:
        raise BodyTooSlow(f"the body has not arrived within {BODY_S:g} s; send it again") from error


async def _read(receive: "Receive", size_max: int) -> bytes:
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > size_max:
            raise BodyTooLarge(
                f"the body has over {size_max} bytes; send events in several requests, and leave"
                " files with their owner: name them by sha256 and size"
            )
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
