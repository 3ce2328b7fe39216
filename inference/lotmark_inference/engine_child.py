"""The process that holds an engine: opens it, and infers what its parent asks for until it is gone.

Started by `EngineProcess` as `python -m lotmark_inference.engine_child SOCKET LIFELINE MEMORY`,
three descriptors; so it imports the engine and what that needs, and nothing of the parent's.
"""

import fcntl
import mmap
import os
import pickle
import select
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from lotmark_inference.engine import Engine
from lotmark_inference.engine_process import Opened, Refused, Scored, SharedLayout
from lotmark_inference.errors import EngineError, InferenceError


def serve(connection: Connection, memory_handle: int) -> None:
    """Open the engine and infer until the parent closes the socket."""
    sys.path[:], layout, pickled = connection.recv()
    memory = mmap.mmap(memory_handle, layout.size)
    open_engine: Callable[[], Engine] = pickle.loads(pickled)  # noqa: S301 - from our parent
    try:
        engine = open_engine()
        # What a runtime puts off until its first batch belongs to opening: an image may not wait so
        # long. The memory is all zeros yet.
        engine.infer(layout.images(memory, 1))
    except InferenceError as error:
        connection.send(Refused(error=error))
        return
    connection.send(Opened(identity=engine.identity, rss_mb=_rss_mb()))
    while True:
        try:
            count = connection.recv()
        except EOFError:
            break
        try:
            answer: Scored | Refused = _scored(engine, layout, memory, count)
        except InferenceError as error:
            answer = Refused(error=error)
        connection.send(answer)
    engine.close()


def _scored(engine: Engine, layout: SharedLayout, memory: mmap.mmap, count: int) -> Scored:
    """Infer what lies in the shared memory, and lay the outputs there."""
    outputs = engine.infer(layout.images(memory, count))
    needed = sum(output.size for output in outputs.values())
    if needed > layout.output_floats_max:
        raise EngineError(
            f"the outputs for {count} images are {needed} numbers, and there is room for"
            f" {layout.output_floats_max}: those of a heat map as fine as the image, and scores;"
            " give the model's heat map fewer fields"
        )
    floats, start = layout.outputs(memory), 0
    for name, output in outputs.items():
        if output.dtype != np.float32:
            raise EngineError(f"output {name!a} is {output.dtype}, not float32")
        floats[start : start + output.size] = output.reshape(-1)
        start += output.size
    shapes = tuple((name, output.shape) for name, output in outputs.items())
    return Scored(shapes=shapes, rss_mb=_rss_mb())


def _rss_mb() -> float:
    """Return the resident memory of this process, in 10**6 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _end_with_parent(lifeline: int) -> None:
    """Have the kernel end this process when its parent is gone, whatever the engine does then.

    The parent alone has the writing end of this pipe, so its end closes it, and the kernel signals
    that to us. A thread that waits for it would not run while an engine holds Python's lock, and
    PR_SET_PDEATHSIG would end us with the parent's thread that happened to start us.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # a parent that ignores it has handed that on
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)  # SIGIO, of which a process ends
    if select.select([lifeline], [], [], 0)[0]:  # it was gone before
        sys.exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C: the parent closes us
    _end_with_parent(int(sys.argv[2]))
    serve(Connection(int(sys.argv[1])), int(sys.argv[3]))
