"""Engines without a model: two labels' scores are a function of the pixels alone.

`SoundEngine` keeps every promise of the port. `FaultyEngine` does too until it is told by a batch's
first pixel to misbehave as a native library can.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.engine import Engine, EngineIdentity
from lotmark_inference.errors import EngineError, ModelRefused
from lotmark_inference.model_manifest import (
    EvaluationCounts,
    LabelScore,
    ModelInput,
    ModelManifest,
)

HEIGHT, WIDTH = 16, 24
INPUT = ModelInput(name="image", height=HEIGHT, width=WIDTH, um_per_pixel=50)
IDENTITY = EngineIdentity(
    kind="in-memory", version="1.0", target="cpu", artefact_sha256=bytes(range(32))
)
MANIFEST = ModelManifest(
    name="mean-grey",
    version=3,
    onnx_sha256=bytes(range(32, 64)),
    input=INPUT,
    scores_output="scores",
    heat_output="heat",
    labels=(
        LabelScore(label="bright/none/example", is_defect=False, threshold=5_000),
        LabelScore(label="dark/open/example", is_defect=True, threshold=4_000),
    ),
    catalogue="example/1",
    preprocessing="none",
    training_digest=bytes(32),
    evaluation=EvaluationCounts(
        dataset_digest=bytes(32),
        true_positives=0,
        false_positives=0,
        false_negatives=0,
        true_negatives=0,
    ),
    calibration=((0, 0), (10_000, 10_000)),
    vectors={},
)
DECLINES, STICKS, DIES, HANGS, GROWS, REFUSES, BREAKS = range(248, 255)


class SoundEngine:
    """Scores how bright an image is, and how dark."""

    identity = IDENTITY

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        bright = batch.reshape(len(batch), -1).mean(axis=1) / 255
        return {
            "scores": np.stack([bright, 1 - bright], axis=1).astype(np.float32),
            "heat": (batch[:, ::8, ::8] / 255).astype(np.float32),
        }

    def close(self) -> None:
        """Nothing is held."""


class FaultyEngine(SoundEngine):
    """Misbehaves where a batch's first pixel says so, up to so many times over all its lives."""

    def __init__(self, memory: Path, faults_max: int, log: Callable[[str], None]) -> None:
        self._memory = memory  # a file: each life leaves a byte there
        self._faults_max = faults_max
        self._log = log
        self._held: list[bytes] = []
        self._is_stuck = False

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        told = int(batch[0, 0, 0])
        if self._is_stuck:
            raise EngineError("the device's context is corrupt")
        if told >= DECLINES and self._may_fail_once_more():
            match told:
                case 248:
                    raise ModelRefused("no model of this engine")
                case 249:
                    self._is_stuck = True
                    raise EngineError("an illegal address")
                case 250:
                    os.kill(os.getpid(), signal.SIGKILL)
                case 251:
                    ctypes.PyDLL(None).sleep(600)  # holds Python's lock, as some libraries do
                case 252:
                    self._held.append(b"\1" * 40_000_000)
                case 253:
                    raise EngineError("the device is busy")
                case _:
                    raise RuntimeError("no error that the port knows")
        return super().infer(batch)

    def close(self) -> None:
        self._log("closed")

    def _may_fail_once_more(self) -> bool:
        with self._memory.open("ab") as file:
            file.write(b".")
        return self._memory.stat().st_size <= self._faults_max


class FineEngine(SoundEngine):
    """Gives a heat map of its own size."""

    def __init__(self, rows: int, columns: int) -> None:
        self._shape = rows, columns

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        fields = np.arange(len(batch) * self._shape[0] * self._shape[1], dtype=np.float32)
        return {**super().infer(batch), "heat": fields.reshape(len(batch), *self._shape)}


class SlowEngine(SoundEngine):
    """Takes so long for each image."""

    def __init__(self, image_s: float) -> None:
        self._image_s = image_s

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        time.sleep(self._image_s * len(batch))
        return super().infer(batch)


def open_slow(image_s: float) -> Engine:
    return SlowEngine(image_s)


class LateEngine(SlowEngine):
    """One that puts off much until its first batch."""

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        found = super().infer(batch)
        self._image_s = 0.0
        return found


def open_late(first_s: float) -> Engine:
    return LateEngine(first_s)


def open_sound() -> Engine:
    return SoundEngine()


def open_fine(rows: int, columns: int) -> Engine:
    return FineEngine(rows, columns)


def open_faulty(folder: Path, faults_max: int) -> Engine:
    def log(line: str) -> None:
        with (folder / "log").open("a") as file:
            file.write(f"{line} {os.getpid()}\n")

    log("opened")
    return FaultyEngine(folder / "faults", faults_max, log)


def open_refused() -> Engine:
    raise EngineError("no usable GPU: none in this test")


def images(seed: int, count: int) -> NDArray[np.uint8]:
    """Return images that tell an engine nothing but what they show."""
    drawn = np.random.default_rng(seed).integers(0, 240, (count, HEIGHT, WIDTH), dtype=np.uint8)
    drawn //= np.arange(1, count + 1, dtype=np.uint8)[:, None, None]
    return drawn
