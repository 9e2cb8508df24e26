"""The header check: what is accepted, what is refused and why, and that nothing else ever comes out."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.core.image_header import MAX_ENCODED_BYTES, ImageHeader, JpegCoding, probe
from app.errors import ImageError

FORMATS = ("jpeg", "png", "webp")


def encode(kind: str, width: int = 40, height: int = 20, orientation: int | None = None, **options: object) -> bytes:
    picture = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0")), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_size(jpeg: bytes, width: int, height: int) -> bytes:
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_sound_image_gives_its_format_and_size(kind: str) -> None:
    header = probe(encode(kind))
    assert header == ImageHeader(kind, 40, 20, 1, header.coding)
    assert (header.coding is not None) == (kind == "jpeg")


def test_the_coding_of_a_jpeg_is_read() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 40, 3), np.uint8))

    def coding(mode: str, **options: object) -> JpegCoding | None:
        stream = io.BytesIO()
        image.convert(mode).save(stream, "JPEG", **options)
        return probe(stream.getvalue()).coding

    assert coding("RGB") == JpegCoding(0xC0, 3, True, False)
    assert coding("L") == JpegCoding(0xC0, 1, True, False)
    assert coding("RGB", progressive=True) == JpegCoding(0xC2, 3, True, False)
    assert coding("CMYK") == JpegCoding(0xC0, 4, True, True)
    assert coding("RGB", keep_rgb=True) == JpegCoding(0xC0, 3, True, True)


def test_a_picture_of_motion_jpeg_without_its_tables_says_so() -> None:
    jpeg = encode("jpeg")
    at = jpeg.index(b"\xff\xc4")
    while jpeg[at : at + 2] == b"\xff\xc4":
        length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        jpeg = jpeg[:at] + jpeg[at + 2 + length :]
    coding = probe(jpeg).coding
    assert coding is not None
    assert not coding.has_tables


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", range(10))
def test_the_size_and_the_orientation_agree_with_opencv(kind: str, orientation: int) -> None:
    data = encode(kind, orientation=orientation)
    header = probe(data)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert (header.height, header.width) == decoded.shape[:2]
    assert header.orientation == (orientation if 1 <= orientation <= 8 else 1)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("jpeg", {"progressive": True}),
        ("webp", {"lossless": True}),
        ("webp", {"icc_profile": b"x" * 33}),
        ("jpeg", {"comment": b"\xff\xd9 not the end"}),
    ],
)
def test_every_flavour_of_a_format_is_read(kind: str, options: dict[str, object]) -> None:
    header = probe(encode(kind, **options))
    assert (header.width, header.height) == (40, 20)


@pytest.mark.parametrize("kind", FORMATS)
def test_bytes_after_the_end_are_tolerated(kind: str) -> None:
    assert probe(encode(kind) + bytes(64)).width == 40


def test_a_jpeg_with_fill_bytes_and_padding_is_read() -> None:
    data = encode("jpeg")
    padded = data[:2] + b"\xff" * 5 + data[2:-2] + bytes(16) + data[-2:]
    assert probe(padded).height == 20


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_cut_off_anywhere_is_refused(kind: str) -> None:
    data = encode(kind)
    for length in range(len(data) - 1):
        with pytest.raises(ImageError) as raised:
            probe(data[:length])
        assert "\n" not in str(raised.value)
    with pytest.raises(ImageError, match="cut off"):
        probe(data[: len(data) // 2])


def test_an_empty_image_is_refused() -> None:
    with pytest.raises(ImageError, match="empty"):
        probe(b"")


def test_bytes_that_are_no_image_are_refused() -> None:
    with pytest.raises(ImageError, match="no image"):
        probe(b"hello, world")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("GIF", b"GIF89a" + bytes(20)),
        ("BMP", b"BM" + bytes(60)),
        ("TIFF", b"II*\0" + bytes(20)),
        ("HEIC", b"\0\0\0\x18ftypheic" + bytes(20)),
        ("AVIF", b"\0\0\0\x18ftypavif" + bytes(20)),
    ],
)
def test_another_format_is_refused_by_its_name(name: str, data: bytes) -> None:
    with pytest.raises(ImageError, match=f"{name}; allowed are JPEG, PNG and WebP"):
        probe(data)


def test_an_animated_webp_is_refused() -> None:
    stream = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(stream, "WEBP", save_all=True, append_images=frames[1:], duration=100)
    with pytest.raises(ImageError, match="animated"):
        probe(stream.getvalue())


def test_an_image_over_16_mib_is_refused() -> None:
    data = encode("jpeg")
    assert probe(data + bytes(MAX_ENCODED_BYTES - len(data))).width == 40
    with pytest.raises(ImageError, match="16777217 bytes"):
        probe(data + bytes(MAX_ENCODED_BYTES + 1 - len(data)))


def test_a_tiny_file_that_declares_a_huge_picture_costs_nothing() -> None:
    small = with_size(encode("jpeg"), 20_000, 20_000)
    tracemalloc.start()
    for data in (small, png_of(20_000, 20_000)):
        with pytest.raises(ImageError, match="20000 × 20000"):
            probe(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_size_of_zero_is_refused() -> None:
    for data in (with_size(encode("jpeg"), 0, 20), with_size(encode("jpeg"), 40, 0), png_of(0, 4)):
        with pytest.raises(ImageError, match="size of"):
            probe(data)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = encode("jpeg", progressive=True)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00"
    with pytest.raises(ImageError, match="scans"):
        probe(data[:-2] + scan * 200 + data[-2:])


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xfe\x00\x02" * 4_000_000,
        b"\xff\xd8" + b"\xff" * 16_000_000,
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))
        + chunk(b"tEXt", b"") * 1_000_000,
        b"RIFF" + struct.pack("<I", 16_000_022) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(10) + bytes(16_000_000),
    ],
)
def test_a_file_made_of_empty_parts_takes_no_time(data: bytes) -> None:
    began = time.thread_time()
    with pytest.raises(ImageError):
        probe(data)
    assert time.thread_time() - began < 0.5


SOUND = [encode(kind, orientation=orientation) for kind in FORMATS for orientation in (None, 6)]
SOUND += [encode("jpeg", progressive=True), encode("webp", lossless=True)]


def header_or_error(data: bytes) -> None:
    try:
        header: ImageHeader | None = probe(data)
    except ImageError as error:
        header, text = None, str(error)
    else:
        text = "an image"
    assert text
    assert "\n" not in text
    assert header is None or (header.width > 0 and header.height > 0 and 1 <= header.orientation <= 8)


@settings(max_examples=400, deadline=None)
@given(
    data=st.sampled_from(SOUND),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 40),
)
def test_a_mutated_image_gives_a_header_or_an_image_error(
    data: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    mutated = bytearray(data)
    for place, value in changes:
        # Half of the changes go to the first bytes, where the header is.
        mutated[place % (len(mutated) if place % 2 else min(200, len(mutated)))] = value
    header_or_error(bytes(mutated[: len(mutated) - cut]))


@settings(max_examples=200, deadline=None)
@given(
    start=st.sampled_from(
        [
            b"",
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"RIFF\x40\0\0\0WEBPVP8X",
            b"\xff\xd8\xff\xe1\0\x40Exif\0\0II*\0",
        ]
    ),
    rest=st.binary(max_size=200),
)
def test_random_bytes_give_a_header_or_an_image_error(start: bytes, rest: bytes) -> None:
    header_or_error(start + rest)


def test_a_jpeg_too_short_for_the_size_it_declares_is_cut_off() -> None:
    with pytest.raises(ImageError, match="cut off"):
        probe(with_size(encode("jpeg"), 8_000, 8_000))


def test_a_png_too_short_for_the_size_it_declares_is_cut_off() -> None:
    with pytest.raises(ImageError, match="cut off"):
        probe(png_of(8_000, 8_000))


def test_the_plainest_images_are_not_taken_for_cut_off_ones() -> None:
    for side in (1, 8, 9, 1_000):
        for kind in FORMATS:
            for mode in ("RGB", "L"):
                stream = io.BytesIO()
                Image.new(mode, (side, side)).save(stream, kind, quality=1, optimize=True)
                assert probe(stream.getvalue()).width == side


@pytest.mark.parametrize("places", [1, 2])
def test_a_jpeg_that_declares_its_size_twice_is_refused(places: int) -> None:
    data = encode("jpeg")
    at = data.index(b"\xff\xc0")
    length = int.from_bytes(data[at + 2 : at + 4], "big") + 2
    large = with_size(data, 20_000, 20_000)[at : at + length]
    where = at if places == 1 else at + length
    with pytest.raises(ImageError, match="twice"):
        probe(data[:where] + large + data[where:])


def test_a_size_hidden_where_decoders_and_we_would_read_differently_is_refused() -> None:
    data = encode("jpeg")
    hidden = with_size(data, 20_000, 20_000)[data.index(b"\xff\xc0") :][:19]
    with pytest.raises(ImageError, match="marker is missing"):
        probe(data[:2] + b"\xff\x00" + struct.pack(">H", len(hidden) + 2) + hidden + data[2:])


def test_many_scans_are_refused_the_earlier_the_larger_the_picture() -> None:
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00"
    small = encode("jpeg", progressive=True)
    assert probe(small[:-2] + scan * 20 + small[-2:]).width == 40
    stream = io.BytesIO()
    Image.new("L", (7_000, 7_000)).save(stream, "JPEG", progressive=True)
    large = stream.getvalue()
    assert probe(large).width == 7_000
    with pytest.raises(ImageError, match="scans"):
        probe(large[:-2] + scan * 20 + large[-2:])


def test_an_animated_png_is_refused() -> None:
    stream = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="animated PNG"):
        probe(stream.getvalue())
