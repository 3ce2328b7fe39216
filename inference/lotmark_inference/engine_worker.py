"""An engine in a process of its own, which may leak, hang or crash without harm to the caller's.

Runtimes for neural networks are known to grow over weeks, and a driver's fault takes a whole
process with it. So the process is replaced after so many inferences or so much growth, and after an
error of its engine, since a GPU's context may be lost for good; it is killed when it does not
answer, and a batch that was in flight then is tried once more, unless the limits say otherwise of
one that hung.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.batch_parts import Outputs, infer_in_parts
from lotmark_inference.engine import Engine, EngineIdentity
from lotmark_inference.engine_process import (
    EngineProcess,
    EngineProcessGone,
    EngineProcessHung,
    SharedLayout,
)
from lotmark_inference.errors import EngineError
from lotmark_inference.image_checks import check_batch
from lotmark_inference.manifest_file import LABELS_MAX
from lotmark_inference.model_manifest import ModelInput

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """What a worker may use before it is replaced."""

    start_s: float = 120.0  # to open the engine; on a GPU it may have to compile
    infer_s: float = 10.0  # for each image of a batch
    retries_hung: bool = True  # whether a batch without an answer in time is tried once more
    batch_images_max: int = 16  # at once; larger batches go in parts
    inferences_max: int = 100_000  # of batches
    rss_growth_max_mb: float = 256.0  # since the engine was opened, in 10**6 bytes


class WorkerEngine:
    """Keeps the port `Engine`; `close` it, or the process lives as long as its parent."""

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        image: ModelInput,
        limits: WorkerLimits | None = None,
    ) -> None:
        """Start a worker.

        Args:
            open_engine: Opens the engine in the worker, to which it travels by its import name: a
                function of a module, or a `functools.partial` of one.
            image: What the model takes.
            limits: Left out: those of `WorkerLimits`.

        Raises:
            InferenceError: What `open_engine` raised, or the worker died.
        """
        self._open_engine = open_engine
        self._image = image
        self._limits = limits or WorkerLimits()
        self._layout = SharedLayout(
            batch_images_max=self._limits.batch_images_max,
            height=image.height,
            width=image.width,
            # Of this memory only what is written is there.
            output_floats_max=self._limits.batch_images_max
            * (LABELS_MAX + image.height * image.width),
        )
        self._is_closed = False
        self._asked_count = 0  # batches that the present process was asked for
        self._process: EngineProcess | None = self._started()
        self.identity: EngineIdentity = self._process.identity

    @property
    def process_id(self) -> int | None:
        """The worker's; None while there is none."""
        return self._process.process_id if self._process else None

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """Return the engine's outputs for a batch, as `Engine.infer` does.

        Raises:
            InputRefused: It is not what the model takes; the worker never saw it.
            EngineError: The engine failed, its worker died twice or hung where that is not tried
                again, or it is closed.
        """
        check_batch(batch, self._image)
        return infer_in_parts(self._infer_part, batch, self._limits.batch_images_max)

    def close(self) -> None:
        """End the worker; a second time does nothing."""
        self._is_closed = True
        self._end_process()

    def _infer_part(self, batch: NDArray[np.uint8]) -> Outputs:
        """Return the outputs for what one worker takes at once; try twice, as the limits allow."""
        if self._is_closed:
            raise EngineError("the engine is closed; open it again")
        self._replace_if_worn()
        try:
            return self._infer_once(batch)
        except EngineProcessGone as error:
            first = error
            logger.warning("engine worker died", extra={"reason": str(error)})
            if isinstance(error, EngineProcessHung) and not self._limits.retries_hung:
                raise
        try:
            return self._infer_once(batch)
        except EngineProcessGone as second:
            logger.error("engine worker died twice", extra={"reason": str(second)})
            raise EngineError(
                f"worker died twice on a batch of {len(batch)} images: {first}; {second}"
            ) from second

    def _infer_once(self, batch: NDArray[np.uint8]) -> Outputs:
        """Return the outputs; start a worker where there is none, and drop one that failed."""
        try:
            if self._process is None:
                self._process = self._started()
                self._demand_same_engine(self._process)
            self._asked_count += 1
            return self._process.infer(batch, infer_s=self._limits.infer_s * len(batch))
        except EngineProcessGone:
            self._process = None
            raise
        except EngineError as error:
            logger.warning("engine failed, its worker is ended", extra={"reason": str(error)})
            self._end_process()
            raise

    def _started(self) -> EngineProcess:
        self._asked_count = 0
        return EngineProcess(self._open_engine, self._layout, start_s=self._limits.start_s)

    def _demand_same_engine(self, process: EngineProcess) -> None:
        """Refuse a worker with another engine than results were signed under so far."""
        if process.identity != self.identity:
            self.close()
            raise EngineError(
                f"the new worker opened {process.identity}, the one before {self.identity};"
                " open the engine anew"
            )

    def _replace_if_worn(self) -> None:
        """End a worker that has done or grown enough; the next inference starts another."""
        process = self._process
        if process is None:
            return
        grown_mb = process.rss_mb - process.rss_mb_at_start
        is_worn = self._asked_count >= self._limits.inferences_max
        if not is_worn and grown_mb <= self._limits.rss_growth_max_mb:
            return
        logger.info(
            "engine worker is replaced",
            extra={"inferences": self._asked_count, "grown_mb": round(grown_mb)},
        )
        self._end_process()

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None
