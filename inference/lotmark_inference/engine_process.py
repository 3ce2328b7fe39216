"""One process that holds one engine, as its parent sees it; `engine_child` is the other side.

Images and scores lie in memory that both have; over the socket go only small messages. The memory
has no name in any file system, so nothing is left of it when both are gone, however they ended.
"""

import math
import mmap
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Pipe
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.batch_parts import Outputs
from lotmark_inference.engine import Engine, EngineIdentity
from lotmark_inference.errors import EngineError, InferenceError

CLOSE_S = 5.0  # how long an engine may take to give back its memory before it is killed

_ALIGNMENT = 64  # bytes: where the scores begin, for the widest loads of a processor


class EngineProcessGone(EngineError):
    """The process ended, or was killed as it did not answer in time."""


class EngineProcessHung(EngineProcessGone):
    """It did not answer in time and was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedLayout:
    """How the shared memory is divided: images first, then what the engine makes of them."""

    batch_images_max: int
    height: int  # pixels
    width: int
    output_floats_max: int  # of all outputs for a full batch

    @property
    def outputs_at(self) -> int:
        """Where the outputs begin."""
        images = self.batch_images_max * self.height * self.width
        return -(-images // _ALIGNMENT) * _ALIGNMENT

    @property
    def size(self) -> int:
        """Bytes of both."""
        return self.outputs_at + 4 * self.output_floats_max

    def images(self, memory: mmap.mmap, count: int) -> NDArray[np.uint8]:
        """Return where the first so many images lie."""
        return np.ndarray((count, self.height, self.width), np.uint8, buffer=memory)

    def outputs(self, memory: mmap.mmap) -> NDArray[np.float32]:
        """Return where the outputs lie, one behind the other."""
        return np.ndarray(
            (self.output_floats_max,), np.float32, buffer=memory, offset=self.outputs_at
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The engine is there."""

    identity: EngineIdentity
    rss_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The outputs lie in the shared memory, in this order."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    rss_mb: float  # of the process, in 10**6 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The engine said no; its process goes on."""

    error: InferenceError


_Answer = TypeVar("_Answer", Opened, Scored)


class EngineProcess:
    """A started process with an open engine; for one thread."""

    def __init__(
        self, open_engine: Callable[[], Engine], layout: SharedLayout, *, start_s: float
    ) -> None:
        """Start the process and have it open its engine.

        Args:
            open_engine: Called in the process, to which it travels by its import name.
            layout: Of the memory that is shared with it.
            start_s: How long all that may take.

        Raises:
            InferenceError: What `open_engine` raised; or `EngineProcessGone`.
        """
        self._layout = layout
        handle = os.memfd_create("lotmark-engine")
        lifeline, self._lifeline = os.pipe()
        self._connection, theirs = Pipe()
        try:
            os.ftruncate(handle, layout.size)
            self._memory = mmap.mmap(handle, layout.size)
            passed = (theirs.fileno(), lifeline, handle)
            command = [sys.executable, "-m", "lotmark_inference.engine_child", *map(str, passed)]
            self._process = subprocess.Popen(command, pass_fds=passed, stdin=subprocess.DEVNULL)  # noqa: S603 - our own module
        except OSError as error:
            self._connection.close()
            os.close(self._lifeline)
            raise EngineProcessGone(f"no engine process could be started: {error}") from error
        finally:
            theirs.close()
            os.close(lifeline)
            os.close(handle)
        try:
            self._send((sys.path, layout, pickle.dumps(open_engine)))
            opened = self._answer(start_s, Opened)
        except BaseException:
            self.kill()
            raise
        self.identity = opened.identity
        self.rss_mb_at_start = opened.rss_mb
        self.rss_mb = opened.rss_mb

    @property
    def process_id(self) -> int:
        """By which the system knows it."""
        return self._process.pid

    def infer(self, batch: NDArray[np.uint8], *, infer_s: float) -> Outputs:
        """Return the engine's outputs for a batch of at most the layout's images.

        Raises:
            InferenceError: What the engine raised.
            EngineProcessGone: It ended, or did not answer within `infer_s` and was killed.
        """
        self._layout.images(self._memory, len(batch))[:] = batch
        self._send(len(batch))
        scored = self._answer(infer_s, Scored)
        self.rss_mb = scored.rss_mb
        floats, found, start = self._layout.outputs(self._memory), {}, 0
        for name, shape in scored.shapes:
            end = start + math.prod(shape)
            # A copy: the next batch's outputs come to lie here.
            found[name] = floats[start:end].reshape(shape).copy()
            start = end
        return found

    def close(self) -> None:
        """Let it give back what it has and end; kill it where it does not."""
        self._connection.close()
        self._wait_for_end()
        self.kill()

    def kill(self) -> None:
        """End it at once. One that a broken driver holds in the kernel is not waited for."""
        self._process.kill()
        self._wait_for_end()
        self._connection.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _wait_for_end(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_S)

    def _send(self, message: object) -> None:
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._gone() from error

    def _answer(self, deadline_s: float, expected: type[_Answer]) -> _Answer:
        """Return what the process says next, within the deadline."""
        try:
            if not self._connection.poll(deadline_s):
                self.kill()
                raise EngineProcessHung(
                    f"engine process {self.process_id} gave no answer within {deadline_s:g} s"
                    " and was killed"
                )
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._gone() from error
        if isinstance(answer, Refused):
            raise answer.error
        assert isinstance(answer, expected)
        return answer

    def _gone(self) -> EngineProcessGone:
        """Return how the process ended, which has closed its socket."""
        self._wait_for_end()
        self.kill()
        match self._process.returncode:
            case None:
                how = f"does not end, {CLOSE_S:g} s after it was killed"
            case int(code) if code < 0:
                how = f"ended by signal {-code}"
            case code:
                how = f"ended with exit code {code}"
        return EngineProcessGone(f"engine process {self.process_id} {how}")
