"""Camera images: what is read, and that everything else is refused by name."""

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lotmark_inference.errors import InputRefused
from lotmark_inference.image_reading import IMAGE_SIZE_MAX, read_image
from tests.inference.judging_models import INPUT, SIZE, encoded, image_file


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("PNG", "image/png"), ("PPM", "image/x-portable-graymap"), ("BMP", "image/bmp")],
)
def test_lossless_grey_images_are_read_to_the_same_pixels(kind: str, media_type: str) -> None:
    raw = image_file(7, kind=kind)

    image = read_image(raw, INPUT)

    expected = np.random.default_rng(7).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    assert (image.pixels == expected).all()
    assert image.input_digest == hashlib.sha256(expected.tobytes()).digest()
    assert image.pixels.flags.c_contiguous
    digest = image.file_digest("weld_137.png")
    assert (digest.sha256, digest.size) == (hashlib.sha256(raw).digest(), len(raw))
    assert digest.media_type == media_type


def test_a_model_does_not_write_into_an_image() -> None:
    with pytest.raises(ValueError, match="read-only"):
        read_image(image_file(), INPUT).pixels[0, 0] = 0


def huge_png(width: int, height: int) -> bytes:
    """Return a small file whose header promises a huge image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def animated() -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(np.full((SIZE, SIZE), grey, dtype=np.uint8)) for grey in (1, 2)]
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    return out.getvalue()


REFUSED = {
    "of another size": (image_file(size=(SIZE, SIZE + 1)), r"has 17 x 16 pixels.* takes 16 x 16"),
    "in colour": (encoded(np.ones((SIZE, SIZE, 3), dtype=np.uint8)), "pixels are RGB"),
    "of 16 bits": (encoded(np.ones((SIZE, SIZE), dtype=np.uint16)), "pixels are I;16"),
    "black": (encoded(np.zeros((SIZE, SIZE), dtype=np.uint8)), "shows nothing.*grey 0 and 0"),
    "white": (
        encoded(np.full((SIZE, SIZE), 255, dtype=np.uint8)),
        "shows nothing.*grey 255 and 255",
    ),
    "truncated": (image_file()[:-80], "damaged"),
    "cut in its header": (image_file()[:20], "none that is read|damaged"),
    "empty": (b"", "none that is read"),
    "text": (b"not an image at all", "none that is read"),
    "lossy": (image_file(kind="JPEG"), "use PNG, PGM or BMP"),
    "a bomb": (huge_png(60_000, 60_000), "too large|pixels; the model takes"),
    "wide": (huge_png(2_000_000_000, 1), "too large|pixels; the model takes|damaged"),
    "many frames": (animated(), "2 frames"),
    "too many bytes": (bytes(IMAGE_SIZE_MAX + 1), f"at most {IMAGE_SIZE_MAX}"),
    "a PGM with too few pixels": (b"P5 16 16 255\n" + bytes(range(100)), "damaged"),
    "a PGM with no number": (b"P5 x 16 255\n" + bytes(range(256)), "damaged|none that is read"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_anything_else_is_refused_by_name(what: str) -> None:
    raw, said = REFUSED[what]

    with pytest.raises(InputRefused, match=said):
        read_image(raw, INPUT)


def test_damage_anywhere_is_refused_or_gives_an_image_of_the_right_size() -> None:
    raw = image_file(3)
    for at in range(0, len(raw), 7):
        damaged = bytearray(raw)
        damaged[at] ^= 0xFF
        try:
            image = read_image(bytes(damaged), INPUT)
        except InputRefused:
            continue
        assert image.pixels.shape == (SIZE, SIZE)
