"""Train a weld model, and write its ONNX file.

    uv run --extra train python -m tools.weld_training.train weld-light --into FOLDER

On one core the light model takes 10 minutes, the heavy one, with --epochs 8, 22. The same weights
come out only on the same kind of processor: sums of floats differ between them.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from lotmark_inference.weld_images import (
    TRAINING_SEEDS,
    VALIDATION_SEEDS,
    dataset_digest,
    weld_image,
)
from lotmark_inference.weld_surface import WeldKind
from tools.weld_training.network import (
    NETWORKS,
    Convolution,
    Statistics,
    Weights,
    new_weights,
    outputs,
)
from tools.weld_training.onnx_file import onnx_bytes

KINDS = tuple(WeldKind)
BATCH_COUNT = 64  # images of a step
STATISTICS_BATCHES = 16
LABEL_SMOOTHING = 0.02
HEAT_DEFECT_WEIGHT = 6.0  # defects cover few fields
WEIGHT_DECAY = 1e-3
RATE_MAX = {"weld-light": 4e-3, "weld-heavy": 3e-3}


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images with what is true of them."""

    pixels: NDArray[np.uint8]  # (n, 128, 128)
    kinds: NDArray[np.int64]  # (n,), places in KINDS
    heat: NDArray[np.bool_]  # (n, 16, 16)
    seeds: range

    @property
    def digest(self) -> bytes:
        """SHA-256 of the list of seeds and labels."""
        labels = (KINDS[kind].value for kind in self.kinds)
        return dataset_digest(zip(self.seeds, labels, strict=True))


def _made(seed: int) -> tuple[NDArray[np.uint8], int, NDArray[np.bool_]]:
    image = weld_image(seed)
    return image.pixels, KINDS.index(image.kind), image.heat


def dataset(seeds: range, *, processes: int) -> Dataset:
    """Return the images of these seeds."""
    with Pool(processes) as pool:
        pixels, kinds, heat = zip(*pool.imap(_made, seeds, chunksize=100), strict=True)
    return Dataset(np.stack(pixels), np.array(kinds), np.stack(heat), seeds)


def _loss(network: tuple[Convolution, ...], weights: Weights, batch: Any) -> Any:
    pixels, kinds, heat_truth = batch
    logits, heat, _ = outputs(network, weights, pixels)
    wanted = jax.nn.one_hot(kinds, len(KINDS)) * (1 - LABEL_SMOOTHING)
    wanted += LABEL_SMOOTHING / len(KINDS)
    verdict_loss = -(wanted * jax.nn.log_softmax(logits)).sum(1).mean()
    has_defect = heat_truth.astype(jnp.float32)
    heat_loss = -(
        HEAT_DEFECT_WEIGHT * has_defect * jax.nn.log_sigmoid(heat)
        + (1 - has_defect) * jax.nn.log_sigmoid(-heat)
    ).mean()
    return verdict_loss + heat_loss


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def _step(
    network: tuple[Convolution, ...],
    weights: Weights,
    moments: Any,
    batch: Any,
    rate: Any,
    step: Any,
) -> Any:
    """Return weights and moments after one step of AdamW (Loshchilov and Hutter, ICLR 2019)."""
    loss, slopes = jax.value_and_grad(partial(_loss, network))(weights, batch)
    first = jax.tree.map(lambda old, slope: 0.9 * old + 0.1 * slope, moments[0], slopes)
    second = jax.tree.map(lambda old, slope: 0.99 * old + 0.01 * slope**2, moments[1], slopes)

    def moved(weight: Any, mean: Any, square: Any) -> Any:
        pace = (mean / (1 - 0.9**step)) / (jnp.sqrt(square / (1 - 0.99**step)) + 1e-8)
        return weight - rate * (pace + WEIGHT_DECAY * weight)

    return jax.tree.map(moved, weights, first, second), (first, second), loss


def _rate(step: int, step_count: int, rate_max: float) -> float:
    """Return a rate that rises for three tenths of the steps and then falls to nothing."""
    rise = 0.3 * step_count
    if step < rise:
        return rate_max * (0.04 + 0.96 * step / rise)
    return rate_max * 0.5 * (1 + float(np.cos(np.pi * (step - rise) / (step_count - rise))))


def turned(images: Dataset, chosen: NDArray[np.int64], random: np.random.Generator) -> Any:
    """Return a batch, mirrored at random: a mirrored weld is as good a weld."""
    pixels, heat = images.pixels[chosen], images.heat[chosen]
    for axis in (1, 2):
        if random.random() < 0.5:
            pixels, heat = np.flip(pixels, axis), np.flip(heat, axis)
    return np.ascontiguousarray(pixels), images.kinds[chosen], np.ascontiguousarray(heat)


def _statistics(network: tuple[Convolution, ...], weights: Weights, images: Dataset) -> Statistics:
    """Return the channels' statistics over a good part of the images, for use after training."""
    parts = [
        _seen(network, weights, images.pixels[start : start + BATCH_COUNT])
        for start in range(0, STATISTICS_BATCHES * BATCH_COUNT, BATCH_COUNT)
        if start + BATCH_COUNT <= len(images.pixels)
    ]
    return [
        (np.mean([mean for mean, _ in layer], axis=0), np.mean([var for _, var in layer], axis=0))
        for layer in zip(*parts, strict=True)
    ]


@partial(jax.jit, static_argnums=0)
def _seen(network: tuple[Convolution, ...], weights: Weights, pixels: Any) -> Statistics:
    return outputs(network, weights, pixels)[2]


def _accuracy(
    network: tuple[Convolution, ...], weights: Weights, statistics: Statistics, images: Dataset
) -> float:
    given = [
        _given(network, weights, statistics, images.pixels[start : start + BATCH_COUNT])
        for start in range(0, len(images.kinds), BATCH_COUNT)
    ]
    return float((np.concatenate(given) == images.kinds).mean())


@partial(jax.jit, static_argnums=0)
def _given(
    network: tuple[Convolution, ...], weights: Weights, statistics: Statistics, pixels: Any
) -> Any:
    return outputs(network, weights, pixels, statistics)[0].argmax(1)


def train(
    name: str, training: Dataset, validation: Dataset, *, epochs: int
) -> tuple[Weights, Statistics]:
    """Return the weights after `epochs` passes over the training images, telling how it goes."""
    network = NETWORKS[name]
    random = np.random.default_rng(0)
    weights = new_weights(network, random)
    zeros = jax.tree.map(jnp.zeros_like, weights)
    moments = (zeros, jax.tree.map(jnp.zeros_like, weights))
    steps_per_epoch = len(training.kinds) // BATCH_COUNT
    step, start_s = 0, time.monotonic()
    for epoch in range(epochs):
        order = random.permutation(len(training.kinds))
        losses = []
        for place in range(steps_per_epoch):
            chosen = order[place * BATCH_COUNT : (place + 1) * BATCH_COUNT]
            rate = _rate(step, epochs * steps_per_epoch, RATE_MAX[name])
            step += 1
            batch = turned(training, chosen, random)
            weights, moments, loss = _step(network, weights, moments, batch, rate, float(step))
            losses.append(loss)
        accuracy = _accuracy(network, weights, _statistics(network, weights, training), validation)
        sys.stdout.write(
            f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.4f}, validation"
            f" {accuracy:.4f}, {time.monotonic() - start_s:.0f} s\n"
        )
        sys.stdout.flush()
    return weights, _statistics(network, weights, training)


def main() -> None:
    """Train the model that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(NETWORKS))
    parser.add_argument("--into", type=Path, required=True, help="folder for model.onnx")
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--processes", type=int, default=1, help="that make images")
    asked = parser.parse_args()
    training = dataset(TRAINING_SEEDS[: asked.images], processes=asked.processes)
    validation = dataset(VALIDATION_SEEDS[:1_024], processes=asked.processes)
    weights, statistics = train(asked.name, training, validation, epochs=asked.epochs)
    model = onnx_bytes(
        NETWORKS[asked.name], weights, statistics, name=asked.name, version=asked.version
    )
    asked.into.mkdir(parents=True, exist_ok=True)
    (asked.into / "model.onnx").write_bytes(model)
    (asked.into / "training.digest").write_text(training.digest.hex())


if __name__ == "__main__":
    main()
