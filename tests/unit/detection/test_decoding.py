"""Decoding: every kind of picture ends as (H, W, 3) uint8 BGR, turned as its EXIF says."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from app.core.image_header import ImageHeader
from app.detection.batch_loader import portions, read_headers
from app.detection.decoding import decode, reduction
from app.errors import ImageError


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_picture_is_turned_as_opencv_turns_it(kind: str, orientation: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(pixels), kind, exif=exif)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode(data).pixels, expected)


@pytest.mark.parametrize(
    ("width", "height", "needed", "by"),
    [
        (640, 360, (640, 360), 1),
        (1920, 1080, (640, 360), 1),
        (2559, 1440, (640, 360), 1),
        (2560, 1440, (640, 360), 2),
        (1440, 2560, (360, 640), 2),
        (3840, 2160, (320, 180), 4),
        (3840, 2160, (240, 135), 8),
        (8000, 8000, (32, 32), 8),
        (5000, 3, (640, 1), 1),
        (160, 90, (640, 360), 1),
    ],
)
def test_a_jpeg_is_decoded_small_where_twice_what_is_needed_is_left(
    width: int, height: int, needed: tuple[int, int], by: int
) -> None:
    assert reduction(ImageHeader("jpeg", width, height, 1), needed) == by
    assert reduction(ImageHeader("png", width, height, 1), needed) == 1
    assert reduction(ImageHeader("webp", width, height, 1), needed) == 1


@pytest.mark.parametrize(("orientation", "size", "turns_back"), [(1, (595, 397), 0), (6, (397, 595), 1)])
def test_a_picture_decoded_small_is_the_mean_of_its_pixels_upright_and_keeps_its_sources_size(
    orientation: int, size: tuple[int, int], turns_back: int
) -> None:
    shades = np.random.default_rng(1).integers(0, 256, (50, 75, 3), dtype=np.uint8)
    stored = np.kron(shades, np.ones((8, 8, 1), np.uint8))[:397, :595]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(stored[..., ::-1]), "jpeg", exif=exif, quality=95, subsampling=0)
    asked = []
    small = decode(data, lambda width, height: asked.append((width, height)) or (40, 40))
    assert asked == [(small.width, small.height)] == [size]
    back = np.rot90(small.pixels, turns_back)
    assert back.shape == (100, 149, 3)
    means = stored[:396, :592].reshape(99, 4, 148, 4, 3).mean((1, 3))
    assert np.abs(back[:99, :148] - means).mean() < 3


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("L", "jpeg"),
        ("CMYK", "jpeg"),
        ("LA", "png"),
        ("RGBA", "png"),
        ("P", "png"),
        ("1", "png"),
        ("I;16", "png"),
        ("RGBA", "webp"),
    ],
)
def test_every_kind_of_pixel_becomes_three_bytes(mode: str, kind: str) -> None:
    image = decode(encoded(Image.new(mode, (40, 24)), kind)).pixels
    assert image.shape == (24, 40, 3)
    assert image.dtype == np.uint8


def test_a_damaged_picture_with_a_sound_header_is_refused() -> None:
    data = bytearray(encoded(Image.new("RGB", (64, 64), "red"), "png"))
    at = data.index(b"IDAT") + 4
    data[at : at + 8] = bytes(8)
    with pytest.raises(ImageError, match="damaged"):
        decode(bytes(data))


def test_a_huge_declared_size_is_refused_before_any_decode() -> None:
    data = bytearray(encoded(Image.new("RGB", (8, 8)), "jpeg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\x4e\x20\x4e\x20"
    with pytest.raises(ImageError, match="20000 × 20000"):
        decode(bytes(data))


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt"])
def test_a_bomb_beside_the_picture_is_not_unpacked(kind: bytes) -> None:
    data = encoded(Image.new("RGB", (8, 8)), "png")
    content = kind + b"x\0\0" + zlib.compress(bytes(300_000_000), 9)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert decode(data[:33] + chunk + data[33:]).pixels.shape == (8, 8, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


def test_opencv_itself_would_not_allocate_more_than_the_limit() -> None:
    code = (
        "import app.detection.decoding, cv2, numpy as np, io\nfrom PIL import Image\n"
        "stream = io.BytesIO(); Image.new('1', (9000, 8000)).save(stream, 'PNG')\n"
        "try: cv2.imdecode(np.frombuffer(stream.getvalue(), np.uint8), cv2.IMREAD_COLOR)\n"
        "except cv2.error: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "refused"


def test_a_batch_of_large_pictures_is_decoded_a_few_at_a_time() -> None:
    small, large = (encoded(Image.new("1", size), "png") for size in ((40, 30), (7_000, 6_000)))
    headers = read_headers([small, large, b"no image", small, large, large])
    assert list(portions(headers)) == [slice(0, 4), slice(4, 5), slice(5, 6)]
