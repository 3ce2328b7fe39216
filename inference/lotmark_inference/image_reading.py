"""Camera images as they are handed in, to the pixels that a model takes; nothing is rescaled.

Only lossless formats are read: a lossy one gives other pixels with another release of its decoder,
and then nobody could compute the input's digest again. An image of another size or kind is refused
by name, since a model that is fed a rescaled image judges something that nobody has evaluated.
"""

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from lotmark.v1 import event_pb2
from lotmark_inference.errors import InputRefused
from lotmark_inference.image_checks import check_image
from lotmark_inference.model_manifest import ModelInput

IMAGE_SIZE_MAX = 16_777_216  # bytes of the file

_FORMATS = ("PNG", "PPM", "BMP")  # as Pillow names them; PGM is one of PPM's
_MEDIA_TYPES = {"PNG": "image/png", "PPM": "image/x-portable-graymap", "BMP": "image/bmp"}
_GREY = "L"  # Pillow's word for 8 bits a pixel, one channel
_GREY_MAX = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraImage:
    """An image: what was handed in, and its pixels."""

    pixels: NDArray[np.uint8]  # shape (height, width), contiguous, not to be written
    media_type: str
    original_digest: bytes  # SHA-256 of the file
    original_size: int

    @property
    def input_digest(self) -> bytes:
        """SHA-256 of the pixels, row by row."""
        return hashlib.sha256(self.pixels.tobytes()).digest()

    def file_digest(self, name: str) -> event_pb2.FileDigest:
        """Return what an event says of the file, which stays with its owner.

        Args:
            name: Under which the owner keeps it; no path.
        """
        return event_pb2.FileDigest(
            sha256=self.original_digest,
            size=self.original_size,
            media_type=self.media_type,
            name=name,
        )


def read_image(raw: bytes, wanted: ModelInput) -> CameraImage:
    """Return the image that a file holds.

    Args:
        raw: The file: PNG, PGM or BMP with 8 bits of grey, from 0 to 255.
        wanted: The size that the model takes.

    Raises:
        InputRefused: It is too large, truncated, of another format, kind or size, or shows
            nothing, as with a covered lens; the message names both values.
    """
    if len(raw) > IMAGE_SIZE_MAX:
        raise InputRefused(f"the image has {len(raw)} bytes; at most {IMAGE_SIZE_MAX} are read")
    try:
        with Image.open(io.BytesIO(raw), formats=_FORMATS) as image:
            _check_kind(image, wanted)
            media_type = _MEDIA_TYPES[image.format or ""]
            # Decoded only here, when the header has promised the right size.
            pixels = np.array(image, dtype=np.uint8)
    except UnidentifiedImageError as error:
        raise InputRefused("the image is none that is read: use PNG, PGM or BMP") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputRefused(f"the image is too large to be read: {error}") from error
    except InputRefused:
        raise
    except Exception as error:  # whatever a decoder comes upon: also struct.error and IndexError
        raise InputRefused(f"the image is damaged: {error}") from error
    check_image(pixels, wanted)
    pixels.flags.writeable = False
    return CameraImage(
        pixels=pixels,
        media_type=media_type,
        original_digest=hashlib.sha256(raw).digest(),
        original_size=len(raw),
    )


def _check_kind(image: Image.Image, wanted: ModelInput) -> None:
    if image.mode != _GREY:
        raise InputRefused(
            f"the image's pixels are {image.mode}; {_GREY}, 8 bits of grey, is what the model takes"
        )
    assert isinstance(image, ImageFile.ImageFile), "it was opened from a file"
    scaled = [part.args for part in image.tile if not _is_unscaled(part.codec_name, part.args)]
    if scaled:
        raise InputRefused(
            f"the image's grey values are stored as {scaled[0]}, not in 8 bits from 0 to"
            f" {_GREY_MAX}: let the camera write them so, they are not rescaled here"
        )
    width, height = image.size
    if (height, width) != (wanted.height, wanted.width):
        raise InputRefused(
            f"the image has {width} x {height} pixels; the model takes {wanted.width} x"
            f" {wanted.height}: let the camera cut it out, it is not rescaled here"
        )
    frames = getattr(image, "n_frames", 1)
    if frames != 1:
        raise InputRefused(f"the image has {frames} frames; hand in each by itself")


def _is_unscaled(codec: str, args: object) -> bool:
    """Return whether a part of a grey image is decoded to the very values that the file has."""
    first, *others = args if isinstance(args, tuple) else (args,)
    if first != _GREY:  # "L;4" and the like are stretched to 8 bits
        return False
    match codec:
        case "ppm" | "ppm_plain":  # with the file's own maximum, which is stretched to 255
            return others == [_GREY_MAX]
        case "bmp_rle":
            return not others[0]  # of 4 bits
    return True
