"""Images of hairpin welds, made up: each one of a seed, by itself, with what is true of it.

No set of real weld images may be passed on with this package, so these stand in for them. They are
physically grounded (a height field under a ring of lights, through a lens, on a noisy sensor), but
synthetic: how well a model does on them says nothing of how well it does on a line.

Whether an image is the same on another machine: every number that is drawn is, in all releases of
NumPy. What is computed of them is in float64, whose last digits differ between processors (sine,
exponential and Fourier transform are not fixed by IEEE 754). Rounded to 8 bits that is gone, except
where a grey value lies within about 1e-12 of the middle between two: once in millions of images.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.philox_draws import Draws
from lotmark_inference.ring_light import photographed
from lotmark_inference.weld_surface import SIZE, Stream, WeldKind, weld_surface

HEAT_SIZE: Final = 16  # fields of the heat map, both ways
CATALOGUE: Final = "weld-labels/1"
PREPROCESSING: Final = "grey8-128x128"  # nothing is done to it: what normalises it is in the graph

# Widths that are drawn. What is smaller occurs in no image, so nothing can be claimed of it.
GROOVE_WIDTHS_UM: Final = range(100, 401)
PORE_DIAMETERS_UM: Final = range(150, 451)

# Seeds by what they are for. Those from 2^40 on belong to nobody: draw fresh ones there.
TRAINING_SEEDS: Final = range(1_000_000_000, 2_000_000_000)
VALIDATION_SEEDS: Final = range(2_000_000_000, 3_000_000_000)
TEST_SEEDS: Final = range(3_000_000_000, 4_000_000_000)
FRESH_SEEDS: Final = range(2**40, 2**52)

_SHARES_PERCENT = ((WeldKind.SOUND, 50), (WeldKind.COLD_SOLDER, 30), (WeldKind.POROSITY, 20))


@dataclass(frozen=True, slots=True)
class WeldImage:
    """An image and what is true of it."""

    seed: int
    pixels: NDArray[np.uint8]  # shape (128, 128)
    kind: WeldKind
    defect_width_um: int  # groove's width or largest pore's diameter; 0: sound
    heat: NDArray[np.bool_]  # shape (16, 16): fields of 8 x 8 pixels that have a part of the defect

    @property
    def label(self) -> str:
        """The label of the catalogue that is right."""
        return self.kind.value


def weld_image(
    seed: int, *, kind: WeldKind | None = None, defect_width_um: int | None = None
) -> WeldImage:
    """Return the image of a seed, 0 to 2^64 - 1.

    Args:
        seed: Decides everything that is not given.
        kind: What the weld is to be. None: drawn, half of the welds being sound.
        defect_width_um: How wide its defect is to be. None: drawn.
    """
    kind = kind or drawn_kind(seed)
    draws = Draws(seed, Stream.KIND)
    draws.integer(0, 99)  # the kind
    # Both are drawn whatever the kind, so that to force the kind shifts no other number.
    groove_um = draws.integer(GROOVE_WIDTHS_UM.start, GROOVE_WIDTHS_UM.stop - 1)
    pore_um = draws.integer(PORE_DIAMETERS_UM.start, PORE_DIAMETERS_UM.stop - 1)
    drawn_um = {WeldKind.SOUND: 0, WeldKind.COLD_SOLDER: groove_um, WeldKind.POROSITY: pore_um}
    width_um = drawn_um[kind] if defect_width_um is None else defect_width_um
    surface = weld_surface(seed, kind, width_um)
    fields = surface.defect.reshape(HEAT_SIZE, SIZE // HEAT_SIZE, HEAT_SIZE, SIZE // HEAT_SIZE)
    return WeldImage(
        seed=seed,
        pixels=photographed(surface, seed),
        kind=kind,
        defect_width_um=width_um,
        heat=np.asarray(fields.any(axis=(1, 3))),
    )


def drawn_kind(seed: int) -> WeldKind:
    """Return what the weld of a seed is, without making its image."""
    number = Draws(seed, Stream.KIND).integer(0, 99)
    for kind, share_percent in _SHARES_PERCENT:
        if number < share_percent:
            return kind
        number -= share_percent
    raise AssertionError("the shares make 100 percent")


def dataset_digest(images: Iterable[tuple[int, str]]) -> bytes:
    r"""Return the SHA-256 that names a set of images: of the lines `SEED LABEL\n` in its order."""
    digest = hashlib.sha256()
    for seed, label in images:
        digest.update(f"{seed} {label}\n".encode())
    return digest.digest()
