"""What a camera sees of a weld under a ring of eight lights, from straight above."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.philox_draws import Draws, FloatArray
from lotmark_inference.weld_surface import MM_PER_PIXEL, SIZE, Stream, Surface

_LIGHT_COUNT = 8
_ELEVATION = 0.6  # radians above the part

_SQUARED_FREQUENCY = np.fft.fftfreq(SIZE)[:, None] ** 2 + np.fft.rfftfreq(SIZE)[None, :] ** 2

_FULL_WELL_ELECTRONS = 6000
_READ_NOISE_ELECTRONS = 12
_GREY_AT_FULL_WELL = 235
_BLACK_LEVEL = 4


def photographed(surface: Surface, seed: int) -> NDArray[np.uint8]:
    """Return the weld's image: 8-bit grey, shape (128, 128)."""
    light = Draws(seed, Stream.LIGHT)
    image = _lit(surface, [light.between(0.85, 1.15) for _ in range(_LIGHT_COUNT)])
    image = image * surface.part + (1 - surface.part) * (0.08 + 0.03 * surface.albedo)
    image *= light.between(1.2, 1.9) * _uneven(light)
    image = _blurred(image, sigma_pixels=light.between(0.55, 1.0))
    return _exposed(image, Draws(seed, Stream.SENSOR))


def _lit(surface: Surface, gains: Sequence[float]) -> FloatArray:
    """Return the light that the surface sends up: diffuse, specular, and from all around.

    Source of the specular lobe: Walter et al., EGSR 2007 (GGX), without masking, and bounded, as a
    sensor of 8 bits shows no more of it.
    """
    slope_down, slope_across = np.gradient(surface.height_mm, MM_PER_PIXEL)
    up = 1 / np.sqrt(slope_across**2 + slope_down**2 + 1)
    across, down = -slope_across * up, -slope_down * up
    spread = surface.roughness**4
    diffuse = 0.10 * surface.albedo
    specular = 0.06 * surface.albedo
    image: FloatArray = 0.18 * surface.albedo * up
    for number, gain in enumerate(gains):
        turn = 2 * np.pi * number / _LIGHT_COUNT
        x, y = np.cos(turn) * np.cos(_ELEVATION), np.sin(turn) * np.cos(_ELEVATION)
        z = np.sin(_ELEVATION)
        facing = np.clip(x * across + y * down + z * up, 0, 1)
        half = np.sqrt(2 + 2 * z)  # length of light plus view
        mirrored = np.clip((x * across + y * down + (z + 1) * up) / half, 0, 1)
        lobe = spread / (np.pi * (mirrored**2 * (spread - 1) + 1) ** 2)
        image += gain * facing * (diffuse + specular * np.minimum(lobe, 6))
    return image


def _uneven(light: Draws) -> FloatArray:
    """Return how bright each place is lit, 1 in the middle."""
    place = np.linspace(-1, 1, SIZE)
    across: FloatArray = light.normal(0.08) * place[None, :]
    down: FloatArray = light.normal(0.08) * place[:, None]
    return 1 + across + down


def _blurred(image: FloatArray, *, sigma_pixels: float) -> FloatArray:
    """Return the image as the lens gives it: its point spread is a Gaussian."""
    transfer = np.exp(-2 * np.pi**2 * sigma_pixels**2 * _SQUARED_FREQUENCY)
    return np.asarray(np.fft.irfft2(np.fft.rfft2(image) * transfer, s=(SIZE, SIZE)))


def _exposed(image: FloatArray, sensor: Draws) -> NDArray[np.uint8]:
    """Return the image as the sensor counts it: with shot noise and read noise, in 8 bits.

    Shot noise is drawn as normal: pixels count hundreds of electrons, where Poisson's law is close
    to it, and each takes one draw whatever it counts.
    """
    full_well = _FULL_WELL_ELECTRONS * sensor.between(0.6, 1.0)
    electrons = np.clip(image, 0, 1.2) * full_well
    noise = np.sqrt(electrons + _READ_NOISE_ELECTRONS**2) * sensor.normals(SIZE, SIZE)
    grey = (electrons + noise) * (_GREY_AT_FULL_WELL / full_well) + _BLACK_LEVEL
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)
