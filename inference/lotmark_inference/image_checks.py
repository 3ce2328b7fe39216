"""What an image must be before a model judges it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.errors import InputRefused
from lotmark_inference.model_manifest import ModelInput

CONTRAST_MIN: Final = 16  # grey values between the darkest and the brightest hundredth of an image


def check_image(pixels: NDArray[np.uint8], model_input: ModelInput) -> None:
    """Check that an image is one that the model can judge.

    An image without contrast is refused, not judged: a covered lens or a dead lamp looks the same
    for every part, and a model would still give it a score.

    Raises:
        InputRefused: It has another size or type, or shows nothing.
    """
    check_batch(pixels[None], model_input)
    darkest, brightest = np.percentile(pixels, (1, 99))
    if brightest - darkest < CONTRAST_MIN:
        raise InputRefused(
            f"the image shows nothing: 98 of 100 pixels lie between grey {darkest:.0f} and"
            f" {brightest:.0f}, and a picture of a part spans at least {CONTRAST_MIN}; look at"
            " camera and light"
        )


def check_batch(batch: NDArray[np.uint8], model_input: ModelInput) -> None:
    """Check type and shape of a batch of images, shape (n, height, width).

    Raises:
        InputRefused: They are not what the model takes. Nothing is scaled or converted here: what
            a model would say of a scaled image, nobody has evaluated.
    """
    wanted = (model_input.height, model_input.width)
    if batch.dtype != np.uint8:
        raise InputRefused(f"pixels are {batch.dtype}; the model takes uint8, 8-bit grey")
    if batch.ndim != 3 or batch.shape[1:] != wanted:
        shape = " x ".join(str(length) for length in batch.shape[1:])
        raise InputRefused(
            f"an image is {shape}, the model takes {wanted[0]} x {wanted[1]} (rows x columns);"
            " have the camera send the region of interest in this size"
        )
    if not batch.shape[0]:
        raise InputRefused("a batch of no images has no scores")
