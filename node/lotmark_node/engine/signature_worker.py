"""A process beside the node that checks and makes many signatures at once.

libsodium works outside Python's lock, so a thread that calls it for every batch waits each time
until another thread gives the lock back: with one event a batch that is most of its time. A process
has a lock of its own, and the second core besides. Few signatures are cheaper made here.
"""

import asyncio
import logging
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from lotmark import ed25519
from lotmark.ed25519 import SEED_SIZE, PrivateKey
from lotmark.errors import SignatureError

logger = logging.getLogger(__name__)

OFFLOADED_MIN = 4  # fewer than so many are done in this process

Signed = tuple[bytes, bytes, bytes]  # public key, message, signature

_VERIFY, _SIGN = b"v", b"s"
_U32 = struct.Struct(">I")


class SignatureWorker:
    """One worker process; used from the event loop's thread."""

    def __init__(self, key: PrivateKey) -> None:
        """Start the process.

        Args:
            key: The key that `sign_many` signs with.
        """
        self._key = key
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None, "it was asked for"
        self._process.stdin.write(key.seed)
        self._process.stdin.flush()
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="signatures")
        self._exchanging = threading.Lock()  # a caller may be cancelled, its exchange goes on
        self._ended = False

    async def verify_many(self, signed: Sequence[Signed]) -> list[bool]:
        """Return which signatures hold."""
        if len(signed) < OFFLOADED_MIN:
            return [_holds(*each) for each in signed]
        parts = [key + signature + message for key, message, signature in signed]
        done = await self._ask(_VERIFY, parts, answer_size=len(signed))
        if done is None:
            return [_holds(*each) for each in signed]
        return [bool(each) for each in done]

    async def sign_many(self, messages: Sequence[bytes]) -> list[bytes]:
        """Return the signatures over messages."""
        done = None
        if len(messages) >= OFFLOADED_MIN:
            done = await self._ask(_SIGN, messages, answer_size=64 * len(messages))
        if done is None:
            return [self._key.sign(message) for message in messages]
        return [done[at : at + 64] for at in range(0, len(done), 64)]

    async def _ask(self, task: bytes, parts: Sequence[bytes], *, answer_size: int) -> bytes | None:
        """Have the worker do a task; None where it is gone, so that it is done here."""
        framed = [piece for part in parts for piece in (_U32.pack(len(part)), part)]
        request = b"".join([task, _U32.pack(len(parts)), *framed])
        async with self._turn:
            if self._ended:
                return None
            loop = asyncio.get_running_loop()
            try:
                return await loop.run_in_executor(
                    self._thread, self._exchange, request, answer_size
                )
            except OSError:
                logger.warning("the signature worker ended; signatures are checked in the node")
                self._ended = True
                return None

    def _exchange(self, request: bytes, answer_size: int) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None, "it was asked for"
        assert stdout is not None, "it was asked for"
        with self._exchanging:
            if self._ended:
                raise BrokenPipeError("the signature worker was stopped")
            stdin.write(request)
            stdin.flush()
            answer = stdout.read(answer_size)
        if len(answer) < answer_size:
            raise BrokenPipeError("the signature worker ended")
        return answer

    def stop(self) -> None:
        """End the process."""
        with self._exchanging:
            self._ended = True
        self._process.communicate()
        self._thread.shutdown()


def _holds(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        ed25519.verify(key, message, signature)
    except SignatureError:
        return False
    return True


def work(requests: BinaryIO, answers: BinaryIO) -> None:
    """Do what comes in until the node's end closes, however the node ends."""
    key = PrivateKey.from_seed(requests.read(SEED_SIZE))
    while task := requests.read(1):
        (count,) = _U32.unpack(requests.read(4))
        parts = [requests.read(_U32.unpack(requests.read(4))[0]) for _ in range(count)]
        if task == _VERIFY:
            answers.write(bytes(_holds(each[:32], each[96:], each[32:96]) for each in parts))
        else:
            answers.write(b"".join([key.sign(each) for each in parts]))
        answers.flush()


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the node's to handle
    work(sys.stdin.buffer, sys.stdout.buffer)
