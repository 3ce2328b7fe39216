"""`lotmark bench inference`: what a model costs an image, here and on a GPU if there is one."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np
from numpy.typing import NDArray

from lotmark_inference import tensorrt_engine, tensorrt_rtx_engine
from lotmark_inference.engine import Engine
from lotmark_inference.engine_worker import WorkerEngine
from lotmark_inference.errors import EngineError, ModelRefused
from lotmark_inference.gpu_probe import present_gpu
from lotmark_inference.model_files import ModelFiles, shipped_model
from lotmark_inference.onnx_limits import KIND
from lotmark_inference.opened_engine import identity_here, opened_engine
from lotmark_inference.tensorrt_engine import TENSORRT
from lotmark_inference.tensorrt_plan_engine import PlanEngine
from lotmark_inference.tensorrt_rtx_engine import PORTABLE, TENSORRT_RTX
from lotmark_inference.weld_images import FRESH_SEEDS, weld_image
from lotmark_node.bench import machine
from lotmark_node.bench.station_delivery import station_figures

_IMAGES = 8  # different ones, in turn
_WARM_UP = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much a run does."""

    images: int  # in a round, one by one
    rounds: int  # of which the median counts
    station_images: int  # one after the other, through a station in a site
    gpu_batches: int


FULL = Extent(images=200, rounds=9, station_images=500, gpu_batches=2_000)
QUICK = Extent(images=20, rounds=5, station_images=50, gpu_batches=100)


def run(*, quick: bool) -> dict[str, object]:
    """Run the bench and return its figures, and why any is left out."""
    return {
        "machine": machine.machine(),
        "versions": machine.versions(),
        "load": machine.load(),
        **run_extent(QUICK if quick else FULL),
    }


def run_extent(extent: Extent) -> dict[str, object]:
    """Return what the shipped models cost; `left_out` says why a figure is missing."""
    models: dict[str, ModelFiles] = {}
    left_out: dict[str, str] = {}
    for weight in ("light", "heavy"):
        try:
            models[weight] = shipped_model(f"weld-{weight}")
        except ModelRefused as error:
            left_out[f"ms_per_image_{weight}"] = str(error)
    figures: dict[str, object] = {}
    if "light" in models:  # first of all: what other figures need is not in its memory then
        figures |= station_figures(models, extent.station_images)
    figures |= processor_figures(models, extent)
    try:
        figures |= _gpu_figures(models, extent)
    except EngineError as error:
        left_out["gpu_images_per_s"] = str(error)
    return {**figures, "left_out": left_out}


def processor_figures(models: Mapping[str, ModelFiles], extent: Extent) -> dict[str, float]:
    """Return what models cost on one core, an image at a time, in this process and in a worker.

    `ms_per_image_…` is processor time of the engine alone; `…_in_worker` is what the caller waits
    for, another process being asked.
    """
    images = np.stack([weld_image(FRESH_SEEDS.start + at).pixels for at in range(_IMAGES)])
    figures: dict[str, float] = {}
    with ExitStack() as opened:
        for weight, files in models.items():
            identity = identity_here(KIND, files.onnx)
            opening = partial(opened_engine, identity, files.onnx, files.manifest)
            with closing(opening()) as engine:
                figures[f"ms_per_image_{weight}"] = _ms_an_image(
                    engine, images, extent, time.thread_time
                )
            worker = WorkerEngine(opening, files.manifest.input)
            opened.callback(worker.close)
            figures[f"ms_per_image_{weight}_in_worker"] = _ms_an_image(
                worker, images, extent, time.perf_counter
            )
    return figures


def _ms_an_image(
    engine: Engine, images: NDArray[np.uint8], extent: Extent, clock: Callable[[], float]
) -> float:
    """Return what an image costs by a clock, the median of rounds."""
    for at in range(_WARM_UP):
        engine.infer(images[at % len(images)][np.newaxis])
    taken = []
    for _ in range(extent.rounds):
        start = clock()
        for at in range(extent.images):
            engine.infer(images[at % len(images)][np.newaxis])
        taken.append((clock() - start) / extent.images * 1_000)
    return round(median(taken), 3)


def _gpu_figures(models: Mapping[str, ModelFiles], extent: Extent) -> dict[str, object]:
    """Return how many images a second the GPU scores in full batches, copies included."""
    gpu = present_gpu()
    kind = _gpu_kind()
    figures: dict[str, object] = {"gpu": f"{kind} on {gpu.name}"}
    for weight, files in models.items():
        suffix = "" if weight == "light" else f"_{weight}"
        figures[f"gpu_images_per_s{suffix}"] = _plan_images_per_s(kind, gpu.target, files, extent)
    return figures


def _gpu_kind() -> str:
    """Return the kind of engine that runs on this machine's GPU."""
    try:
        return identity_here(TENSORRT.kind, b"").kind
    except EngineError:
        return identity_here(TENSORRT_RTX.kind, b"").kind


def _plan_images_per_s(kind: str, target: str, files: ModelFiles, extent: Extent) -> float:
    """Build an engine for this GPU, and return how many images it scores in a second."""
    if kind == TENSORRT.kind:
        plan = tensorrt_engine.build_engine(files.onnx, target)
    else:
        target = PORTABLE  # it has no name for some GPUs, and this is for all
        plan = tensorrt_rtx_engine.build_engine(files.onnx, target)
    identity = replace(identity_here(kind, plan), target=target)
    engine = opened_engine(identity, plan, files.manifest)
    assert isinstance(engine, PlanEngine)
    with closing(engine):
        batch = engine.pinned_batch(engine.images_max)
        batch[:] = weld_image(FRESH_SEEDS.start).pixels
        for _ in range(_WARM_UP):
            engine.infer(batch)
        start = time.perf_counter()
        for _ in range(extent.gpu_batches):
            engine.infer(batch)
        return round(extent.gpu_batches * len(batch) / (time.perf_counter() - start))
