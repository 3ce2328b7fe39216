"""The shape of a hairpin weld: a solidified dome over two pins, its defects, and what lies on it.

A pixel is 0.05 mm. Lengths are in millimetres. The figures are plausible ones, not measured ones.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.philox_draws import Draws, FloatArray

SIZE: Final = 128  # pixels, both ways
UM_PER_PIXEL: Final = 50
MM_PER_PIXEL: Final = UM_PER_PIXEL / 1000

_AXIS_MM = (np.arange(SIZE) - SIZE / 2 + 0.5) * MM_PER_PIXEL
_ACROSS_MM, _DOWN_MM = np.meshgrid(_AXIS_MM, _AXIS_MM)
_FREQUENCY = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None, :])
_FREQUENCY[0, 0] = 1.0

_PIN_OFFSET_MM = 0.95
_PIN_HALF_MM = (0.8, 1.5)
_PIN_HEIGHT_MM = 0.15
_FULL_WIDTH_PER_SIGMA = 2.355  # full width at half height of a Gaussian


class WeldKind(Enum):
    """What a weld is; the value is its label: phenomenon/effect/customer-standard."""

    SOUND = "SOUND/winding_end/OEM-A-std-3"
    COLD_SOLDER = "COLD_SOLDER/winding_end/OEM-A-std-3"
    POROSITY = "POROSITY/winding_end/OEM-A-std-3"


class Stream(IntEnum):
    """What numbers are drawn for. To force one does not shift the others."""

    KIND = 0
    SHAPE = 1
    DEFECT = 2
    MARKS = 3
    LIGHT = 4
    SENSOR = 5


@dataclass(slots=True)
class Surface:
    """A weld as light meets it; arrays of shape (128, 128)."""

    height_mm: FloatArray
    albedo: FloatArray
    roughness: FloatArray
    part: FloatArray  # 1 on weld and pins, 0 on what lies behind
    defect: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Dome:
    """Where the weld lies, and how large it is."""

    x_mm: FloatArray  # along the line of the pins, from the weld's middle
    y_mm: FloatArray
    half_x_mm: float
    half_y_mm: float
    radius: FloatArray  # 0 in the middle, 1 at the rim
    pool: FloatArray  # 1 where metal was molten, else 0


def weld_surface(seed: int, kind: WeldKind, width_um: int) -> Surface:
    """Return the weld of a seed.

    Args:
        seed: Decides everything that is drawn.
        kind: What it is.
        width_um: Of a cold solder the groove's width, of a porosity the largest pore's diameter.
    """
    shape = Draws(seed, Stream.SHAPE)
    dome = _placed(shape)
    surface = _sound(dome, shape)
    defect = Draws(seed, Stream.DEFECT)
    if kind is WeldKind.COLD_SOLDER:
        _cut_groove(surface, dome, defect, width_um / 1000)
    elif kind is WeldKind.POROSITY:
        _open_pores(surface, dome, defect, width_um / 1000)
    _mark(surface, Draws(seed, Stream.MARKS))
    return surface


def _placed(draws: Draws) -> _Dome:
    turn = draws.normal(np.pi / 30)
    across, down = _ACROSS_MM - draws.normal(0.15), _DOWN_MM - draws.normal(0.15)
    x = np.cos(turn) * across + np.sin(turn) * down
    y = np.cos(turn) * down - np.sin(turn) * across
    half_x, half_y = draws.between(1.55, 1.95), draws.between(1.25, 1.6)
    angle = np.arctan2(y, x)
    out_of_round = (
        1
        + 0.05 * np.cos(2 * angle + draws.between(0, 2 * np.pi))
        + 0.03 * np.cos(3 * angle + draws.between(0, 2 * np.pi))
    )
    radius = np.sqrt(((x / half_x) ** 2 + (y / half_y) ** 2) * out_of_round)
    return _Dome(x, y, half_x, half_y, radius, (radius < 1).astype(np.float64))


def _sound(dome: _Dome, draws: Draws) -> Surface:
    """Return a weld without defect: dome, rings of its solidification, grain, pins below."""
    height = np.sqrt(np.clip(1 - dome.radius**2, 0, 1)) * draws.between(0.6, 1.0)
    rings = np.cos(2 * np.pi * dome.radius * draws.between(5, 9) + draws.between(0, 2 * np.pi))
    height += dome.pool * 0.004 * draws.between(0, 1) * rings
    height += dome.pool * 0.0025 * _texture(draws, falloff=1.3)
    half_x, half_y = _PIN_HALF_MM
    pins = (np.abs(np.abs(dome.x_mm) - _PIN_OFFSET_MM) < half_x) & (np.abs(dome.y_mm) < half_y)
    height += (1 - dome.pool) * pins * _PIN_HEIGHT_MM
    return Surface(
        height_mm=height,
        albedo=0.55 + 0.03 * _texture(draws, falloff=1.0),
        roughness=np.full((SIZE, SIZE), draws.between(0.22, 0.34)),
        part=np.maximum(dome.pool, pins),
        defect=np.zeros((SIZE, SIZE), np.bool_),
    )


def _texture(draws: Draws, *, falloff: float) -> FloatArray:
    """Return noise of mean 0 and deviation 1 whose amplitude falls with frequency^-falloff."""
    spectrum = np.fft.rfft2(draws.normals(SIZE, SIZE)) / _FREQUENCY**falloff
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(SIZE, SIZE))
    return np.asarray(noise / noise.std())


def _cut_groove(surface: Surface, dome: _Dome, draws: Draws, width_mm: float) -> None:
    """Leave the seam between the two pins open: the metal did not fuse there."""
    half_length = draws.between(0.5, 1.15) * dome.half_y_mm / 1.6
    middle = draws.between(-0.35, 0.35) * dome.half_y_mm
    bend = draws.normal(0.08)
    from_seam = dome.x_mm - draws.normal(0.08) - bend * (dome.y_mm / dome.half_y_mm) ** 2
    sigma = width_mm / _FULL_WIDTH_PER_SIGMA
    profile = np.exp(-0.5 * (from_seam / sigma) ** 2)
    profile *= _inside(np.abs(dome.y_mm - middle), half_length, edge_mm=0.06) * dome.pool
    surface.height_mm -= width_mm * draws.between(0.35, 1.0) * profile
    surface.roughness += 0.12 * np.exp(-0.5 * (from_seam / (1.2 * width_mm)) ** 2) * dome.pool
    surface.albedo -= draws.between(0.05, 0.25) * profile
    surface.defect |= profile > 0.5


def _open_pores(surface: Surface, dome: _Dome, draws: Draws, width_mm: float) -> None:
    """Let one to three gas pores open at the surface, the first one the largest."""
    for number in range(draws.integer(1, 3)):
        diameter = width_mm if number == 0 else width_mm * draws.between(0.5, 1.0)
        angle, distance = draws.between(0, 2 * np.pi), np.sqrt(draws.between(0, 0.6))
        x = dome.x_mm - distance * dome.half_x_mm * np.cos(angle)
        y = dome.y_mm - distance * dome.half_y_mm * np.sin(angle)
        pore = _inside(np.hypot(x, y), diameter / 2, edge_mm=0.025)
        surface.height_mm -= diameter * draws.between(0.4, 0.9) * pore
        surface.albedo -= 0.3 * pore
        surface.defect |= pore > 0.5


def _inside(distance_mm: FloatArray, bound_mm: float, *, edge_mm: float) -> FloatArray:
    """Return 1 well within the bound and 0 well beyond it, with a soft edge."""
    # Clipped, as exp of a large number would overflow.
    steps = np.clip((distance_mm - bound_mm) / edge_mm, -40, 40)
    return np.asarray(1 / (1 + np.exp(steps)))


def _mark(surface: Surface, draws: Draws) -> None:
    """Put on it what welds of every kind have, so that none of it tells a defect."""
    for _ in range(draws.occurrences(1.2)):
        _scratch(surface, draws)
    for _ in range(draws.occurrences(0.8)):
        _stain(surface, draws)
    for _ in range(draws.occurrences(0.3)):
        _lay_fibre(surface, draws)
    for _ in range(draws.occurrences(0.7)):
        _spatter(surface, draws)


def _scratch(surface: Surface, draws: Draws) -> None:
    across, along = _line(draws, reach_mm=2.0)
    long_enough = np.abs(along - draws.between(-1, 1)) < draws.between(0.3, 1.2)
    sigma = draws.between(0.03, 0.10) / _FULL_WIDTH_PER_SIGMA
    depth = 0.02 * draws.between(0.2, 1.0)
    surface.height_mm -= depth * np.exp(-0.5 * (across / sigma) ** 2) * long_enough


def _stain(surface: Surface, draws: Draws) -> None:
    x, y = _ACROSS_MM - draws.between(-1.6, 1.6), _DOWN_MM - draws.between(-1.6, 1.6)
    sigma = draws.between(0.1, 0.5)
    surface.albedo -= draws.between(0.05, 0.2) * np.exp(-(x**2 + y**2) / (2 * sigma**2))


def _lay_fibre(surface: Surface, draws: Draws) -> None:
    """Lay a dark fibre: as thin as a groove, but it winds and does not follow the seam."""
    across, along = _line(draws, reach_mm=1.5)
    long_enough = np.abs(along - draws.between(-1, 1)) < draws.between(0.3, 0.9)
    winding = across + 0.2 * np.sin(2 * along)
    surface.albedo -= 0.25 * np.exp(-0.5 * (winding / 0.05) ** 2) * long_enough


def _spatter(surface: Surface, draws: Draws) -> None:
    x, y = _ACROSS_MM - draws.between(-3, 3), _DOWN_MM - draws.between(-3, 3)
    radius = draws.between(0.04, 0.15)
    surface.height_mm += np.sqrt(np.clip(radius**2 - x**2 - y**2, 0, None))


def _line(draws: Draws, *, reach_mm: float) -> tuple[FloatArray, FloatArray]:
    """Return every pixel's distance from a line of any direction, and its place along it."""
    angle, offset = draws.between(0, np.pi), draws.between(-reach_mm, reach_mm)
    across = np.cos(angle) * _ACROSS_MM + np.sin(angle) * _DOWN_MM - offset
    along = np.cos(angle) * _DOWN_MM - np.sin(angle) * _ACROSS_MM
    return across, along
