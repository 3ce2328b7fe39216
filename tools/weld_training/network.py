"""The networks: plain convolutions, a heat map, and a verdict from its mean and largest features.

Depthwise convolutions would have fewer weights, but are slower on a CPU.
"""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Weights: TypeAlias = dict[str, Any]  # name -> array; JAX differentiates by them
Statistics: TypeAlias = list[tuple[Any, Any]]  # mean and variance of each convolution's channels

CONTRAST: Final = 0.15  # the deviation of an image's brightness that counts as 1
EPSILON: Final = 1e-5
LABEL_COUNT: Final = 3


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution with what follows: normalised channels, ReLU."""

    size: int
    stride: int
    channels: int
    is_residual: bool = False  # its input is added before the ReLU


LIGHT = (
    Convolution(5, 2, 16),
    Convolution(3, 2, 32),
    Convolution(3, 1, 48),
    Convolution(3, 2, 64),
    Convolution(3, 1, 64),
)
HEAVY = (
    Convolution(5, 2, 24),
    Convolution(3, 2, 64),
    Convolution(3, 1, 64, is_residual=True),
    Convolution(3, 1, 64, is_residual=True),
    Convolution(3, 2, 128),
    Convolution(3, 1, 128, is_residual=True),
    Convolution(3, 1, 128, is_residual=True),
)
NETWORKS = {"weld-light": LIGHT, "weld-heavy": HEAVY}


def new_weights(network: tuple[Convolution, ...], random: np.random.Generator) -> Weights:
    """Return weights to begin with (He et al., ICCV 2015)."""
    weights: Weights = {}
    channels = 1
    for number, layer in enumerate(network):
        shape = (layer.size, layer.size, channels, layer.channels)
        deviation = np.sqrt(2 / (layer.size**2 * channels))
        weights[f"kernel_{number}"] = random.normal(0, deviation, shape)
        # A residual layer begins as nearly nothing, so that a deep network begins as a shallow one.
        weights[f"scale_{number}"] = np.full(layer.channels, 0.2 if layer.is_residual else 1.0)
        weights[f"shift_{number}"] = np.zeros(layer.channels)
        channels = layer.channels
    weights["heat_kernel"] = random.normal(0, np.sqrt(1 / channels), (channels, 1))
    weights["heat_shift"] = np.full(1, -2.0)  # most fields have no defect
    weights["verdict_kernel"] = random.normal(
        0, np.sqrt(0.5 / channels), (2 * channels, LABEL_COUNT)
    )
    weights["verdict_shift"] = np.zeros(LABEL_COUNT)
    return {name: jnp.asarray(value, jnp.float32) for name, value in weights.items()}


def outputs(
    network: tuple[Convolution, ...],
    weights: Weights,
    images: Any,
    statistics: Statistics | None = None,
) -> tuple[Any, Any, Statistics]:
    """Return the verdict's logits (n, 3), the heat map's (n, 16, 16), and the channels' statistics.

    Args:
        network: What the weights are of.
        weights: The weights.
        images: 8-bit grey, shape (n, 128, 128).
        statistics: Normalise with these. None: with those of this batch, as in training.
    """
    features = images.astype(jnp.float32)[..., None] / 255
    features = (features - features.mean((1, 2), keepdims=True)) / CONTRAST
    seen: Statistics = []
    for number, layer in enumerate(network):
        kernel = weights[f"kernel_{number}"]
        made = lax.conv_general_dilated(
            features,
            kernel,
            (layer.stride, layer.stride),
            [(layer.size // 2, layer.size // 2)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        seen.append((made.mean((0, 1, 2)), made.var((0, 1, 2))))
        mean, variance = seen[-1] if statistics is None else statistics[number]
        scale = weights[f"scale_{number}"] / jnp.sqrt(variance + EPSILON)
        made = (made - mean) * scale + weights[f"shift_{number}"]
        features = jax.nn.relu(made + features if layer.is_residual else made)
    heat = (features @ weights["heat_kernel"] + weights["heat_shift"])[..., 0]
    whole = jnp.concatenate([features.mean((1, 2)), features.max((1, 2))], axis=1)
    return whole @ weights["verdict_kernel"] + weights["verdict_shift"], heat, seen
