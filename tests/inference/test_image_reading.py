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


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, *, depth: int = 8, behind: bytes = b"") -> bytes:
    """Return a PNG file.

    Args:
        width: That its header promises.
        height: Likewise.
        rows: Its data, with the filter's byte before each row.
        depth: Bits a pixel.
        behind: Chunks between its data and its end.
    """
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    data = zlib.compress(rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", data)
        + behind
        + chunk(b"IEND", b"")
    )


def huge_png(width: int, height: int) -> bytes:
    """Return a small file whose header promises a huge image."""
    return png(width, height, bytes(1_000))


def grey_bmp(bits: int) -> bytes:
    """Return a BMP file of so many bits a pixel, whose palette is as many greys from 0 on."""
    palette = b"".join(bytes((grey,) * 3) + b"\0" for grey in range(2**bits))
    rows = bytes(range(0, 256, 256 // (SIZE * bits // 8))) * SIZE
    start = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start)
    sizes = struct.pack("<IiiHHIIiiII", 40, SIZE, SIZE, 1, bits, 0, len(rows), 0, 0, 2**bits, 0)
    return head + sizes + palette + rows


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
    "a PNG of 4 bits": (
        png(SIZE, SIZE, (b"\0" + bytes(range(SIZE // 2))) * SIZE, depth=4),
        "stored as L;4, not in 8 bits from 0 to 255",
    ),
    "a PNG of 2 bits": (
        png(SIZE, SIZE, (b"\0" + bytes(range(SIZE // 4))) * SIZE, depth=2),
        "stored as L;2, not in 8 bits from 0 to 255",
    ),
    "a PGM up to 100": (
        b"P5 16 16 100\n" + bytes(range(100)) * 2 + bytes(56),
        r"stored as \('L', 100\), not in 8 bits",
    ),
    "a PGM in words up to 9": (b"P2 16 16 9\n" + b"1 9 " * 128, r"stored as \('L', 9\)"),
    "a BMP of 4 bits": (grey_bmp(4), "stored as|damaged"),
    "a PGM with no number": (b"P5 x 16 255\n" + bytes(range(256)), "damaged|none that is read"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_anything_else_is_refused_by_name(what: str) -> None:
    raw, said = REFUSED[what]

    with pytest.raises(InputRefused, match=said):
        read_image(raw, INPUT)


def test_grey_values_are_those_of_the_file() -> None:
    words = b"P2 16 16 255\n" + b" ".join(str(grey).encode() for grey in range(256))
    rows = b"".join(b"\0" + bytes(range(at, at + SIZE)) for at in range(0, 256, SIZE))
    for raw in (words, png(SIZE, SIZE, rows), b"P5 16 16 255\n" + bytes(range(256))):
        assert read_image(raw, INPUT).pixels.tobytes() == bytes(range(256))
    assert read_image(grey_bmp(8), INPUT).pixels.tobytes() == bytes(range(0, 256, SIZE)) * SIZE


@pytest.mark.parametrize("kind", [b"gAMA", b"cHRM", b"tRNS", b"pHYs", b"sRGB", b"iCCP", b"zTXt"])
@pytest.mark.parametrize("size", range(10))
def test_a_short_chunk_behind_the_pixels_is_damage_or_nothing(kind: bytes, size: int) -> None:
    rows = b"".join(b"\0" + bytes(range(at, at + SIZE)) for at in range(0, 256, SIZE))
    raw = png(SIZE, SIZE, rows, behind=chunk(kind, bytes(size)))
    try:
        image = read_image(raw, INPUT)
    except InputRefused:
        return
    assert image.pixels.tobytes() == bytes(range(256))


def test_a_png_whose_last_chunk_is_one_byte_of_gamma_is_damaged() -> None:
    end = len(chunk(b"IEND", b""))
    raw = image_file()
    with pytest.raises(InputRefused, match="damaged"):
        read_image(raw[:-end] + chunk(b"gAMA", b"\0") + raw[-end:], INPUT)


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
