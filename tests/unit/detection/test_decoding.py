"""Decoding: every kind of picture ends as (H, W, 3) uint8 BGR, turned as its EXIF says."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from app.detection.decoding import decode
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
    np.testing.assert_array_equal(decode(data), expected)


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
    image = decode(encoded(Image.new(mode, (40, 24)), kind))
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
